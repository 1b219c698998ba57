package main

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// comments are what the source says about types, "statsd.Loss", and about their
// fields, "statsd.Loss.Count".
type comments map[string]string

// readComments reads those of packages, which are folders below root.
func readComments(root string, packages ...string) (comments, error) {
	c := comments{}
	for _, pkg := range packages {
		paths, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("read the source of %s: there is none", pkg)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			c.addFile(pkg, file)
		}
	}
	return c, nil
}

func (c comments) addFile(pkg string, file *ast.File) {
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range decl.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			text := spec.Doc
			if text == nil {
				text = decl.Doc
			}
			name := pkg + "." + spec.Name.Name
			c[name] = plain(text)
			if st, ok := spec.Type.(*ast.StructType); ok {
				c.addFields(name, st)
			}
		}
	}
}

func (c comments) addFields(name string, st *ast.StructType) {
	for _, f := range st.Fields.List {
		text := plain(f.Doc)
		if beside := plain(f.Comment); beside != "" {
			text = strings.TrimSpace(text + "\n" + beside)
		}
		for _, n := range f.Names {
			c[name+"."+n.Name] = text
		}
	}
}

// plain is a comment as running text.
func plain(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	d := new(comment.Parser).Parse(g.Text())
	p := comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(p.Text(d)))
}
