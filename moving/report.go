package moving

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
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

// Outcome says what has become of one line.
type Outcome struct {
	File     string  `json:"file"`
	Line     int     `json:"line"`    // 0: of a file without lines, or what mosquitto does where the file says nothing
	Setting  string  `json:"setting"` // the line, without secrets in it
	Verdict  Verdict `json:"verdict"`
	To       string  `json:"to,omitempty"`   // the key of the config, or the file, where it stands now
	Note     string  `json:"note,omitempty"` // what to know of it, and what to do
	Security bool    `json:"security"`       // somebody has to look at it: it says who gets in or may do what, and means less here
}

// Report is what has become of all lines, in the order in which mosquitto reads
// them; those of files of users and rules come after the line that names the
// file.
type Report []Outcome

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
	rows := [][]string{{"LINE", "SETTING", "VERDICT", "NOW", "NOTE"}}
	for _, e := range r {
		line, verdict := "-", string(e.Verdict)
		if e.Line > 0 {
			line = strconv.Itoa(e.Line)
		}
		if e.Security {
			verdict += " !"
		}
		rows = append(rows, []string{line, clean(shorten(e.Setting)), verdict, clean(e.To), clean(e.Note)})
	}
	var width [4]int
	for _, row := range rows {
		for i := range width {
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	file := ""
	for i, row := range rows {
		var b strings.Builder
		if i > 0 && r[i-1].File != file {
			file = r[i-1].File
			b.WriteString(clean(file) + "\n")
		}
		var text strings.Builder
		for j, cell := range row {
			text.WriteString(cell)
			if j < len(width) {
				text.WriteString(strings.Repeat(" ", width[j]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// shorten is a setting as it fits into a column.
func shorten(s string) string {
	if r := []rune(s); len(r) > 48 {
		return string(r[:47]) + "…"
	}
	return s
}
