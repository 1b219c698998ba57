package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns s with everything escaped that could steer a terminal or
// fake a line: control and format characters, line ends, invalid UTF-8. Text
// without such is returned as it is, backslashes included.
func printable(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// writeJSON writes v as one JSON document and a line end, indented for people
// or in one line for programs. Characters that a terminal could act on are
// written as \u escapes, which mean the same to a JSON parser.
func writeJSON(w io.Writer, v any, indented bool) error {
	raw, err := encodeJSON(v, "", indented)
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

// encodeJSON is v as writeJSON writes it, without the line end. The lines behind
// the first begin with prefix.
func encodeJSON(v any, prefix string, indented bool) (raw []byte, err error) {
	if indented {
		raw, err = json.MarshalIndent(v, prefix, "  ")
	} else {
		raw, err = json.Marshal(v)
	}
	if err != nil {
		return nil, fmt.Errorf("encode json: %w", err)
	}
	return terminalSafe(raw), nil
}

// writeList writes a list in format json, as one document, or jsonl, one for
// each line.
func writeList[T any](w io.Writer, list []T, format string) error {
	out := listWriter{w: w, format: format}
	for i := range list {
		if err := out.add(&list[i]); err != nil {
			return err
		}
	}
	return out.end()
}

// listWriter writes the items of a list as they come: in format json as one
// document, an array, in jsonl one for each line.
type listWriter struct {
	w      io.Writer
	format string
	n      int
}

func (l *listWriter) add(item any) error {
	if l.format != "json" {
		return writeJSON(l.w, item, false)
	}
	raw, err := encodeJSON(item, "  ", true)
	if err != nil {
		return err
	}
	before := ",\n  "
	if l.n++; l.n == 1 {
		before = "[\n  "
	}
	_, err = l.w.Write(append([]byte(before), raw...))
	return err
}

// end must be called behind the last item.
func (l *listWriter) end() error {
	text := "\n]\n"
	switch {
	case l.format != "json":
		return nil
	case l.n == 0:
		text = "[]\n" // not null
	}
	_, err := io.WriteString(l.w, text)
	return err
}

// terminalSafe escapes the unprintable characters that encoding/json leaves in
// strings (DEL, C1 controls, bidirectional overrides). Outside strings JSON
// has none, so the document keeps its meaning.
func terminalSafe(doc []byte) []byte {
	safe := func(r rune) bool { return r < 0x7f || unicode.IsPrint(r) }
	if !strings.ContainsFunc(string(doc), func(r rune) bool { return !safe(r) }) {
		return doc
	}
	out := make([]byte, 0, len(doc)+16)
	for _, r := range string(doc) {
		switch {
		case safe(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
