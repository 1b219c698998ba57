package appliance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each block of Go in docs/EMBEDDING.md, and in README, compiles. One that is no
// whole file gets the imports that it needs; statements alone become the body of a
// function that has a broker's makings.
func TestEmbeddingDocument(t *testing.T) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	dir := t.TempDir()
	replace := map[string]string{}
	var packages []string
	for _, name := range []string{"docs/EMBEDDING.md", "README.md"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
			pkg := fmt.Sprintf("doc%d_%d", len(name), i)
			file := filepath.Join(dir, pkg+".go")
			if err := os.WriteFile(file, []byte(wholeFile(block[1])), 0o600); err != nil {
				t.Fatal(err)
			}
			here, err := filepath.Abs(filepath.Join("..", pkg, "main.go")) // where only the compiler sees it
			if err != nil {
				t.Fatal(err)
			}
			replace[here] = file
			packages = append(packages, "./"+pkg)
		}
	}
	if len(packages) < 7 {
		t.Fatalf("only %d blocks: the test does not test", len(packages))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), goCommand, append([]string{"list", "-export", "-overlay", path, "-f", "{{.ImportPath}}"}, packages...)...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// wholeFile makes a file of a block.
func wholeFile(block string) string {
	if strings.HasPrefix(block, "package ") {
		return block
	}
	if !regexp.MustCompile(`(?m)^(func|type|var|const) `).MatchString(block) {
		block = "func example(ctx context.Context) error {\n" + block + "\nreturn nil\n}\n"
	}
	var b strings.Builder
	b.WriteString("package doc\n\n")
	for _, path := range []string{
		"context", "crypto/subtle", "encoding/json", "errors", "fmt", "log", "strings", "time",
		"github.com/synthetism/edgebroker/appliance", "github.com/synthetism/edgebroker/auth", "github.com/synthetism/edgebroker/events",
	} {
		if regexp.MustCompile(`\b` + path[strings.LastIndexByte(path, '/')+1:] + `\.`).MatchString(block) {
			fmt.Fprintf(&b, "import %q\n", path)
		}
	}
	return b.String() + "\n" + block
}
