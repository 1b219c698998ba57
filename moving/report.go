package moving

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Verdict is what has become of a setting.
type Verdict string

// The verdicts.
const (
	Converted  Verdict = "converted"  // it means the same
	Changed    Verdict = "changed"    // it means something else, which Note says
	NotNeeded  Verdict = "not needed" // Note says why
	Impossible Verdict = "impossible" // Note says why, and what to do instead
)

// Entry says what has become of one line.
type Entry struct {
	File     string  `json:"file"`
	Line     int     `json:"line"`    // 0: of no line, but of what mosquitto does where the file says nothing
	Setting  string  `json:"setting"` // the line, without secrets in it
	Verdict  Verdict `json:"verdict"`
	To       string  `json:"to,omitempty"`   // the key of the config, or the file, where it stands now
	Note     string  `json:"note,omitempty"` // what to know of it, and what to do
	Security bool    `json:"security"`       // somebody has to look at it: it says who gets in or may do what, and means less here
}

// Report is what has become of all lines, in the order in which mosquitto reads
// them; those of files of users and rules come after the line that names the
// file.
type Report []Entry

// Count is the number of entries with the verdict v.
func (r Report) Count(v Verdict) (n int) {
	for _, e := range r {
		if e.Verdict == v {
			n++
		}
	}
	return n
}

// Security is the number of entries that somebody has to look at.
func (r Report) Security() (n int) {
	for _, e := range r {
		if e.Security {
			n++
		}
	}
	return n
}

// Write writes the report as a table, with clean applied to all that stands in
// the files.
func (r Report) Write(w io.Writer, clean func(string) string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "LINE\tSETTING\tVERDICT\tNOW\tNOTE")
	file := ""
	for _, e := range r {
		if e.File != file {
			file = e.File
			fmt.Fprintf(tw, "%s\n", clean(file))
		}
		line, verdict := "-", string(e.Verdict)
		if e.Line > 0 {
			line = fmt.Sprint(e.Line)
		}
		if e.Security {
			verdict += " !"
		}
		row := strings.Join([]string{line, clean(shorten(e.Setting)), verdict, clean(e.To), clean(e.Note)}, "\t")
		fmt.Fprintln(tw, strings.TrimRight(row, "\t"))
	}
	return tw.Flush()
}

// shorten is a setting as it fits into a column.
func shorten(s string) string {
	if r := []rune(s); len(r) > 48 {
		return string(r[:47]) + "…"
	}
	return s
}
