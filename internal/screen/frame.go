// Package screen draws text on a terminal in place: it knows rows of cells, keys
// and the state of a terminal, and nothing of what is shown.
//
// A Frame is one picture. A Painter turns it into the bytes that change the
// previous picture into this one, so that a slow line carries only what is new.
// A Terminal is taken over and given back as it was.
package screen

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Style is how a cell looks; styles add up by |.
type Style uint8

// The styles. The colours are left out where colour is not wanted, so they must
// not be all that tells one thing from another.
const (
	Bold Style = 1 << iota
	Reverse
	Red
	Yellow
	Green

	Plain Style = 0
)

// cell is one place of the screen. A character of double width has one to its
// right whose r is 0.
type cell struct {
	r     rune
	style Style
}

// Frame is one picture of a screen. It is not safe for concurrent use.
type Frame struct {
	w, h  int
	cells []cell
}

// NewFrame returns an empty picture of w columns and h rows, at least one each.
func NewFrame(w, h int) *Frame {
	f := &Frame{w: max(w, 1), h: max(h, 1)}
	f.cells = make([]cell, f.w*f.h)
	for i := range f.cells {
		f.cells[i].r = ' '
	}
	return f
}

// Put writes text from column x of row y on and returns the column after it. What
// lies outside the frame is cut. A character that is not one or two columns wide,
// or that steers a terminal, becomes a question mark.
func (f *Frame) Put(x, y int, style Style, text string) int {
	for _, r := range text {
		n := columns(r)
		if n == 0 {
			r, n = '?', 1
		}
		if y >= 0 && y < f.h && x >= 0 && x+n <= f.w {
			row := f.cells[y*f.w : (y+1)*f.w]
			f.split(row, x)
			if n == 2 {
				f.split(row, x+1)
				row[x+1] = cell{0, style}
			}
			row[x] = cell{r, style}
		}
		x += n
	}
	return x
}

// split blanks the other half of the wide character that column x is part of.
func (f *Frame) split(row []cell, x int) {
	if row[x].r == 0 {
		row[x-1].r = ' '
	}
	if x+1 < len(row) && row[x+1].r == 0 {
		row[x+1].r = ' '
	}
}

// Mark gives every cell of row y the style s as well.
func (f *Frame) Mark(y int, s Style) {
	if y < 0 || y >= f.h {
		return
	}
	for i := range f.w {
		f.cells[y*f.w+i].style |= s
	}
}

// String is the picture as lines of plain text without blanks at their ends.
// Empty lines at the end are left out.
func (f *Frame) String() string {
	var b strings.Builder
	for y := range f.h {
		var line strings.Builder
		for _, c := range f.cells[y*f.w : (y+1)*f.w] {
			if c.r != 0 {
				line.WriteRune(c.r)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// Width is how many columns text takes.
func Width(text string) (n int) {
	for _, r := range text {
		n += max(columns(r), 1)
	}
	return n
}

// Clip returns text in at most limit columns. If something is cut, mark, which is
// one column wide, says so.
func Clip(text string, limit int, mark string) string {
	if Width(text) <= limit {
		return text
	}
	if limit < 1 {
		return ""
	}
	used := 1
	for i, r := range text {
		if used += max(columns(r), 1); used > limit {
			return text[:i] + mark
		}
	}
	return text
}

// Printable reports whether a terminal shows r as one or two columns.
func Printable(r rune) bool { return columns(r) > 0 }

// columns is how wide a terminal shows r: 1 or 2, or 0 if it may not show it, join
// it to what is before it, or act on it.
func columns(r rune) int {
	switch {
	case r >= ' ' && r < 0x7f:
		return 1
	case r == utf8.RuneError, !unicode.IsPrint(r), unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc), r >= 0x1160 && r <= 0x11ff:
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
