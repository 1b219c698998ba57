package statsd

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// grid is a table with a header. Columns are as wide as their widest cell.
type grid struct {
	header []string
	rows   [][]string
	left   int // that many columns beyond the first are aligned left, the rest right
	indent int // 1 sets rows off from the header by two spaces
}

// gap separates columns.
const gap = "  "

func (g grid) write(b *strings.Builder) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	shift := strings.Repeat(gap, g.indent)
	lines := [][]string{g.header}
	for _, r := range g.rows {
		line := append([]string{shift + r[0]}, r[1:]...)
		lines = append(lines, line)
	}
	width := make([]int, len(g.header))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	if g.indent > 0 {
		width[0] = max(width[0], labelWidth+2)
	}
	for _, line := range lines {
		var out strings.Builder
		for i, cell := range line {
			if i > 0 {
				out.WriteString(gap)
			}
			if i <= g.left {
				out.WriteString(pad(cell, width[i]))
			} else {
				out.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)) + cell)
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
}

// print writes a table of its own.
func (g grid) print(w io.Writer) error {
	var b strings.Builder
	g.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteClients writes one line per client for people to read: plain text, in
// the given order. Durations are as of now.
func WriteClients(w io.Writer, clients []Client) error {
	g := grid{
		header: []string{"CLIENT", "REMOTE", "PROTOCOL", "CONNECTED", "IN", "OUT", "QUEUED", "WAITED", "STALLS", "DROPPED"},
		left:   3,
	}
	now := time.Now()
	for _, c := range clients {
		connected := "no"
		switch {
		case c.Connected && c.ConnectedAt.IsZero(): // a part of the broker, as an uplink is
			connected = "inside"
		case c.Connected:
			connected = span(now.Sub(c.ConnectedAt))
		}
		g.rows = append(g.rows, []string{
			orDash(SafeText(c.ID, maxText)), orDash(SafeText(c.Remote, maxText)), orDash(SafeText(c.Protocol, maxText)), connected,
			count(c.Received.Messages), count(c.Sent.Messages), count(c.Queued.Messages), waited(c), count(c.Stalls), count(c.Dropped),
		})
	}
	return g.print(w)
}

// waited is how long something has been waiting for a client.
func waited(c Client) string {
	switch {
	case c.WaitedAtLeast:
		return ">=" + span(seconds(c.Waited))
	case c.Waited < 1:
		return "-"
	}
	return span(seconds(c.Waited))
}

// orDash keeps an empty cell from looking like a missing one.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
