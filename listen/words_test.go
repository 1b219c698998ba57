package listen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// endWords are the words for the end of a connection, by their constants.
func endWords(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "words.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "End") {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		words[word] = spec.Names[0].Name
		return true
	})
	if len(words) < 10 {
		t.Fatalf("only %d words", len(words))
	}
	return words
}

// docs/REFERENCE.md explains every word for the end of a connection.
func TestEndsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	for word := range endWords(t) {
		if !strings.Contains(string(text), "| `"+word+"` |") {
			t.Errorf("%s is not explained", word)
		}
	}
}

// The relay, which does not know this package, ends connections by its words.
func TestEndsOfTheRelay(t *testing.T) {
	files, err := filepath.Glob("../relay/*.go")
	if err != nil {
		t.Fatal(err)
	}
	words, n := endWords(t), 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Kick" {
				return true
			}
			n++
			lit, ok := call.Args[1].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: Kick with something else than a word as it is", name)
				return true
			}
			if word, err := strconv.Unquote(lit.Value); err != nil || words[word] == "" {
				t.Errorf("%s: Kick with %s, which is none of the words in words.go", name, lit.Value)
			}
			return true
		})
	}
	if n < 5 {
		t.Errorf("only %d calls of Kick", n)
	}
}
