package listen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// docs/REFERENCE.md explains every word for the end of a connection.
func TestEndsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "words.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "End") {
			return true
		}
		n++
		word := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)
		if !strings.Contains(string(text), "| `"+word+"` |") {
			t.Errorf("%s is not explained", word)
		}
		return true
	})
	if n < 10 {
		t.Errorf("only %d words", n)
	}
}
