package page_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestModules runs the tests of the page's modules, which are in jstest.
func TestModules(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("EDGEBROKER_E2E") == "1" {
			t.Fatalf("EDGEBROKER_E2E=1 and %v; install nodejs", err)
		}
		t.Skipf("%v; install nodejs to run this test", err)
	}
	files, err := filepath.Glob("jstest/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no tests: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, node, append([]string{"--test", "--test-reporter=tap"}, files...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("node --test: %v\n%s", err, out.String())
	}
	// A run in which nothing was tested ends well, too.
	m := regexp.MustCompile(`(?m)^# pass (\d+)$`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("node --test does not say how many have passed:\n%s", out.String())
	}
	if n, _ := strconv.Atoi(m[1]); n < len(files) {
		t.Errorf("%d tests have passed in %d files", n, len(files))
	}
}
