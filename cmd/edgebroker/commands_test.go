package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// eachCommand calls visit for each command that does something, with its words.
func eachCommand(list []*cli.Command, words []string, visit func(words []string, c *cli.Command)) {
	for _, c := range list {
		path := append(slices.Clip(words), c.Name)
		if len(c.Subcommands) > 0 {
			eachCommand(c.Subcommands, path, visit)
			continue
		}
		visit(path, c)
	}
}

// Each command says what it does, has an example, and is run by a script or
// another test.
func TestCommandsExplainThemselves(t *testing.T) {
	var tests []byte
	for _, pattern := range []string{"*_test.go", "testdata/script/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests = append(tests, text...)
		}
	}
	n := 0
	eachCommand(newApp(&env{}).Commands, nil, func(words []string, c *cli.Command) {
		n++
		name := strings.Join(words, " ")
		if c.Usage == "" {
			t.Errorf("%s does not say what it does", name)
		}
		if _, examples, _ := strings.Cut(c.UsageText, "\n\n"); !strings.Contains(examples, "edgebroker "+name) {
			t.Errorf("%s has no example", name)
		}
		script, call := []byte("edgebroker "+name), []byte(`"`+strings.Join(words, `", "`)+`"`)
		if !bytes.Contains(tests, script) && !bytes.Contains(tests, call) {
			t.Errorf("no script or test runs %s", name)
		}
	})
	if n < 30 {
		t.Errorf("only %d commands", n)
	}
}
