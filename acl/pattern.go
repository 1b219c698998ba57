package acl

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// star stands for a run of any characters in a pattern's pieces. It is no
// UTF-8, so that no text holds it.
const star = "\xff"

// pattern is what a name is compared with: pieces with anything between them.
type pattern struct {
	flat   string   // with star in it, not empty
	pieces []string // flat without its stars
}

// unescape gives text in the notation of rules to plain and, where * stands
// alone, to wild.
func unescape(text string, plain func(rune), wild func() error) error {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return errors.New("is not valid UTF-8")
		case unicode.IsControl(r):
			return fmt.Errorf("holds the control character %U, which no rule may", r)
		case r == '\\':
			if i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\' {
				return errors.New(`has a single backslash; write \\ for the character, \* for an asterisk`)
			}
			r, n = rune(text[i+1]), 2
			plain(r)
		case r == '*':
			if err := wild(); err != nil {
				return err
			}
		default:
			plain(r)
		}
		i += n
	}
	return nil
}

// compilePattern reads a pattern, which is not empty.
func compilePattern(text string) (pattern, error) {
	if len(text) > MaxLineBytes {
		return pattern{}, fmt.Errorf("is longer than %d bytes", MaxLineBytes)
	}
	var flat strings.Builder
	err := unescape(text, func(r rune) { flat.WriteRune(r) }, func() error { flat.WriteString(star); return nil })
	return pattern{flat.String(), strings.Split(flat.String(), star)}, err
}

// literal says that only one name fits p, which is p.flat.
func (p *pattern) literal() bool { return len(p.pieces) == 1 }

// everyName says that p fits whatever is not empty.
func (p *pattern) everyName() bool {
	return strings.Count(p.flat, star) == len(p.flat)
}

// fits reports whether name has the pattern's form. No name fits none.
func (p *pattern) fits(name string) bool {
	if name == "" {
		return false
	}
	last := len(p.pieces) - 1
	if last == 0 {
		return name == p.pieces[0]
	}
	rest, ok := strings.CutPrefix(name, p.pieces[0])
	if !ok {
		return false
	}
	for _, piece := range p.pieces[1:last] {
		i := strings.Index(rest, piece)
		if i < 0 {
			return false
		}
		rest = rest[i+len(piece):]
	}
	return strings.HasSuffix(rest, p.pieces[last])
}

// covers reports whether p fits every name that q fits.
func (p *pattern) covers(q *pattern) bool {
	return p.everyName() || p.fits(q.flat)
}
