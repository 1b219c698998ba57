package acl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is one thing that is wrong with rules.
type Error struct {
	File    string
	Line    int    // from 1; 0: the whole file
	Column  int    // in characters, from 1; 0: the whole line
	Problem string // what is wrong, with the offending word, and how to mend it
}

func (e *Error) Error() string {
	where := e.File
	switch {
	case e.File == "" && e.Line > 0:
		where = fmt.Sprintf("rule %d", e.Line)
	case e.Column > 0:
		where += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	case e.Line > 0:
		where += fmt.Sprintf(":%d", e.Line)
	}
	return where + ": " + e.Problem
}

// Errors is everything that is wrong, in the order in which it stands there.
type Errors []*Error

// shown is how many problems are told; the others tend to be like them.
const shown = 20

// Error is one line for each problem.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i == shown {
			fmt.Fprintf(&b, "\nand %d more", len(es)-shown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap gives errors.As the first of them.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// inWords is word for an error: quoted, and not too long.
func inWords(word string) string {
	const most = 40
	if utf8.RuneCountInString(word) > most {
		word = string([]rune(word)[:most]) + "..."
	}
	return fmt.Sprintf("%q", word)
}

// didYouMean is advice for somebody who wrote got where one of known belongs:
// the one that it resembles, or all of them.
func didYouMean(got string, known ...string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(got), k); d < least && d < len(k)-1 {
			best, least = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	n := len(known) - 1
	return "write " + strings.Join(known[:n], ", ") + " or " + known[n]
}

// distance is the number of bytes to put in, take out or change that turn a
// into b; 99 if a is too long for any keyword.
func distance(a, b string) int {
	if len(a) > 16 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(corner+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
