package manpage_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/internal/manpage"
)

func page(blocks ...manpage.Block) string {
	return manpage.Page{Name: "a-b", Section: 1, Date: "2026-11-26", Source: "a 1.0", Manual: "m",
		Sections: []manpage.Section{{Title: "NAME", Blocks: blocks}}}.String()
}

func TestPage(t *testing.T) {
	got := page(
		manpage.Text("a-b - do `x --y` it\n.not a request\n\nnext\n  as it\n  stands\n\nthen 'quoted'"),
		manpage.Code("'a'  ~^\\n"),
		manpage.Heading("sub"),
		manpage.Item{Term: "--file NAME, -f NAME", Text: "what\n\nmore"},
	)
	_, got, _ = strings.Cut(got, ".SH")
	want := ` "NAME"
a\-b \- do \fBx \-\-y\fR it
\&.not a request
.PP
next
.RS 4
.EX
as it
stands
.EE
.RE
.PP
then \(aqquoted\(aq
.RS 4
.EX
\(aqa\(aq  \(ti\(ha\en
.EE
.RE
.SS "sub"
.TP
\fB\-\-file \fR\fINAME\fR\fB, \-f \fR\fINAME\fR
what
.IP
more
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever the text is, it does not become a request or an escape sequence, and
// what is opened is closed.
func TestTextIsInert(t *testing.T) {
	request := regexp.MustCompile(`^\.(\\" |TH |SH |SS |PP$|TP$|IP$|RS 4$|RE$|EX$|EE$|nh$|ad l$|nr HY 0$)`)
	escapes := regexp.MustCompile(`\\(e|-|&|f[BIR]|\((ga|aq|ha|ti|dq))`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching("([-a-zA-Z .'`\\\\~^\"\n]|\\.SH|\\\\fB){0,60}")
		got := page(manpage.Text(text.Draw(t, "text")), manpage.Code(text.Draw(t, "code")), manpage.Heading("h"),
			manpage.Item{Term: strings.ReplaceAll(text.Draw(t, "term"), "\n", " "), Text: text.Draw(t, "item")})
		for line := range strings.Lines(got) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, ".") && !request.MatchString(line) || strings.HasPrefix(line, "'") {
				t.Fatalf("request: %q in\n%s", line, got)
			}
			if rest := escapes.ReplaceAllString(line, ""); strings.Contains(rest, `\`) && !strings.HasPrefix(line, `.\"`) {
				t.Fatalf("escape sequence: %q", line)
			}
		}
		for _, pair := range [][2]string{{"\n.RS 4\n", "\n.RE\n"}, {"\n.EX\n", "\n.EE\n"}} {
			if a, b := strings.Count(got, pair[0]), strings.Count(got, pair[1]); a != b {
				t.Fatalf("%d %q, %d %q in\n%s", a, pair[0], b, pair[1], got)
			}
		}
	})
}
