package appliance

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// nodeStart is where n begins in the file. A mapping's own token is the colon
// after its first key, which is not where a person looks.
func nodeStart(n ast.Node) *token.Position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return nodeStart(v.Values[0].Key)
		}
	case nil:
		return nil
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position
	}
	return &token.Position{Line: 1, Column: 1}
}

func positionBefore(a, b *token.Position) bool {
	return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
}

// describeNode names the kind of n as a person would.
func describeNode(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "there are keys"
	case *ast.SequenceNode:
		return "there is a list"
	case *ast.BoolNode:
		return "there is true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "there is a number"
	}
	return "there is text"
}

type nodeVisitor func(ast.Node) bool

func (f nodeVisitor) Visit(n ast.Node) ast.Visitor {
	if f(n) {
		return f
	}
	return nil
}

// anchorsOf lists the anchors under n in the order of the file.
func anchorsOf(n ast.Node) []*ast.AnchorNode {
	var found []*ast.AnchorNode
	ast.Walk(nodeVisitor(func(n ast.Node) bool {
		if a, ok := n.(*ast.AnchorNode); ok {
			found = append(found, a)
		}
		return true
	}), n)
	return found
}

// nodeContains tells whether inner is part of outer.
func nodeContains(outer, inner ast.Node) bool {
	found := false
	ast.Walk(nodeVisitor(func(n ast.Node) bool {
		found = found || n == inner
		return !found
	}), outer)
	return found
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// parentPath is path less its last part: a key, or an index.
func parentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// unknownKey is advice on a key that does not exist at path: the key of the
// same mapping that looks like it, the place elsewhere where it does exist,
// or the keys that there are.
func unknownKey(path, key string, known []string) string {
	if closest(key, known) == "" {
		if place := keyElsewhere(key); place != "" {
			return "did you mean " + place + "?"
		}
	}
	where := "the keys here are "
	if path == "" {
		where = "the keys at the top level are "
	}
	return strings.Replace(didYouMean(key, known, where), " or ", " and ", 1)
}

// keyElsewhere is the path of the one key of that name in the sections of
// Config, or empty.
func keyElsewhere(key string) string {
	t, found := reflect.TypeFor[Config](), ""
	for i := range t.NumField() {
		section := t.Field(i)
		if section.Tag.Get("yaml") == key {
			return key + " at the top level"
		}
		if section.Type.Kind() != reflect.Struct {
			continue
		}
		for j := range section.Type.NumField() {
			if section.Type.Field(j).Tag.Get("yaml") == key {
				if found != "" {
					return ""
				}
				found = section.Tag.Get("yaml") + "." + key
			}
		}
	}
	return found
}
