package edgebroker_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/synthetism/edgebroker"

// rule is one thing that holds for the whole tree. Its cases keep it honest:
// a rule that finds nothing in a tree made to break it would find nothing in
// the real one either.
type rule struct {
	name   string
	reason string // why it is worth a failing build
	check  func(tree) []violation
	breaks []files // each is a tree that the rule refuses
	holds  []files // each is a tree close to the edge that it accepts
}

// files is a tree in source form: text by slash-separated path.
type files map[string]string

// violation is one place that breaks a rule.
type violation struct {
	path string
	line int // 0: the whole file or folder
	text string
}

func (v violation) String() string {
	if v.line == 0 {
		return v.path + ": " + v.text
	}
	return fmt.Sprintf("%s:%d: %s", v.path, v.line, v.text)
}

// TestPolicy applies every rule to this module.
func TestPolicy(t *testing.T) {
	real := parse(t, readModule(t))
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range r.check(real) {
				t.Errorf("%v\n\tthe rule: %s", v, r.reason)
			}
		})
	}
}

// TestPolicyRules applies every rule to its own cases.
func TestPolicyRules(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			if names[r.name] {
				t.Error("another rule has this name")
			}
			names[r.name] = true
			if r.reason == "" || len(r.breaks) == 0 || len(r.holds) == 0 {
				t.Error("a rule needs a reason, a case that breaks it and a case that holds")
			}
			for _, c := range r.breaks {
				if len(r.check(parse(t, c))) == 0 {
					t.Errorf("accepts what it must refuse:\n%v", c)
				}
			}
			for _, c := range r.holds {
				for _, v := range r.check(parse(t, c)) {
					t.Errorf("refuses what it must accept: %v in\n%v", v, c)
				}
			}
		})
	}
}

// tree is the parsed files, sorted by path.
type tree []*sourceFile

type sourceFile struct {
	path   string // slash-separated, from the module's root
	text   string
	syntax *ast.File // nil unless a Go file
	fset   *token.FileSet
}

func (f *sourceFile) dir() string           { return path.Dir(f.path) }
func (f *sourceFile) isTest() bool          { return strings.HasSuffix(f.path, "_test.go") }
func (f *sourceFile) line(p token.Pos) int  { return f.fset.Position(p).Line }
func (f *sourceFile) lines() int            { return strings.Count(f.text, "\n") }
func (f *sourceFile) part() string          { return partOf(f.dir()) }
func (f *sourceFile) lineAt(offset int) int { return 1 + strings.Count(f.text[:offset], "\n") }

// at is a violation at p, which lies in f.
func (f *sourceFile) at(p token.Pos, format string, args ...any) violation {
	return violation{f.path, f.line(p), fmt.Sprintf(format, args...)}
}

// goFiles is the Go files of t, tests included.
func (t tree) goFiles() tree {
	return slices.DeleteFunc(slices.Clone(t), func(f *sourceFile) bool { return f.syntax == nil })
}

// folders is the Go files by folder.
func (t tree) folders() map[string]tree {
	m := map[string]tree{}
	for _, f := range t.goFiles() {
		m[f.dir()] = append(m[f.dir()], f)
	}
	return m
}

// partOf is the part that a folder belongs to: its first element, or the
// first two below internal.
func partOf(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	if first == "internal" {
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

func parse(t testing.TB, src files) tree {
	t.Helper()
	var out tree
	for p, text := range src {
		f := &sourceFile{path: p, text: text, fset: token.NewFileSet()}
		if path.Ext(p) == ".go" && !strings.Contains(p, "testdata/") {
			var err error
			if f.syntax, err = parser.ParseFile(f.fset, p, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *sourceFile) int { return strings.Compare(a.path, b.path) })
	return out
}

// readModule is the text files of this module as they lie on disk, without
// what git and the build keep there.
func readModule(t testing.TB) files {
	t.Helper()
	out := files{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == ".git" || p == "dist" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || p == "go.sum" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err == nil && !bytes.ContainsRune(text, 0) {
			out[filepath.ToSlash(p)] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"go.mod", "policy_test.go", "systemd/notify.go"} {
		if _, found := out[p]; !found {
			t.Fatalf("the walk did not find %s; nothing it does not find is checked", p)
		}
	}
	return out
}
