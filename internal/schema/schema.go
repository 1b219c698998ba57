package schema

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Set collects the schemas of types that one document refers to. It belongs to
// one goroutine.
type Set struct {
	Comments Comments
	Prefix   string // of references to the schemas of the set, such as "#/$defs/"

	// Name is what a type is called, unique in the set; nil: the function Name.
	Name func(reflect.Type) string
	// Elsewhere is the reference to the schema of a type that is not for this set
	// to make; nil: there is none such.
	Elsewhere func(reflect.Type) (ref string, ok bool)

	all      map[string]Object
	types    map[string]reflect.Type // of those that are made of one
	problems []string
}

// Of is the schema of a value of type t. Structs become schemas of the set, to
// which it refers.
func (s *Set) Of(t reflect.Type) Object {
	if t == reflect.TypeFor[time.Time]() {
		return Object{{"type", "string"}, {"format", "date-time"}}
	}
	if s.Elsewhere != nil {
		if ref, ok := s.Elsewhere(t); ok {
			return Object{{"$ref", ref}}
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.Of(t.Elem())
	case reflect.Struct:
		return s.Ref(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Object{{"type", []string{"string", "null"}}, {"contentEncoding", "base64"}}
		}
		return Object{{"type", "array"}, {"items", s.Of(t.Elem())}}
	case reflect.Map:
		return Object{{"type", "object"}, {"additionalProperties", s.Of(t.Elem())}}
	case reflect.String:
		return Object{{"type", "string"}}
	case reflect.Bool:
		return Object{{"type", "boolean"}}
	case reflect.Float64:
		return Object{{"type", "number"}}
	case reflect.Int, reflect.Int64, reflect.Int32:
		return Object{{"type", "integer"}}
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return Object{{"type", "integer"}, {"minimum", 0}}
	}
	s.problem("type %v has no form in JSON that is known here", t)
	return nil
}

// Ref is a reference to the schema of the struct t, which it makes if there is
// none yet.
func (s *Set) Ref(t reflect.Type) Object {
	name := Name(t)
	if s.Name != nil {
		name = s.Name(t)
	}
	if s.all == nil {
		s.all, s.types = map[string]Object{}, map[string]reflect.Type{}
	}
	if _, known := s.all[name]; !known {
		s.all[name], s.types[name] = nil, t // a type may hold itself
		s.all[name] = s.structure(t)
	}
	if was := s.types[name]; was != t {
		s.problem("%v and %v are both called %s", was, t, name)
	}
	return s.RefTo(name)
}

// RefTo is a reference to the schema of the set that is called name.
func (s *Set) RefTo(name string) Object { return Object{{"$ref", s.Prefix + name}} }

// Put adds a schema, or replaces the one that its fields have made of a type
// whose JSON is another; what was wrong with that is forgotten.
func (s *Set) Put(name string, schema Object) {
	if t := s.types[name]; t != nil {
		s.problems = slices.DeleteFunc(s.problems, func(p string) bool { return strings.HasPrefix(p, t.String()+".") })
	}
	if s.all == nil {
		s.all, s.types = map[string]Object{}, map[string]reflect.Type{}
	}
	s.all[name] = schema
}

// Get is the schema called name. Changes to its members count.
func (s *Set) Get(name string) Object { return s.all[name] }

// Schemas is all of them by name, or what is wrong with them.
func (s *Set) Schemas() (Object, error) {
	if len(s.problems) > 0 {
		return nil, errors.New(strings.Join(s.problems, "\n"))
	}
	out := Object{}
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		out = out.With(name, s.all[name])
	}
	return out, nil
}

func (s *Set) problem(format string, a ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, a...))
}

var generic = regexp.MustCompile(`\[.*\.(\w+)\]$`)

// Name is what a type is called in a document: as in the source, the first
// letter large; Found[statsd.Retained] is FoundRetained.
func Name(t reflect.Type) string {
	name := generic.ReplaceAllString(t.Name(), "$1")
	return strings.ToUpper(name[:min(1, len(name))]) + name[min(1, len(name)):]
}

// sourceName is a type's name in comments.
func sourceName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	pkg, _, _ := strings.Cut(t.String(), ".")
	return pkg + "." + name
}

// structure is the schema of a struct.
func (s *Set) structure(t reflect.Type) Object {
	var properties Object
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if !tagged || f.Anonymous {
			s.problem("%s.%s has no name in JSON", t, f.Name)
			continue
		}
		if name == "-" {
			continue
		}
		schema := s.Of(f.Type)
		if text := s.Comments[sourceName(t)+"."+f.Name]; text != "" {
			schema = schema.With("description", text)
		}
		properties = properties.With(name, schema)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	return ObjectOf(s.Comments[sourceName(t)], properties, required)
}

// ObjectOf is the schema of an object that has these properties. Others are not
// forbidden: clients of one version must not fail on the next.
func ObjectOf(text string, properties Object, required []string) Object {
	out := Object{{"type", "object"}}
	if text != "" {
		out = out.With("description", text)
	}
	if properties == nil {
		properties = Object{}
	}
	out = out.With("properties", properties)
	if len(required) > 0 {
		out = out.With("required", required)
	}
	return out
}
