package appliance

import (
	"encoding"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// configDecoder carries a YAML tree over into a Config. It goes on after a
// problem, so that one run finds them all, and remembers where every value
// stands, so that Validate's findings get a line too. The library's own
// decoder stops at the first problem.
type configDecoder struct {
	file     string
	problems []Problem
	at       map[string]*token.Position // by path: where its value is
	bad      map[string]bool            // paths whose value could not be used
	anchors  []*ast.AnchorNode
	broken   bool // the file is not YAML at all
}

// into decodes n into v, which keeps its value where n has a problem.
func (d *configDecoder) into(path string, n ast.Node, v reflect.Value) {
	n, ok := d.resolve(path, n)
	if !ok {
		return
	}
	if _, ok := d.at[path]; !ok {
		d.at[path] = nodeStart(n)
	}
	switch v.Interface().(type) {
	case time.Duration:
		setScalar(d, path, n, v, parseDuration)
		return
	case fs.FileMode:
		setScalar(d, path, n, v, parseMode)
		return
	case slog.Level:
		setScalar(d, path, n, v, parseLevel)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if s, ok := d.scalar(path, n); ok {
			if err := u.UnmarshalText([]byte(s)); err != nil {
				d.unusable(path, n, err.Error())
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.intoStruct(path, n, v)
	case reflect.Slice:
		d.intoSlice(path, n, v)
	case reflect.Map:
		d.intoTexts(path, n, v)
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.into(path, n, p.Elem())
		if !d.bad[path] {
			v.Set(p)
		}
	default:
		d.intoBasic(path, n, v)
	}
}

// mapping is the keys of n; nil if there are none.
func (d *configDecoder) mapping(path string, n ast.Node) *ast.MappingNode {
	if _, ok := n.(*ast.NullNode); ok { // every key commented out
		return nil
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.unusable(path, n, describeNode(n)+" where keys belong; write \"key: value\" lines")
		return nil
	}
	return m
}

func (d *configDecoder) intoStruct(path string, n ast.Node, v reflect.Value) {
	m := d.mapping(path, n)
	if m == nil {
		return
	}
	fields := map[string]int{}
	var known []string
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		fields[key] = i
		known = append(known, key)
	}
	first := map[string]int{}
	for _, entry := range m.Values {
		key, ok := d.key(path, entry.Key)
		if !ok {
			continue
		}
		sub := joinPath(path, key)
		i, ok := fields[key]
		if !ok {
			d.problem(nodeStart(entry.Key), sub, "unknown key; "+unknownKey(path, key, known))
			continue
		}
		if line := first[key]; line > 0 {
			d.problem(nodeStart(entry.Key), sub, fmt.Sprintf("key repeated, it is on line %d already; keep one", line))
			again := reflect.New(v.Field(i).Type()).Elem()
			again.Set(v.Field(i))
			d.into(sub, entry.Value, again)
			continue
		}
		first[key] = nodeStart(entry.Key).Line
		d.into(sub, entry.Value, v.Field(i))
	}
}

func (d *configDecoder) intoSlice(path string, n ast.Node, v reflect.Value) {
	if _, ok := n.(*ast.NullNode); ok {
		d.unusable(path, n, "the list is empty; add an entry, or remove the key for the default")
		return
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.unusable(path, n, describeNode(n)+" where a list belongs; write entries that begin with \"- \"")
		return
	}
	if len(s.Values) > maxListEntries {
		d.unusable(path, n, fmt.Sprintf("the list has %d entries; %d is the most", len(s.Values), maxListEntries))
		return
	}
	if len(s.Values) == 0 {
		v.SetZero()
		return
	}
	list := reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values))
	for i, item := range s.Values {
		if _, ok := item.(*ast.NullNode); ok {
			d.unusable(fmt.Sprintf("%s[%d]", path, i), item, "an empty entry; fill it in or remove it")
			continue
		}
		d.into(fmt.Sprintf("%s[%d]", path, i), item, list.Index(i))
	}
	v.Set(list)
}

// intoTexts decodes a mapping whose keys are the user's own.
func (d *configDecoder) intoTexts(path string, n ast.Node, v reflect.Value) {
	m := d.mapping(path, n)
	if m == nil {
		return
	}
	if len(m.Values) > maxListEntries {
		d.unusable(path, n, fmt.Sprintf("there are %d keys; %d is the most", len(m.Values), maxListEntries))
		return
	}
	texts := reflect.MakeMap(v.Type())
	first := map[string]int{}
	for _, entry := range m.Values {
		key, ok := d.key(path, entry.Key)
		if !ok {
			continue
		}
		item := fmt.Sprintf("%s[%s]", path, key)
		if line := first[key]; line > 0 {
			d.problem(nodeStart(entry.Key), item, fmt.Sprintf("key repeated, it is on line %d already; keep one", line))
			continue
		}
		first[key] = nodeStart(entry.Key).Line
		text := reflect.New(v.Type().Elem()).Elem()
		d.into(item, entry.Value, text)
		texts.SetMapIndex(reflect.ValueOf(key), text)
	}
	if texts.Len() > 0 {
		v.Set(texts)
	}
}

func (d *configDecoder) intoBasic(path string, n ast.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else if s, ok := d.scalar(path, n); ok {
			d.unusable(path, n, quoteShort(s)+" is neither true nor false; write one of them, without quotes")
		}
	case reflect.Int:
		s, ok := d.scalar(path, n)
		if !ok {
			return
		}
		i, err := strconv.Atoi(s)
		if _, isInt := n.(*ast.IntegerNode); !isInt || err != nil || strconv.Itoa(i) != s {
			d.unusable(path, n, quoteShort(s)+" is not a whole number; write it in plain digits, without unit, quotes or leading zeros")
			return
		}
		v.SetInt(int64(i))
	case reflect.String:
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
		case *ast.MappingNode, *ast.SequenceNode, *ast.NullNode:
		default:
			d.unusable(path, n, describeNode(n)+" where text belongs; put it in quotes")
			return
		}
		if s, ok := d.scalar(path, n); ok {
			v.SetString(s)
		}
	default:
		// Only a new kind of field in Config comes here; the test of the
		// example then fails.
		d.unusable(path, n, "this version cannot read a "+v.Type().String())
	}
}

// setScalar sets v to what parse makes of the scalar n.
func setScalar[T any](d *configDecoder, path string, n ast.Node, v reflect.Value, parse func(string) (T, error)) {
	s, ok := d.scalar(path, n)
	if !ok {
		return
	}
	x, err := parse(s)
	if err != nil {
		d.unusable(path, n, err.Error())
		return
	}
	v.Set(reflect.ValueOf(x))
}

// scalar returns the text of a single value as it stands in the file, less
// its quotes.
func (d *configDecoder) scalar(path string, n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.SequenceNode:
		d.unusable(path, n, describeNode(n)+" where a single value belongs; put the value in quotes if it begins with [ or {")
		return "", false
	case *ast.NullNode:
		d.unusable(path, n, "no value; write one, or remove the key for the default")
		return "", false
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), true
	}
	return n.GetToken().Value, true
}

// key returns the text of a mapping's key.
func (d *configDecoder) key(path string, k ast.MapKeyNode) (string, bool) {
	var n ast.Node = k
	if m, ok := n.(*ast.MappingKeyNode); ok {
		n = m.Value
	}
	switch n := n.(type) {
	case *ast.MergeKeyNode:
		d.problem(nodeStart(k), path, "merge keys (<<) are not supported; write the keys out")
		return "", false
	case *ast.StringNode:
		return n.Value, true
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MappingNode, *ast.SequenceNode, nil:
		d.problem(nodeStart(k), path, "a key must be plain text; write it out")
		return "", false
	}
	return n.GetToken().Value, true
}

// resolve follows anchors and aliases to the node that they stand for.
func (d *configDecoder) resolve(path string, n ast.Node) (ast.Node, bool) {
	for range maxConfigDepth {
		switch a := n.(type) {
		case *ast.AnchorNode:
			n = a.Value
		case *ast.AliasNode:
			target := d.anchor(a)
			if target == nil {
				d.unusable(path, a, "alias *"+a.Value.GetToken().Value+" has no anchor above it; write the value out")
				return nil, false
			}
			n = target.Value
		case *ast.TagNode:
			d.unusable(path, a, "tag "+quoteShort(a.GetToken().Value)+" is not supported; remove it")
			return nil, false
		case nil:
			return nil, false
		default:
			return n, true
		}
	}
	d.unusable(path, n, "anchors refer to each other; write the value out")
	return nil, false
}

// anchor finds the last anchor of the alias's name above it. One that the
// alias is part of would go round in circles, and does not count.
func (d *configDecoder) anchor(alias *ast.AliasNode) *ast.AnchorNode {
	var found *ast.AnchorNode
	for _, a := range d.anchors {
		if a.Name.GetToken().Value == alias.Value.GetToken().Value && positionBefore(nodeStart(a), nodeStart(alias)) && !nodeContains(a, alias) {
			found = a
		}
	}
	return found
}

func (d *configDecoder) problem(at *token.Position, path, message string) {
	p := Problem{File: d.file, Path: path, Message: message}
	if at != nil {
		p.Line, p.Col = at.Line, at.Column
	}
	d.problems = append(d.problems, p)
}

// unusable is a problem that leaves path without a value of its own, so that
// nothing further shall be said about it.
func (d *configDecoder) unusable(path string, n ast.Node, message string) {
	d.bad[path] = true
	d.problem(nodeStart(n), path, message)
}

// finding records a finding of Validate at the line of its value, of the
// other value that it is about, or of the nearest key around it.
func (d *configDecoder) finding(f finding) {
	for path := f.path; path != ""; path = parentPath(path) {
		if d.bad[path] {
			return
		}
	}
	if f.other != "" && d.bad[f.other] {
		return
	}
	at := d.at[f.path]
	if at == nil && f.other != "" {
		at = d.at[f.other]
	}
	for path := f.path; at == nil && path != ""; path = parentPath(path) {
		at = d.at[parentPath(path)]
	}
	d.problem(at, f.path, f.message(func(path string) int {
		if p := d.at[path]; p != nil {
			return p.Line
		}
		return 0
	}))
}

func parseLevel(s string) (slog.Level, error) {
	levels := []string{"debug", "info", "warn", "error"}
	var level slog.Level
	for _, l := range levels {
		if s == l {
			return level, level.UnmarshalText([]byte(s))
		}
	}
	return 0, fmt.Errorf("%s is not a log level; %s", quoteShort(s), didYouMean(s, levels, "use "))
}
