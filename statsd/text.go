package statsd

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how many characters of an untrusted string a table shows.
const maxText = 40

// SafeText makes an untrusted string (a client id, a topic) fit for a terminal:
// characters that are invisible or that steer the terminal are shown as escapes,
// and a string of more than limit characters is cut and ends in "…". A limit of
// 0 cuts nothing.
func SafeText(s string, limit int) string {
	var b strings.Builder
	width := 0
	for i, r := range s {
		piece := string(r)
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case r == '\\':
			piece = `\\`
		case r < 0x80 && unicode.IsControl(r):
			piece = fmt.Sprintf(`\x%02x`, r)
		case !unicode.IsPrint(r):
			piece = fmt.Sprintf(`\u{%x}`, r)
		}
		n := utf8.RuneCountInString(piece)
		if limit > 0 && width+n > limit-1 && !(width+n == limit && i+size == len(s)) {
			b.WriteRune('…')
			return b.String()
		}
		b.WriteString(piece)
		width += n
	}
	return b.String()
}
