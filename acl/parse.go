package acl

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// most is how many wrong lines are one too many to go on reading.
const most = 100

// Parse reads rules as they stand in a file called file. The error is of type
// [Errors] and has the lines that are wrong, the first hundred at least; there
// are no rules then.
func Parse(file string, text []byte) ([]Rule, error) {
	if len(text) > MaxFileBytes {
		return nil, Errors{{File: file, Problem: fmt.Sprintf("is larger than %d bytes, more than a file of rules may be; use groups, globs, %%u and %%c", MaxFileBytes)}}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var (
		rules []Rule
		bad   Errors
		line  int
	)
	for l := range strings.SplitSeq(string(text), "\n") {
		line++
		r, ok, err := parseLine(strings.TrimSuffix(l, "\r"))
		switch {
		case err != nil:
			err.File, err.Line = file, line
			bad = append(bad, err)
			if len(bad) == most {
				bad = append(bad, &Error{File: file, Line: line, Problem: "is as far as the file was read; mend what is wrong up to here"})
				return nil, bad
			}
		case ok:
			r.File, r.Line = file, line
			rules = append(rules, r)
		}
		if len(rules) > MaxRules {
			bad = append(bad, &Error{File: file, Line: line, Problem: fmt.Sprintf("is one rule more than the %d that there may be; use groups, globs, %%u and %%c", MaxRules)})
			break
		}
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return rules, nil
}

// word is one word of a line.
type word struct {
	text   string // without its quotes, which may be around all or what follows the first =
	quoted bool
	column int
}

func blank(r rune) bool { return r == ' ' || r == '\t' }

// invisible says that a reader of the file would not see r, or not as what it is.
func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.IsControl(r)
}

// split takes line apart into words. It is empty for comments.
func split(line string) ([]word, *Error) {
	var words []word
	column := 0
	for len(line) > 0 {
		if blank(rune(line[0])) {
			line, column = line[1:], column+1
			continue
		}
		if line[0] == '#' && len(words) == 0 {
			return nil, nil
		}
		w := word{column: column + 1}
		rest, err := w.read(line)
		if err != nil {
			return nil, err
		}
		column += utf8.RuneCountInString(line[:len(line)-len(rest)])
		line = rest
		words = append(words, w)
	}
	return words, nil
}

// ordinary is the number of bytes before the first that may need a closer look.
func ordinary(s string) int {
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] < 0x7f && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

// read takes one word off line and returns what follows it.
func (w *word) read(line string) (rest string, e *Error) {
	if n := ordinary(line); n > 0 && (n == len(line) || blank(rune(line[n]))) {
		w.text = line[:n]
		return line[n:], nil
	}
	var text strings.Builder
	column, inside := w.column, false
	fail := func(format string, args ...any) (string, *Error) {
		return "", &Error{Column: column, Problem: fmt.Sprintf(format, args...)}
	}
	for i := 0; i < len(line); column++ {
		r, n := utf8.DecodeRuneInString(line[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return fail("the byte %#x is not UTF-8; save the file as UTF-8", line[i])
		case r == 0:
			return fail("the character U+0000 cannot be part of a rule; take it out")
		case r == '\\' && i+1 < len(line) && (line[i+1] == '\\' || inside && line[i+1] == '"'):
			if line[i+1] == '\\' {
				text.WriteByte('\\')
			}
			text.WriteByte(line[i+1])
			i, column = i+2, column+1
			continue
		case r == '"' && inside:
			rest = line[i+1:]
			if rest != "" && !blank(rune(rest[0])) {
				column++
				return fail("something follows the quote; quotes are around a whole value or filter, with a blank after them, and a quote inside is written \\\"")
			}
			w.text = text.String()
			return rest, nil
		case r == '"' && (i == 0 || line[i-1] == '=' && strings.IndexByte(line, '=') == i-1):
			w.quoted, inside = true, true
		case r == '"':
			return fail("a quote inside of a word; put quotes around the whole value or filter, and write \\\" for one inside")
		case blank(r) && !inside:
			w.text = text.String()
			return line[i:], nil
		case invisible(r) && !inside:
			return fail("the character %U cannot be seen; write a plain blank, or put quotes around the word if it is meant", r)
		default:
			text.WriteRune(r)
		}
		i += n
	}
	if inside {
		column = w.column
		return fail("the quote in %s is never closed; add \" at its end", inWords(line))
	}
	w.text = text.String()
	return "", nil
}

// parseLine reads one line; ok is false if it holds no rule.
func parseLine(line string) (r Rule, ok bool, e *Error) {
	if len(line) > MaxLineBytes {
		return r, false, &Error{Problem: fmt.Sprintf("the line is longer than %d bytes; write several rules", MaxLineBytes)}
	}
	words, e := split(line)
	if e != nil || len(words) == 0 {
		return r, false, e
	}
	w := words[0]
	switch {
	case w.is("allow"):
		r.Allow = true
	case !w.is("deny"):
		return r, false, w.problem("is no beginning of a rule; %s", didYouMean(w.text, "allow", "deny"))
	}
	rest, e := r.parseWho(w, words[1:])
	if e != nil {
		return r, false, e
	}
	e = r.parseTopics(rest)
	return r, e == nil, e
}

func (w *word) is(text string) bool { return !w.quoted && w.text == text }

// problem is an error about w.
func (w *word) problem(format string, args ...any) *Error {
	return &Error{Column: w.column, Problem: inWords(w.text) + " " + fmt.Sprintf(format, args...)}
}

// parseWho reads the selectors and the action after first, and returns the
// words that follow.
func (r *Rule) parseWho(first word, words []word) ([]word, *Error) {
	anybody, last := false, first
	for i := range words {
		w := &words[i]
		for _, a := range [...]Action{Publish, Subscribe, All} {
			if !w.is(a.String()) {
				continue
			}
			if i == 0 {
				return nil, w.problem("has nobody before it; write any, or a selector such as user=alice, between %s and %s", first.text, w.text)
			}
			r.Action = a
			if i+1 == len(words) {
				return nil, w.problem("has no topics after it; add one or more filters such as plant/#")
			}
			return words[i+1:], nil
		}
		switch {
		case w.is("any") && i == 0:
			anybody = true
		case w.is("any") || anybody && strings.Contains(w.text, "="):
			return nil, w.problem("cannot be added; any stands alone for every subject, selectors narrow it down: leave one of them off")
		default:
			if e := r.parseSelector(w); e != nil {
				return nil, e
			}
		}
		last = *w
	}
	if len(words) == 0 {
		return nil, first.problem("is not a whole rule; write for example %s user=alice publish plant/#", first.text)
	}
	return nil, last.problem("is not followed by publish, subscribe or all; add one of them, and topics")
}

// parseSelector reads one selector.
func (r *Rule) parseSelector(w *word) *Error {
	key, value, found := strings.Cut(w.text, "=")
	for s := range selectors {
		if !found || key != s.String() {
			continue
		}
		field := r.field(s)
		switch {
		case *field != "":
			return w.problem("is the second %s= of this rule, and all selectors must hold; write two rules, or a pattern with *", key)
		case value == "":
			return w.problem("has no value; write %s=NAME, or %s=* for any name", key, key)
		}
		if _, err := compilePattern(value); err != nil {
			return w.problem("%v", err)
		}
		*field = value
		return nil
	}
	switch {
	case w.quoted && !found:
		return w.problem("is in quotes where a selector belongs; write for example user=%s", quote(w.text))
	case found:
		return w.problem("is no selector; %s", didYouMean(key+"=", "user=", "group=", "client=", "cert=", "listener="))
	}
	return w.problem("is neither selector nor action; %s", didYouMean(w.text, "any", "publish", "subscribe", "all", "user=", "group=", "client=", "cert=", "listener="))
}

// parseTopics reads the filters.
func (r *Rule) parseTopics(words []word) *Error {
	for i := range words {
		w := &words[i]
		if i == MaxFilters {
			return w.problem("is one filter more than the %d that a rule may have; write a second rule", MaxFilters)
		}
		switch {
		case w.is("#") && len(words) > 1:
			return w.problem("beside others could be meant as a comment, which has a line of its own, or as the filter, which is then written \"#\" in quotes")
		case !w.quoted && i > 0 && strings.HasPrefix(w.text, "#"):
			return w.problem("is no topic filter; comments have lines of their own")
		}
		if _, err := compileFilter(w.text); err != nil {
			return w.problem("%v", err)
		}
		r.Filters = append(r.Filters, w.text)
	}
	r.Filters = slices.Clip(r.Filters)
	return nil
}
