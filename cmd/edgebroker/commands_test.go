package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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

// Each command says what it does, has an example, and is run by a script; one
// that asks a broker also by that of a broker on which nothing has happened.
func TestCommandsExplainThemselves(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	scripts := map[string][]byte{}
	for _, f := range files {
		if scripts[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	all := bytes.Join(slices.Collect(maps.Values(scripts)), []byte("\n"))
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
		call := regexp.MustCompile(`(?m)(^|\s)edgebroker ` + name + `(\s|$)`)
		if !call.Match(all) {
			t.Errorf("no script runs %s", name)
		}
		asks := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), "socket") })
		if asks && name != "serve" && !call.Match(scripts["empty.txtar"]) {
			t.Errorf("%s is not asked of an empty broker in empty.txtar", name)
		}
	})
	if n < 30 {
		t.Errorf("only %d commands", n)
	}
}
