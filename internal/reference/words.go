package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// word is a constant, and what its comment says.
type word struct{ name, value, text string }

// readWords lists the exported constants of a file whose names begin with prefix.
// Each has a comment beside it. value is empty for numbers.
func readWords(root, file, prefix string) ([]word, error) {
	text, err := readFile(root, file)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var words []word
	for _, d := range syntax.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			name := spec.Names[0].Name
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			w := word{name: name, text: strings.TrimSpace(spec.Comment.Text())}
			if w.text == "" {
				return nil, fmt.Errorf("%s: %s has no comment beside it that says what it means", file, name)
			}
			if len(spec.Values) == 1 {
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if w.value, err = strconv.Unquote(lit.Value); err != nil {
						return nil, err
					}
				}
			}
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%s: no constant begins with %s", file, prefix)
	}
	return words, nil
}
