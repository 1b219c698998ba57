// Package configkeys takes the example config apart: which keys there are, with
// which values, and what stands above each. The manual page and docs/REFERENCE.md
// are made of that, so that they say what the example says.
package configkeys

import (
	"regexp"
	"strings"
)

// Key is one key of the example config and what stands above it.
type Key struct {
	Path  string // listeners[].type
	Value string // as written there; empty if it has keys of its own
	Text  string // its comment
	// Preset reports that the example has the key, so that Value is its default.
	// Others stand in comments, with a value that is an example, or the default.
	Preset bool
}

// keyLine is a line of the example with a key, which may be commented out.
var keyLine = regexp.MustCompile(`^( *)(# )?(- )?([A-Za-z_.]+):( \S.*)?$`)

// Parse takes the example config apart. head is the comment at its beginning. A
// key that is commented out has a value without spaces, or none; everything else
// behind # is a comment.
func Parse(example string) (head string, keys []Key) {
	type level struct {
		column int
		name   string
	}
	var levels []level
	var comment []string
	for line := range strings.Lines(example) {
		line = strings.TrimRight(line, " \n")
		m := keyLine.FindStringSubmatch(line)
		text, isComment := strings.CutPrefix(strings.TrimLeft(line, " "), "#")
		switch {
		case m != nil && m[4] != "Default" && (m[2] == "" || !strings.Contains(strings.TrimSpace(m[5]), " ")):
			column := len(m[1])
			for len(levels) > 0 && levels[len(levels)-1].column >= column {
				levels = levels[:len(levels)-1]
			}
			if m[3] != "" {
				levels = append(levels, level{column, "[]"})
				column += len(m[3])
			}
			levels = append(levels, level{column, m[4]})
			path := ""
			for _, l := range levels {
				if path != "" && l.name != "[]" {
					path += "."
				}
				path += l.name
			}
			keys = append(keys, Key{path, strings.TrimSpace(m[5]), strings.Join(comment, "\n"), m[2] == ""})
			comment = nil
		case isComment:
			comment = append(comment, strings.TrimPrefix(text, " "))
		case line == "" && len(keys) == 0:
			head, comment = strings.Join(comment, "\n"), nil
		}
	}
	return head, keys
}
