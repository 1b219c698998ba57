package edgebroker_test

import (
	"go/ast"
	"go/token"
)

// checkSleep finds time.Sleep, and a bare receive from time.After, in test
// files. Inside a synctest bubble time is simulated and sleeping is how a test
// moves it, so code passed to synctest.Test is exempt, and so are functions of
// the same folder's tests that such code calls by name.
func checkSleep(t tree) (found []violation) {
	for _, folder := range t.folders() {
		var tests tree
		for _, f := range folder {
			if f.isTest() {
				tests = append(tests, f)
			}
		}
		exempt := bubbles(tests)
		for _, f := range tests {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if n == nil || exempt[n] {
					return false
				}
				switch n := n.(type) {
				case *ast.CallExpr:
					if f.calls(n, "time", "Sleep") {
						found = append(found, f.at(n.Pos(), "time.Sleep outside a synctest bubble"))
					}
				case *ast.SelectStmt: // a limit on waiting for something else
					for _, c := range n.Body.List {
						if comm := c.(*ast.CommClause).Comm; comm != nil && len(n.Body.List) > 1 {
							exempt[comm] = true
						}
					}
				case *ast.ExprStmt:
					if f.receivesAfter(n.X) {
						found = append(found, f.at(n.Pos(), "<-time.After outside a synctest bubble is a sleep"))
					}
				}
				return true
			})
		}
	}
	return found
}

// receivesAfter reports whether x is <-time.After(...).
func (f *sourceFile) receivesAfter(x ast.Expr) bool {
	recv, ok := x.(*ast.UnaryExpr)
	if !ok || recv.Op != token.ARROW {
		return false
	}
	call, ok := recv.X.(*ast.CallExpr)
	return ok && f.calls(call, "time", "After")
}

// bubbles is the nodes whose code runs inside synctest.Test: what is passed to
// it, and the declarations of the functions reached from there.
func bubbles(tests tree) map[ast.Node]bool {
	declared := map[string][]*ast.FuncDecl{} // functions and methods by bare name
	for _, f := range tests {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				declared[fn.Name.Name] = append(declared[fn.Name.Name], fn)
			}
		}
	}
	inside := map[ast.Node]bool{}
	var reach func(ast.Node)
	reach = func(root ast.Node) {
		if inside[root] {
			return
		}
		inside[root] = true
		ast.Inspect(root, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				for _, fn := range declared[id.Name] {
					reach(fn)
				}
			}
			return true
		})
	}
	for _, f := range tests {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && f.calls(call, "testing/synctest", "Test") && len(call.Args) == 2 {
				reach(call.Args[1])
			}
			return true
		})
	}
	return inside
}
