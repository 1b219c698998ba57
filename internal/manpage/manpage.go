// Package manpage writes manual pages in the language of man(7), as groff and
// mandoc read it. Whoever has something to say hands it in as plain text.
package manpage

import (
	"fmt"
	"regexp"
	"strings"
)

// Page is one manual page. All text is plain: nothing in it means anything to
// the formatter, and words between backquotes are set in bold.
type Page struct {
	Name     string // "edgebroker-clients-list"
	Section  int
	Date     string // YYYY-MM-DD
	Source   string // program and version
	Manual   string // the title in the middle of the head line
	Sections []Section
}

// Section is what stands below one heading.
type Section struct {
	Title  string
	Blocks []Block
}

// Block is a piece of a section.
type Block interface{ write(b *strings.Builder) }

// Text is prose: paragraphs between empty lines, of which the formatter makes
// lines of its own. Lines that begin with a space stand as they are.
type Text string

// Code is lines that stand as they are, indented.
type Code string

// Heading is one below that of the section.
type Heading string

// Item is a term and what is said about it. In the term, words in capitals that
// stand for something are italic, the others bold.
type Item struct {
	Term string
	Text string
}

// String is the page's source.
func (p Page) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" Generated from the program; changes belong there.\n.TH %s %d \"%s\" %s %s\n.nr HY 0\n.nh\n.ad l\n",
		quoted(strings.ToUpper(p.Name)), p.Section, p.Date, quoted(p.Source), quoted(p.Manual))
	for _, s := range p.Sections {
		fmt.Fprintf(&b, ".SH %s\n", quoted(s.Title))
		for i, block := range s.Blocks {
			if _, isText := block.(Text); isText && i > 0 {
				if _, isFirst := s.Blocks[i-1].(Heading); !isFirst {
					b.WriteString(".PP\n")
				}
			}
			block.write(&b)
		}
	}
	return b.String()
}

func (t Text) write(b *strings.Builder) {
	literal, begun, apart := false, false, false
	for line := range strings.SplitSeq(strings.Trim(string(t), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if line == "" {
			apart = true
			continue
		}
		if indented := strings.HasPrefix(line, " "); indented != literal {
			if literal {
				b.WriteString(".EE\n.RE\n")
				apart = true
			} else {
				if apart && begun {
					b.WriteString(".PP\n")
				}
				b.WriteString(".RS 4\n.EX\n")
				apart = false
			}
			literal = indented
		}
		if apart && begun {
			if literal {
				b.WriteString("\n")
			} else {
				b.WriteString(".PP\n")
			}
		}
		apart, begun = false, true
		if literal {
			b.WriteString(start(escape(strings.TrimLeft(line, " "))) + "\n")
		} else {
			b.WriteString(prose(line) + "\n")
		}
	}
	if literal {
		b.WriteString(".EE\n.RE\n")
	}
}

func (c Code) write(b *strings.Builder) {
	b.WriteString(".RS 4\n.EX\n")
	for line := range strings.SplitSeq(strings.Trim(string(c), "\n"), "\n") {
		b.WriteString(start(escape(line)) + "\n")
	}
	b.WriteString(".EE\n.RE\n")
}

func (h Heading) write(b *strings.Builder) { fmt.Fprintf(b, ".SS %s\n", quoted(string(h))) }

func (i Item) write(b *strings.Builder) {
	b.WriteString(".TP\n" + start(term(i.Term)) + "\n")
	paragraphs := strings.Split(strings.Trim(i.Text, "\n"), "\n\n")
	for n, p := range paragraphs {
		if n > 0 {
			b.WriteString(".IP\n")
		}
		Text(p).write(b)
	}
}

// placeholder is a word that stands for something: NAME, WARNING,CRITICAL.
var placeholder = regexp.MustCompile(`\b[A-Z][A-Z]+\b|\bN\b|\bvalue\b`)

func term(s string) string {
	var b strings.Builder
	at := 0
	for _, m := range placeholder.FindAllStringIndex(s, -1) {
		bold(&b, s[at:m[0]])
		b.WriteString(`\fI` + escape(s[m[0]:m[1]]) + `\fR`)
		at = m[1]
	}
	bold(&b, s[at:])
	return b.String()
}

func bold(b *strings.Builder, s string) {
	if strings.TrimSpace(s) == "" {
		b.WriteString(s)
	} else {
		b.WriteString(`\fB` + escape(s) + `\fR`)
	}
}

// prose escapes a line of text and sets what stands between backquotes in bold.
// A backquote without a second one in its line stands for itself.
func prose(line string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(line, "`")
		inside, after, closed := strings.Cut(rest, "`")
		if !found || !closed {
			b.WriteString(escape(line))
			return start(b.String())
		}
		b.WriteString(escape(before))
		bold(&b, inside)
		line = after
	}
}

// start keeps a line from being taken for a request.
func start(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// escape keeps text from meaning anything to the formatter, and its characters
// from becoming typographic ones that cannot be typed in again.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// quoted is s as one argument of a macro.
func quoted(s string) string {
	return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"`
}
