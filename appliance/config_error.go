package appliance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ConfigError is everything that is wrong with a configuration, in the order
// of the file. It has at least one Problem.
type ConfigError struct {
	Problems []Problem
}

// Error is one line per problem.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File    string // file, environment variable or flag at fault; empty for a Config built in Go
	Line    int    // from 1; 0 if there is no line
	Col     int    // in characters, from 1; 0 if there is no line
	Path    string // such as "listeners[1].address"; empty for the file as a whole
	Message string // what is wrong; how to mend it
}

// String is "file:line:col: path: message", without the parts that are unknown.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// configError is nil for no problems.
func configError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return &ConfigError{Problems: problems}
}
