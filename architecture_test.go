package edgebroker_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var codeWords = regexp.MustCompile("`([^`]+)`")

// The table of parts in docs/ARCHITECTURE.md is that of the arrows, which imports
// must follow, and names each module of go.mod with a reason.
func TestArchitectureTables(t *testing.T) {
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, parts, _ := strings.Cut(string(text), "| folder | what it is | may import |")
	parts, _, _ = strings.Cut(parts, "\n\n")
	allowed := arrows()
	rows := map[string]bool{}
	for _, row := range strings.Split(parts, "\n")[1:] {
		cells := strings.Split(row, " | ")
		name := codeWords.FindStringSubmatch(row)
		if len(cells) != 3 || name == nil {
			continue
		}
		part := partOf(name[1])
		rows[part] = true
		want, known := allowed[part]
		switch {
		case strings.Contains(cells[2], "tests only"):
			continue
		case !known:
			t.Errorf("%s has a row, and no arrows", part)
			continue
		case name[1] != part || strings.Contains(cells[2], "all of the above") || strings.Contains(cells[2], "anything"):
			continue // a folder of a part, or one that may import nearly all
		}
		var got []string
		for _, m := range codeWords.FindAllStringSubmatch(cells[2], -1) {
			if _, ours := allowed[m[1]]; ours {
				got = append(got, m[1])
			}
		}
		want = slices.Sorted(slices.Values(want))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the table says that it may import %v, the arrows say %v", part, got, want)
		}
	}
	for part := range allowed {
		if !rows[part] && part != "." {
			t.Errorf("%s has no row", part)
		}
	}

	_, reasons, _ := strings.Cut(string(text), "## Dependencies, and why each")
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) { // without "// indirect"
		n++
		words := strings.Split(m[1], "/")
		if !slices.ContainsFunc(words[1:], func(w string) bool { return len(w) > 2 && strings.Contains(reasons, w) }) {
			t.Errorf("%s has no reason", m[1])
		}
	}
	if n < 20 {
		t.Errorf("only %d modules: the test does not test", n)
	}
}
