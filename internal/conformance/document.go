package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// documentPath is the document's place below the module's root.
const documentPath = "docs/CONFORMANCE.md"

const preamble = `# Conformance

Every numbered statement of the MQTT specifications that binds a server, and
the tests that show it. The statements are paraphrased; the OASIS documents
decide. A test cites what it shows: ` + "`[MQTT-3.3.1-5]` for MQTT 5, `[MQTT3-3.3.1-5]`" + `
for MQTT 3.1.1, since the numbers differ.

This page is made from those citations by ` + "`go run ./internal/conformance`" + `; a
test fails while it is out of date. Do not edit it.

`

// document makes the page from the Go files below root. It fails if a citation
// names no statement, or stands where no test runs it.
func document(root string) ([]byte, error) {
	specs, err := specifications()
	if err != nil {
		return nil, err
	}
	src, err := read(root)
	if err != nil {
		return nil, err
	}
	return render(specs, src)
}

func render(specs []specification, src *source) ([]byte, error) {
	shown, err := src.shown(specs)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(preamble)
	b.WriteString("| | bind a server | with a test | without | do not apply |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range specs {
		tested, untested, moot := s.sort(shown)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", s.name, len(tested)+len(untested), len(tested), len(untested), len(moot))
	}
	for _, s := range specs {
		tested, untested, moot := s.sort(shown)
		fmt.Fprintf(&b, "\n## %s\n\n### Without a test\n\n", s.name)
		if len(untested) == 0 {
			b.WriteString("None.\n")
		}
		for _, st := range untested {
			fmt.Fprintf(&b, "- %s: %s\n", st.number, st.asks)
		}
		b.WriteString("\n### With tests\n\n| Statement | Asks | Tests |\n| --- | --- | --- |\n")
		for _, st := range tested {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", st.number, st.asks, tests(shown[cited{s.prefix, st.number}]))
		}
		b.WriteString("\n### Do not apply\n\n")
		for _, st := range moot {
			fmt.Fprintf(&b, "- %s: %s: %s\n", st.number, st.asks, st.why)
		}
	}
	return b.Bytes(), nil
}

// sort divides the statements that are not for clients alone.
func (s *specification) sort(shown map[cited]map[string][]string) (tested, untested, moot []statement) {
	for _, st := range s.list {
		switch {
		case st.whom == none:
			moot = append(moot, st)
		case st.whom == client:
		case len(shown[cited{s.prefix, st.number}]) > 0:
			tested = append(tested, st)
		default:
			untested = append(untested, st)
		}
	}
	return tested, untested, moot
}

// tests writes tests by folder as one table cell.
func tests(byDir map[string][]string) string {
	dirs := make([]string, 0, len(byDir))
	for dir := range byDir {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	var out []string
	for _, dir := range dirs {
		out = append(out, dir+": "+strings.Join(byDir[dir], ", "))
	}
	return strings.Join(out, "; ")
}

// fewTests is how many are named where one piece of code serves them: what a harness
// checks on the way is said of the harness.
const fewTests = 20

// shown finds the tests of every statement, by folder.
func (src *source) shown(specs []specification) (map[cited]map[string][]string, error) {
	out := map[cited]map[string][]string{}
	var wrong []error
	for _, p := range src.code {
		if _, err := lookup(specs, p); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, s := range src.suites {
		for _, p := range s.places {
			st, err := lookup(specs, p)
			tests := s.tests(p.decl)
			switch {
			case err != nil:
			case st.whom == none:
				err = fmt.Errorf("%v: a test shows it, but the list says that it does not apply", p)
			case p.decl == "" || len(tests) == 0:
				err = fmt.Errorf("%v: no test runs this; move the citation into the test that shows it", p)
			}
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			if len(tests) > fewTests {
				tests = []string{"every test that runs `" + p.decl + "`"}
			}
			if out[p.cited] == nil {
				out[p.cited] = map[string][]string{}
			}
			list := append(out[p.cited][s.dir], tests...)
			slices.Sort(list)
			out[p.cited][s.dir] = slices.Compact(list)
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, errors.Join(wrong...)
}

func lookup(specs []specification, p place) (statement, error) {
	for i := range specs {
		if specs[i].prefix == p.prefix {
			if st, ok := specs[i].find(p.number); ok {
				return st, nil
			}
			return statement{}, fmt.Errorf("%v: %s has no such statement", p, specs[i].name)
		}
	}
	return statement{}, fmt.Errorf("%v: no such specification", p)
}
