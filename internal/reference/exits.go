package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// addExits lists the exit codes, and what commands say of theirs in their help.
func addExits(root string, b *bytes.Buffer) error {
	src, err := readCommands(root, "cmd/edgebroker", "bench")
	if err != nil {
		return err
	}
	meanings, err := src.meanings()
	if err != nil {
		return err
	}
	b.WriteString("\n## Exit codes\n\n| exit code | |\n|---|---|\n")
	for _, m := range meanings {
		row(b, m.name, prose(m.text))
	}
	b.WriteString("\nWhat is wrong stands on standard error: `edgebroker: error: ...`, and mostly `edgebroker: hint: ...` with what to do. A unit should not\n" +
		"start `serve` again after 2: trying again cannot mend a configuration.\n\nCommands whose codes say more:\n\n| command | |\n|---|---|\n")
	notes, err := src.notes()
	if err != nil {
		return err
	}
	for _, n := range notes {
		row(b, code("edgebroker "+n.name), prose(n.text))
	}
	return nil
}

// commands is the source of the command line.
type commands struct {
	numbers map[string]string            // constants that are numbers
	made    map[string]*ast.CompositeLit // by function: the first cli.Command or cli.App in it
	exits   *ast.CompositeLit            // the list of exitMeaning
}

func readCommands(root string, folders ...string) (*commands, error) {
	src := &commands{numbers: map[string]string{}, made: map[string]*ast.CompositeLit{}}
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("read the source of %s: there is none", folder)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			src.add(file)
		}
	}
	return src, nil
}

func (src *commands) add(file *ast.File) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if spec, ok := s.(*ast.ValueSpec); ok && d.Tok == token.CONST && len(spec.Values) == 1 {
					if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.INT {
						src.numbers[spec.Names[0].Name] = lit.Value
					}
				}
			}
		case *ast.FuncDecl:
			ast.Inspect(d, func(n ast.Node) bool {
				lit, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				switch t := lit.Type.(type) {
				case *ast.SelectorExpr:
					if (t.Sel.Name == "Command" || t.Sel.Name == "App") && src.made[d.Name.Name] == nil {
						src.made[d.Name.Name] = lit
					}
				case *ast.ArrayType:
					if id, ok := t.Elt.(*ast.Ident); ok && id.Name == "exitMeaning" {
						src.exits = lit
					}
				}
				return true
			})
		}
	}
}

// meanings is what exitMeanings returns: code and text.
func (src *commands) meanings() ([]word, error) {
	if src.exits == nil {
		return nil, errors.New("found no list of exit codes")
	}
	var out []word
	for _, e := range src.exits.Elts {
		lit, ok := e.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 2 {
			return nil, errors.New("an exitMeaning is not {code, text}")
		}
		name, ok := lit.Elts[0].(*ast.Ident)
		if !ok || src.numbers[name.Name] == "" || textOf(lit.Elts[1]) == "" {
			return nil, errors.New("an exitMeaning is not a constant and a text")
		}
		out = append(out, word{name: src.numbers[name.Name], text: textOf(lit.Elts[1])})
	}
	return out, nil
}

// notes is what the descriptions of commands say of exit codes, by command.
func (src *commands) notes() ([]word, error) {
	app := src.made["newApp"]
	if app == nil {
		return nil, errors.New("found no cli.App in newApp")
	}
	var out []word
	src.visit("", app, func(path, description string) {
		if text := exitNote(description); text != "" && path != "" {
			out = append(out, word{name: path, text: text})
		}
	})
	if len(out) == 0 {
		return nil, errors.New("no command says anything of its exit codes")
	}
	return out, nil
}

// visit calls f with lit, a cli.App or cli.Command, and all commands below it.
func (src *commands) visit(parent string, lit *ast.CompositeLit, f func(path, description string)) {
	path, description := parent, ""
	var below *ast.CompositeLit
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch key, _ := kv.Key.(*ast.Ident); key.Name {
		case "Name":
			if name := textOf(kv.Value); name != "" {
				path = strings.TrimSpace(parent + " " + name)
			}
		case "Description":
			description = textOf(kv.Value)
		case "Commands", "Subcommands":
			below, _ = kv.Value.(*ast.CompositeLit)
		}
	}
	f(path, description)
	if below == nil {
		return
	}
	for _, e := range below.Elts {
		switch e := e.(type) {
		case *ast.CompositeLit:
			src.visit(path, e, f)
		case *ast.CallExpr:
			var name string
			switch fun := e.Fun.(type) {
			case *ast.Ident:
				name = fun.Name
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			}
			if lit := src.made[name]; lit != nil {
				src.visit(path, lit, f)
			}
		}
	}
}

// textOf is a text of one or more literals; what else is added to it is left out.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return textOf(e.X) + textOf(e.Y)
	}
	return ""
}

var (
	sentenceEnd = regexp.MustCompile(`[.]\s+`)
	aboutExits  = regexp.MustCompile(`(?i)\bexit(s with| codes?\b| status\b)`)
)

// exitNote is the sentences about exit codes.
func exitNote(description string) string {
	var out []string
	text := strings.Join(strings.Fields(description), " ")
	for from := 0; from < len(text); {
		end := len(text)
		if m := sentenceEnd.FindStringIndex(text[from:]); m != nil {
			end = from + m[1]
		}
		if s := strings.TrimSpace(text[from:end]); aboutExits.MatchString(s) {
			out = append(out, s)
		}
		from = end
	}
	return strings.Join(out, " ")
}
