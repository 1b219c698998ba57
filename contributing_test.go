package edgebroker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// CONTRIBUTING.md tells of every script, and of every step of the check.
func TestContributingIsComplete(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	check, err := os.ReadFile("scripts/check.sh")
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, row := range regexp.MustCompile(`(?m)^(?:first|second)=\(([a-z0-9 ]+)\)$`).FindAllStringSubmatch(string(check), -1) {
		steps = append(steps, strings.Fields(row[1])...)
	}
	if len(scripts) < 20 || len(steps) < 15 {
		t.Fatalf("found %d scripts and %d steps: the test does not test", len(scripts), len(steps))
	}
	for _, name := range scripts {
		if !strings.Contains(string(text), filepath.ToSlash(name)) {
			t.Errorf("%s is not told of", name)
		}
	}
	for _, name := range steps {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the step %s is not told of", name)
		}
	}
}
