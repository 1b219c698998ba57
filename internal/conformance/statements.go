package main

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed statements5.txt
var statements5 string

//go:embed statements311.txt
var statements311 string

// whom says whom a statement binds, in the words of the data files.
type whom string

const (
	server whom = "server"
	client whom = "client"
	none   whom = "none"
)

// statement is one numbered statement of a specification.
type statement struct {
	number string // "3.3.1-5"
	whom   whom
	asks   string // a paraphrase
	why    string // for none: why it does not apply
}

// specification is one version of MQTT.
type specification struct {
	name   string // "MQTT 5.0"
	prefix string // of a citation: "MQTT-" or "MQTT3-"
	list   []statement
}

func (s *specification) find(number string) (statement, bool) {
	for _, st := range s.list {
		if st.number == number {
			return st, true
		}
	}
	return statement{}, false
}

// specifications reads the data files.
func specifications() ([]specification, error) {
	specs := []specification{{name: "MQTT 5.0", prefix: "MQTT-"}, {name: "MQTT 3.1.1", prefix: "MQTT3-"}}
	for i, text := range []string{statements5, statements311} {
		list, err := parseStatements(text)
		if err != nil {
			return nil, fmt.Errorf("read the statements of %s: %w", specs[i].name, err)
		}
		specs[i].list = list
	}
	return specs, nil
}

// parseStatements reads lines of the form "number | whom | asks | why".
func parseStatements(text string) ([]statement, error) {
	var list []statement
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, " | ")
		bad := func(what string) error { return fmt.Errorf("line %d: %s", i+1, what) }
		if len(f) < 3 {
			return nil, bad("want at least three fields, separated by \" | \"")
		}
		st := statement{number: f[0], whom: whom(f[1]), asks: f[2]}
		want := 3
		switch st.whom {
		case server, client:
		case none:
			want = 4
		default:
			return nil, bad("binds " + f[1] + "; want server, client or none")
		}
		if len(f) != want {
			return nil, bad("a statement that binds " + f[1] + " has another number of fields")
		}
		if want == 4 {
			st.why = f[3]
		}
		if seen[st.number] {
			return nil, bad(st.number + " is there twice")
		}
		seen[st.number] = true
		list = append(list, st)
	}
	return list, nil
}
