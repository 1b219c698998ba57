package main

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/configkeys"
)

const root = "../.."

// TestDocument compares the committed document with the code as it is.
func TestDocument(t *testing.T) {
	if err := page.Check(root); err != nil {
		t.Error(err)
	}
}

// The words of system events are those that the broker says, and no others.
func TestSystemWordsAreAll(t *testing.T) {
	words, err := readWords(root, "events/system.go", "System")
	if err != nil {
		t.Fatal(err)
	}
	described, values := map[string]bool{}, map[string]string{}
	for _, w := range words {
		described[w.name] = true
		if other := values[w.value]; w.value == "" || other != "" {
			t.Errorf("%s is %q, as is %s", w.name, w.value, other)
		}
		values[w.value] = w.name
	}
	said := map[string]bool{}
	uses, literals := regexp.MustCompile(`\bevents\.(System\w+)`), regexp.MustCompile(`\.system\(["`+"`"+`]|SystemData\{What: *["`+"`"+`]`)
	for _, part := range []string{"appliance", "statsd"} {
		files, err := filepath.Glob(filepath.Join(root, part, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			if at := literals.Find(text); at != nil {
				t.Errorf("%s: %s: take a word of events/system.go", path, at)
			}
			for _, line := range strings.Split(string(text), "\n") {
				code, _, _ := strings.Cut(line, "//")
				for _, m := range uses.FindAllStringSubmatch(code, -1) {
					said[m[1]] = true
				}
			}
		}
	}
	delete(said, "SystemData")
	if d, s := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(said)); !slices.Equal(d, s) {
		t.Errorf("described are %v\nthe code says %v", d, s)
	}
}

// What has no meaning or no default is an error, and so is what is no key.
func TestKeyRows(t *testing.T) {
	type config struct {
		A struct {
			B int               `yaml:"b"`
			C map[string]string `yaml:"c"`
		} `yaml:"a"`
	}
	types := map[string]reflect.Type{}
	addTypes(types, "", reflect.TypeFor[config]())
	key := func(path, value, text string, preset bool) configkeys.Key {
		return configkeys.Key{Path: path, Value: value, Text: text, Preset: preset}
	}
	a, b := key("a", "", "A.", true), key("a.b", "1", "B.", true)
	c, d := key("a.c", "", "C. Default: none.", false), key("a.c.site", "x", "Such as.", false)
	rows, err := keyRows([]configkeys.Key{a, b, c, d}, types)
	want := []keyRow{{"a", "keys", "", "A.", "A."}, {"a.b", "number", "`1`", "B.", "B."}, {"a.c", "names with values", "none", "C. Example: `site: x`.", "C."}}
	if err != nil || !slices.Equal(rows, want) {
		t.Errorf("got %q, %v\nwant %q", rows, err, want)
	}
	for name, keys := range map[string][]configkeys.Key{
		"missing":         {a, b},
		"twice":           {a, b, b, c},
		"unknown":         {a, b, c, key("e", "1", "E.", true)},
		"without comment": {a, key("a.b", "1", "", true), c},
		"without default": {a, key("a.b", "1", "B.", false), c},
	} {
		if _, err := keyRows(keys, types); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPresetOf(t *testing.T) {
	for _, c := range []struct{ value, text, preset, rest string }{
		{"1.2", "Oldest. Default: 1.2. Change it.", "`1.2`", "Oldest. Change it."},
		{"yes", "A. Default: where\nit is.", "where it is", "A. Example: `yes`."},
		{"x", "Name. Needed.", "needed", "Name. Example: `x`."},
	} {
		preset, rest, err := presetOf(configkeys.Key{Path: "k", Value: c.value, Text: c.text})
		if err != nil || preset != c.preset || rest != c.rest {
			t.Errorf("%q: %q, %q, %v", c.text, preset, rest, err)
		}
	}
}

func TestProse(t *testing.T) {
	for text, want := range map[string]string{
		"see docs/TLS.md, or docs/NATS-EVENTS.md#c": strings.ReplaceAll("see [TLS~](TLS~), or [NATS-EVENTS~](NATS-EVENTS~#c)", "~", "."+"md"),
		"a|b * <c>\nd": `a\|b \* &lt;c> d`,
		"`a|b *` *":    "`a\\|b *` \\*",
	} {
		if got := prose(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got, want := paragraphs("A\nb.\n\n  c: 1\n  d: 2\nE."), "A b.\n\n```\nc: 1\nd: 2\n```\n\nE.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExitNote(t *testing.T) {
	got := exitNote("Prints it.\nExit code 0: all is well;\n1: not. More. It exits with 3 else.")
	if want := "Exit code 0: all is well; 1: not. It exits with 3 else."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
