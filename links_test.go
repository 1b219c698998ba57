package edgebroker_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6} +(.*)$`)
	mdFence   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors are the names by which GitHub finds the headings of a document.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range mdHeading.FindAllStringSubmatch(mdFence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, c := range strings.ToLower(m[1]) {
			switch {
			case c == ' ':
				b.WriteByte('-')
			case c == '-', c == '_', unicode.IsLetter(c), unicode.IsDigit(c):
				b.WriteRune(c)
			}
		}
		out[b.String()] = true
	}
	return out
}

// Links in documents lead to files of the repository, and to headings in them.
func TestLinks(t *testing.T) {
	docs := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "systemd/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			docs[filepath.ToSlash(p)] = string(text)
		}
	}
	n := 0
	for name, text := range docs {
		for _, m := range mdLink.FindAllStringSubmatch(mdFence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.FromSlash(target)); err != nil {
				t.Errorf("%s: %s is not there", name, m[1])
				continue
			}
			if anchor != "" && docs[target] != "" && !anchors(docs[target])[anchor] {
				t.Errorf("%s: %s has no heading #%s", name, target, anchor)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d links: the test does not test", n)
	}
	if got := anchors("# A `b`: c, d-e\n```sh\n# no\n```\n## F"); !got["a-b-c-d-e"] || !got["f"] || got["no"] {
		t.Errorf("anchors are %v", got)
	}
}
