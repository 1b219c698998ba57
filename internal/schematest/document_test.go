package schematest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/schematest"
)

const other = `{"components": {"schemas": {"Far": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}}}`

const main = `{
	"commands": {"a b": {"--json": {"type": "array", "items": {"$ref": "#/$defs/Near"}}}, "far": {"$ref": "far.json#/components/schemas/Far"}},
	"$defs": {
		"Near": {"type": "object", "properties": {"far": {"$ref": "far.json#/components/schemas/Far"}, "kind": {"$ref": "#/$defs/Kind"},
			"byName": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Deep"}}, "none": {"type": "string"}}, "required": ["far"]},
		"Deep": {"type": "object", "properties": {"y": {"type": "boolean"}}},
		"One": {"type": "object", "properties": {"one": {"type": "string"}}, "required": ["one"]},
		"Two": {"type": "object", "properties": {"two": {"type": "string"}}, "required": ["two"]},
		"Kind": {"oneOf": [{"$ref": "#/$defs/One"}, {"$ref": "#/$defs/Two"}]}
	}
}`

// load writes the documents and loads them.
func load(t *testing.T) *schematest.Document {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"far.json": other, "main.json": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return schematest.Load(t, filepath.Join(dir, "main.json"), filepath.Join(dir, "far.json"))
}

// What a schema does not say is wrong, also in another document.
func TestStrict(t *testing.T) {
	d := load(t)
	path := []string{"commands", "a b", "--json"}
	for text, good := range map[string]bool{
		`[]`:                         true,
		`null`:                       false,
		`[{"far":{"x":1}}]`:          true,
		`[{"far":{}}]`:               false,
		`[{"far":{"x":""}}]`:         false,
		`[{"far":{"x":1,"y":1}}]`:    false,
		`[{"far":{"x":1},"more":1}]`: false,
		`[{"far":{"x":1},"byName":{"any":{"y":true}}}]`:      true,
		`[{"far":{"x":1},"byName":{"any":{"z":true}}}]`:      false,
		`[{"far":{"x":1},"kind":{"two":""}}]`:                true,
		`[{"far":{"x":1},"kind":{"two":"","one":""}}]`:       false,
		`[{"far":{"x":1}}] []`:                               false,
		`[{"far":{"x":1}}`:                                   false,
		`[{"far":{"x":1},"kind":{"two":"","additional":1}}]`: false,
	} {
		if err := d.Valid(t, text, path...); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// recorder is a testing.TB that keeps errors.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	words := []string{format}
	for _, v := range a {
		if s, ok := v.(string); ok {
			words = append(words, s)
		}
	}
	r.said = append(r.said, strings.Join(words, " "))
}

// What was never seen is found, and what is called rare and is not there.
func TestUncovered(t *testing.T) {
	d := load(t)
	missing := func(rare string) string {
		r := &recorder{TB: t}
		d.Uncovered(r, rare, "$defs")
		return strings.Join(r.said, "\n")
	}
	count := func(rare string) int {
		return strings.Count(missing(rare), "%s is") + strings.Count(missing(rare), "%v are")
	}
	if n := count(""); n != 7 {
		t.Errorf("%d problems before anything was seen:\n%s", n, missing(""))
	}
	d.Check(t, "a list", `[{"far":{"x":1},"byName":{"any":{"y":true}}},{"far":{"x":1},"kind":{"two":"t"}}]`, "commands", "a b", "--json")
	if got := missing("Near.none"); !strings.Contains(got, "One.one") || count("Near.none") != 1 {
		t.Errorf("got %s", got)
	}
	if n := count("Near.none One.one"); n != 0 {
		t.Errorf("%d problems:\n%s", n, missing("Near.none One.one"))
	}
	if n := count("Near.none One.one Two.two"); n != 0 {
		t.Errorf("what is rare may not be seen: %d", n)
	}
	if n := count("Near.none One.one No.no"); n != 1 {
		t.Errorf("what is not there may be called rare: %d", n)
	}
	r := &recorder{TB: t}
	if d.Check(r, "nonsense", `{"x":""}`, "commands", "far"); len(r.said) != 1 {
		t.Errorf("said %q", r.said)
	}
}
