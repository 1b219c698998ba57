package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var citation = regexp.MustCompile(`\[(MQTT3?-)([0-9.]+-[0-9]+)\]`)

// cited is a statement as code names it.
type cited struct{ prefix, number string }

func (c cited) String() string { return "[" + c.prefix + c.number + "]" }

// place is where a citation stands.
type place struct {
	cited
	file string // slash-separated, from the root
	line int
	decl string // the declaration around it, "" if there is none
}

func (p place) String() string { return fmt.Sprintf("%s:%d: %v", p.file, p.line, p.cited) }

// suite is the test files of one folder.
type suite struct {
	dir    string
	uses   map[string]map[string]bool // declared name: names that occur in it
	usedBy map[string]map[string]bool // the same, the other way round
	places []place
}

// source is what the Go code of a module cites.
type source struct {
	suites map[string]*suite // by folder
	code   []place           // citations outside of tests
}

// read parses the Go files below root.
func read(root string) (*source, error) {
	src := &source{suites: map[string]*suite{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != root && (name == "testdata" || name == "dist" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || path.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return src.add(filepath.ToSlash(rel), text)
	})
	if err != nil {
		return nil, fmt.Errorf("read the module's Go files: %w", err)
	}
	return src, nil
}

// ownDir holds this program, whose citations are examples.
const ownDir = "internal/conformance"

// add takes one file.
func (src *source) add(file string, text []byte) error {
	if path.Dir(file) == ownDir {
		return nil
	}
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(file, "_test.go")
	s := src.suites[path.Dir(file)]
	if test && s == nil {
		s = &suite{dir: path.Dir(file), uses: map[string]map[string]bool{}, usedBy: map[string]map[string]bool{}}
		src.suites[s.dir] = s
	}
	if test {
		for _, d := range syntax.Decls {
			s.declare(d)
		}
	}
	for _, m := range citation.FindAllSubmatchIndex(text, -1) {
		at := fset.File(syntax.FileStart).Pos(m[0])
		p := place{
			cited: cited{string(text[m[2]:m[3]]), string(text[m[4]:m[5]])},
			file:  file, line: fset.Position(at).Line, decl: around(syntax, at),
		}
		if test {
			s.places = append(s.places, p)
		} else {
			src.code = append(src.code, p)
		}
	}
	return nil
}

// declare notes which names occur in d.
func (s *suite) declare(d ast.Decl) {
	for _, name := range names(d) {
		if s.uses[name] == nil {
			s.uses[name] = map[string]bool{}
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name != name {
				s.uses[name][id.Name] = true
				if s.usedBy[id.Name] == nil {
					s.usedBy[id.Name] = map[string]bool{}
				}
				s.usedBy[id.Name][name] = true
			}
			return true
		})
	}
}

// names is what d declares. Methods go by their bare name: a call that could be
// one of several methods counts as a call of each.
func names(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return []string{d.Name.Name}
	case *ast.GenDecl:
		var out []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					out = append(out, id.Name)
				}
			case *ast.TypeSpec:
				out = append(out, spec.Name.Name)
			}
		}
		return out
	}
	return nil
}

// around is the name of the declaration at pos, its comment included.
func around(f *ast.File, pos token.Pos) string {
	for _, d := range f.Decls {
		start, list := d.Pos(), names(d)
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				start = d.Doc.Pos()
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				start = d.Doc.Pos()
			}
		}
		if start <= pos && pos < d.End() && len(list) > 0 {
			return list[0]
		}
	}
	return ""
}

// tests returns the tests that run the declaration, sorted.
func (s *suite) tests(decl string) []string {
	var out []string
	seen := map[string]bool{decl: true}
	for next := []string{decl}; len(next) > 0; {
		name := next[len(next)-1]
		next = next[:len(next)-1]
		if isTest(name) && s.uses[name] != nil {
			out = append(out, name)
		}
		for user := range s.usedBy[name] {
			if !seen[user] {
				seen[user] = true
				next = append(next, user)
			}
		}
	}
	slices.Sort(out)
	return out
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") && name != "TestMain" || strings.HasPrefix(name, "Fuzz")
}
