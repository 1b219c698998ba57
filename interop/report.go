package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// report is the finished table.
type report struct {
	rows  []row
	cells [][]outcome // by row, then by case
	took  time.Duration
}

// count is the number of cells with that verdict.
func (r *report) count(v verdict) (n int) {
	for _, line := range r.cells {
		for _, c := range line {
			if c.verdict == v {
				n++
			}
		}
	}
	return n
}

// green reports whether the matrix shows something and no cell failed.
func (r *report) green() bool { return r.count(passed) > 0 && r.count(failed) == 0 }

func (r *report) summary() string {
	return fmt.Sprintf("%d passed, %d failed, %d not applicable", r.count(passed), r.count(failed), r.count(cannot))
}

// text is the table for a terminal, with what failed and why below it.
func (r *report) text() string {
	var b strings.Builder
	b.WriteString(r.table(func(s string, width int) string { return s + strings.Repeat(" ", width-utf8.RuneCountInString(s)) }))
	for i, line := range r.cells {
		for n, c := range line {
			if c.verdict == failed {
				fmt.Fprintf(&b, "FAIL: %s: %s: %s\n", r.rows[i], cases()[n].name, c.detail)
			}
		}
	}
	fmt.Fprintf(&b, "%s, %.0f s\n", r.summary(), r.took.Seconds())
	return b.String()
}

// markdown is docs/INTEROP.md. It holds nothing that changes from run to run
// while the outcome stays the same.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Interoperability\n\n" +
		"What client libraries that people use get from edgebroker: each in every protocol version and on every transport\n" +
		"that it has, each cell with clients of its own on one running broker. Written by `scripts/interop.sh --write`;\n" +
		"do not edit. `n.a.`: the library, or its protocol version, does not have what the column is about.\n\n")
	b.WriteString(r.table(func(s string, _ int) string { return s }))
	fmt.Fprintf(&b, "\n%s.\n\n", r.summary())
	var why []string
	for i, line := range r.cells {
		for n, c := range line {
			switch {
			case c.verdict == failed:
				why = append(why, fmt.Sprintf("- FAIL: %s: %s: %s", r.rows[i], cases()[n].name, c.detail))
			case c.verdict == cannot && !(cases()[n].only5 && r.rows[i].version != v5):
				why = append(why, fmt.Sprintf("- n.a.: %s: %s: %s", r.rows[i], cases()[n].name, c.detail))
			}
		}
	}
	if len(why) > 0 {
		b.WriteString(strings.Join(why, "\n") + "\n\n")
	}
	b.WriteString("## What clients cannot show\n\n")
	for i, row := range r.rows {
		if i > 0 && row.library == r.rows[i-1].library {
			continue
		}
		for _, limit := range row.library.limits() {
			fmt.Fprintf(&b, "- %s %s.\n", row.library.Name, limit)
		}
	}
	b.WriteString("\n## The columns\n\n")
	for _, c := range cases() {
		only := ""
		if c.only5 {
			only = " (MQTT 5)"
		}
		fmt.Fprintf(&b, "- **%s**%s: %s.\n", c.name, only, c.what)
	}
	return b.String()
}

// table is rows and cells as a Markdown table, each cell through pad.
func (r *report) table(pad func(s string, width int) string) string {
	lines := [][]string{{"client", "MQTT", "transport"}, {"---", "---", "---"}}
	for _, c := range cases() {
		lines[0] = append(lines[0], c.name)
		lines[1] = append(lines[1], "---")
	}
	for i, row := range r.rows {
		line := []string{row.library.Name, row.version, row.transport}
		for _, c := range r.cells[i] {
			line = append(line, string(c.verdict))
		}
		lines = append(lines, line)
	}
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, s := range line {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, s := range line {
			b.WriteString("| " + pad(s, width[i]) + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}
