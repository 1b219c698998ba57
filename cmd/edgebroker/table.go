package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table is text for people, in columns as wide as what stands in them. It is
// collected, and goes out in one piece.
type table struct {
	text strings.Builder
	rows *tabwriter.Writer // into text
}

// newTable begins with a line of titles, tabs between them, unless that is empty.
func newTable(titles string) *table {
	t := &table{}
	t.rows = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	if titles != "" {
		fmt.Fprintln(t.rows, titles)
	}
	return t
}

// row adds a line of cells with tabs between them.
func (t *table) row(format string, args ...any) { fmt.Fprintf(t.rows, format+"\n", args...) }

// fact adds a line that says one thing of what the whole table is about.
func (t *table) fact(name, format string, args ...any) {
	t.row("%s\t%s", name, printable(fmt.Sprintf(format, args...)))
}

// line adds a line outside the columns, which begin anew below it.
func (t *table) line(format string, args ...any) {
	_ = t.rows.Flush() // to a string
	fmt.Fprintf(&t.text, format+"\n", args...)
}

func (t *table) writeTo(w io.Writer) error {
	_ = t.rows.Flush() // to a string
	_, err := io.WriteString(w, t.text.String())
	return err
}
