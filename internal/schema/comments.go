package schema

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// Comments are what the source says about types, "statsd.Loss", and about their
// fields, "statsd.Loss.Count". Types of a command are those of "main".
type Comments map[string]string

// ReadComments reads those of packages, which are folders below root.
func ReadComments(root string, packages ...string) (Comments, error) {
	c := Comments{}
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
			c.addFile(file)
		}
	}
	return c, nil
}

func (c Comments) addFile(file *ast.File) {
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
			name := file.Name.Name + "." + spec.Name.Name
			c[name] = plain(text)
			if st, ok := spec.Type.(*ast.StructType); ok {
				c.addFields(name, st)
			}
		}
	}
}

func (c Comments) addFields(name string, st *ast.StructType) {
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
