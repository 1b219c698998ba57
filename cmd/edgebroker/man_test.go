package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/configkeys"
	"github.com/synthetism/edgebroker/internal/manpage"
)

func pagesByName(t *testing.T) map[string]manpage.Page {
	t.Helper()
	pages := map[string]manpage.Page{}
	for _, p := range manPages(&env{}, "2026-11-26") {
		if _, twice := pages[p.Name]; twice {
			t.Errorf("two pages %s", p.Name)
		}
		pages[p.Name] = p
	}
	return pages
}

// Each command that help shows has a page, with all that its help says.
func TestManPageOfEachCommand(t *testing.T) {
	pages := pagesByName(t)
	left := len(pages) - 2 // the program's and the config file's
	var visit func(list []*cli.Command, words []string)
	visit = func(list []*cli.Command, words []string) {
		for _, c := range list {
			words := append(append([]string{}, words...), c.Name)
			p, found := pages[pageOf(words...)]
			if found == c.Hidden {
				t.Errorf("%v: has a page: %v, is hidden: %v", words, found, c.Hidden)
			}
			if c.Hidden {
				continue
			}
			left--
			text := unescaped(p.String())
			for _, f := range c.VisibleFlags() {
				for _, name := range f.Names() {
					if !strings.Contains(text, dashed(name)) {
						t.Errorf("%s does not tell of %s", p.Name, dashed(name))
					}
				}
			}
			_, examples, _ := strings.Cut(c.UsageText, "\n\n")
			for _, said := range []string{c.Usage, c.Description, examples} {
				for line := range strings.Lines(said) {
					if line = strings.ReplaceAll(strings.TrimSpace(line), "`", ""); !strings.Contains(text, line) {
						t.Errorf("%s does not say %q", p.Name, line)
					}
				}
			}
			visit(c.Subcommands, words)
		}
	}
	visit(newApp(&env{}).Commands, nil)
	if left != 0 {
		t.Errorf("%d pages of no command", left)
	}
}

// unescaped is the text of a page without fonts and escapes.
func unescaped(source string) string {
	return strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\&`, "", `\-`, "-", `\e`, `\`, `\(ga`, "`", `\(aq`, "'", `\(ha`, "^", `\(ti`, "~", `\(dq`, `"`).Replace(source)
}

func TestManPagesAreComplete(t *testing.T) {
	pages := pagesByName(t)
	reference := regexp.MustCompile(`\\fB(edgebroker[\w.\\-]*)\\fR\((\d)\)`)
	for _, p := range pages {
		titles := map[string]bool{}
		for _, s := range p.Sections {
			if titles[s.Title] = true; len(s.Blocks) == 0 {
				t.Errorf("%s: %s is empty", p.Name, s.Title)
			}
		}
		for _, want := range []string{"NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "FILES", "SEE ALSO"} {
			if !titles[want] {
				t.Errorf("%s has no section %s", p.Name, want)
			}
		}
		refs := reference.FindAllStringSubmatch(p.String(), -1)
		if len(refs) < 2 {
			t.Errorf("%s refers to %q", p.Name, refs)
		}
		for _, r := range refs {
			if to, found := pages[unescaped(r[1])]; !found || r[2] != string(rune('0'+to.Section)) {
				t.Errorf("%s refers to %s(%s), which is no page", p.Name, r[1], r[2])
			}
		}
	}
}

func TestManPageOfConfig(t *testing.T) {
	head, keys := configkeys.Parse(string(appliance.ExampleConfig()))
	if !strings.Contains(head, "Sizes need a unit") {
		t.Errorf("head = %q", head)
	}
	said := map[string]configkeys.Key{}
	for _, k := range keys {
		if _, twice := said[k.Path]; twice {
			t.Errorf("%s is there twice", k.Path)
		}
		said[k.Path] = k
	}
	text := unescaped(pagesByName(t)[packagedConfigName].String())
	n := 0
	var visit func(path string, typ reflect.Type)
	visit = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
			n++
			if k, found := said[key]; !found || k.Text == "" {
				t.Errorf("%s: found %v, with comment %q", key, found, k.Text)
			}
			if !strings.Contains(text, key) {
				t.Errorf("%s is not on the page", key)
			}
			switch {
			case f.Type.Kind() == reflect.Struct:
				visit(key, f.Type)
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				visit(key+"[]", f.Type.Elem())
			}
		}
	}
	visit("", reflect.TypeFor[appliance.Config]())
	if n < 150 {
		t.Errorf("only %d keys", n)
	}
	if strings.Count(text, "\n")+1 < 2*n {
		t.Error("the page is too short to say something about each key")
	}
}

// Help says in words what the pages list.
func TestExitCodesAreInHelp(t *testing.T) {
	text := strings.Join(strings.Fields(newApp(&env{}).Description), " ")
	for _, m := range exitMeanings() {
		if want := string(rune('0'+m.code)) + " " + m.text; !strings.Contains(text, want) {
			t.Errorf("help does not say %q", want)
		}
	}
}

// What a page says must not depend on who makes it, and where.
func TestManPagesAreTheSameEverywhere(t *testing.T) {
	write := func() string {
		dir := t.TempDir()
		if code := run(t.Context(), []string{program, "man", dir}, nil, new(bytes.Buffer), os.Stderr); code != exitOK {
			t.Fatal(code)
		}
		var all strings.Builder
		for _, pattern := range []string{"man1/*", "man5/*"} {
			files, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all.WriteString(filepath.Base(f) + "\n" + string(text))
			}
		}
		return all.String()
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1800000000")
	one := write()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("EDGEBROKER_SOCKET", "/nowhere/control.sock")
	if other := write(); one != other || !strings.Contains(one, "2027-01-15") {
		t.Error("pages differ, or do not have the date that SOURCE_DATE_EPOCH says")
	}
	if appliance.DefaultSocket() != packagedSocket && strings.Contains(one, appliance.DefaultSocket()) {
		t.Errorf("pages name %s", appliance.DefaultSocket())
	}
}

func TestSourceDate(t *testing.T) {
	now := time.Date(2026, 11, 26, 23, 30, 0, 0, time.FixedZone("", -3600))
	for epoch, want := range map[string]string{"": "2026-11-27", "0": "1970-01-01", "x": "", "1.5": ""} {
		if got, err := sourceDate(epoch, now); got != want || (err != nil) != (want == "") {
			t.Errorf("sourceDate(%q) = %q, %v, want %q", epoch, got, err, want)
		}
	}
}

// The formatters themselves have nothing to complain about.
func TestManPagesFormat(t *testing.T) {
	dir := t.TempDir()
	if code := run(t.Context(), []string{program, "man", dir}, nil, new(bytes.Buffer), os.Stderr); code != exitOK {
		t.Fatal(code)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "man*", "*"))
	if len(files) < 60 {
		t.Fatalf("only %d pages", len(files))
	}
	for _, tool := range [][]string{
		{"groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-z"},
		{"mandoc", "-Tlint", "-Wwarning"},
	} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Logf("%s is not installed", tool[0])
			continue
		}
		if out, err := exec.Command(tool[0], append(tool[1:], files...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %v\n%.2000s", tool, err, out)
		}
	}
}
