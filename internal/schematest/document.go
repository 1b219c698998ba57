// Package schematest holds what programs really print and answer against the
// schemas that documents promise, in both directions: a property that the
// document does not know fails a test, and so does one that it has and that is
// never seen. Only tests may import it.
package schematest

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is one that has schemas, as strict as output of this version must be:
// what it does not know is wrong. It belongs to one goroutine.
type Document struct {
	main     string // its address, which is made up
	roots    map[string]map[string]any
	compiler *jsonschema.Compiler
	cache    map[string]*jsonschema.Schema
	seen     map[string]bool // "address#pointer/property"
}

const base = "https://edgebroker.example/"

// Load reads the document at path. Others are those that its schemas refer to, by
// the name of the file; nothing else is ever loaded.
func Load(tb testing.TB, path string, others ...string) *Document {
	tb.Helper()
	d := &Document{main: base + filepath.Base(path), roots: map[string]map[string]any{}, compiler: jsonschema.NewCompiler(),
		cache: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	d.compiler.AssertFormat()
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.UseLoader(nothing{})
	for _, path := range append(others, path) {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		root, ok := v.(map[string]any)
		if !ok {
			tb.Fatalf("%s is no object", path)
		}
		strict(root)
		if err := d.compiler.AddResource(base+filepath.Base(path), root); err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		d.roots[base+filepath.Base(path)] = root
	}
	return d
}

// nothing is a loader that keeps the validator from loading anything.
type nothing struct{}

func (nothing) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not to be loaded", url) }

// strict forbids what schemas do not name.
func strict(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		_, described := s["properties"].(map[string]any)
		described = described && s["type"] == "object" // a property may have that name
		for _, v := range s {
			strict(v)
		}
		if described {
			s["additionalProperties"] = false
		}
	case []any:
		for _, v := range s {
			strict(v)
		}
	}
}

// At is what lies at a path of keys; nil if nothing does. References of the
// document to itself are followed, other than the last.
func (d *Document) At(path ...string) map[string]any {
	at := d.roots[d.main]
	for i, key := range path {
		next, _ := at[key].(map[string]any)
		if ref, ok := next["$ref"].(string); ok && i < len(path)-1 {
			next = d.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		at = next
	}
	return at
}

// pointer is a path of keys as the fragment of an address.
func pointer(path []string) string {
	var b strings.Builder
	b.WriteByte('#')
	for _, key := range path {
		b.WriteString("/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key)))
	}
	return b.String()
}

// compile returns the schema at an address with a fragment.
func (d *Document) compile(tb testing.TB, at string) *jsonschema.Schema {
	tb.Helper()
	if s := d.cache[at]; s != nil {
		return s
	}
	s, err := d.compiler.Compile(at)
	if err != nil {
		tb.Fatalf("schema %s: %v", at, err)
	}
	d.cache[at] = s
	return s
}

// Valid says what is wrong with the JSON text, which should be what the schema at
// a path of keys says; nil: nothing is.
func (d *Document) Valid(tb testing.TB, text string, path ...string) error {
	tb.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return d.compile(tb, d.main+pointer(path)).Validate(v)
}

// Check fails the test if the JSON text is not valid, and remembers which
// properties there were. What names the text in errors.
func (d *Document) Check(tb testing.TB, what, text string, path ...string) {
	tb.Helper()
	if err := d.Valid(tb, text, path...); err != nil {
		tb.Errorf("%s: %v\n%.2000s", what, err, text)
		return
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	d.note(tb, v, d.main+pointer(path), d.At(path...))
}

// note remembers the properties of v, which is valid by the schema at an address.
func (d *Document) note(tb testing.TB, v any, at string, schema map[string]any) {
	tb.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		at, schema = d.follow(at, ref)
	}
	if list, ok := schema["oneOf"].([]any); ok {
		for i, one := range list {
			if next := fmt.Sprintf("%s/oneOf/%d", at, i); d.compile(tb, next).Validate(v) == nil {
				d.note(tb, v, next, one.(map[string]any))
			}
		}
		return
	}
	switch v := v.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for _, item := range v {
				d.note(tb, item, at+"/items", items)
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range v {
			if p, ok := properties[key].(map[string]any); ok {
				d.seen[at+"."+key] = true
				d.note(tb, value, at+"/properties/"+url.PathEscape(key), p)
			} else if p, ok := schema["additionalProperties"].(map[string]any); ok {
				d.note(tb, value, at+"/additionalProperties", p)
			}
		}
	}
}

// follow is where a reference leads that stands at an address, and what is there.
func (d *Document) follow(from, ref string) (at string, schema map[string]any) {
	doc, fragment, _ := strings.Cut(ref, "#")
	if doc != "" {
		doc = base + doc
	} else {
		doc, _, _ = strings.Cut(from, "#")
	}
	schema = d.roots[doc]
	for _, key := range strings.Split(strings.TrimPrefix(fragment, "/"), "/") {
		schema, _ = schema[key].(map[string]any)
	}
	return doc + "#" + fragment, schema
}

// Uncovered fails the test for every property of a schema below a path of keys
// that no text has had, other than those named in rare, "Schema.property", which
// must be in the document. Schemas are compiled on the way, so that mistakes are found.
func (d *Document) Uncovered(tb testing.TB, rare string, path ...string) {
	tb.Helper()
	left := map[string]bool{}
	for _, name := range strings.Fields(rare) {
		left[name] = true
	}
	all := d.At(path...)
	if len(all) == 0 {
		tb.Fatalf("there are no schemas at %v", path)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		at := d.main + pointer(append(slices.Clone(path), name))
		d.compile(tb, at)
		properties, _ := all[name].(map[string]any)["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			full := name + "." + key
			if !d.seen[at+"."+key] && !left[full] {
				tb.Errorf("%s is in the document, and was never seen", full)
			}
			delete(left, full)
		}
	}
	if len(left) > 0 {
		tb.Errorf("%v are called rare, and are not in the document", slices.Sorted(maps.Keys(left)))
	}
}
