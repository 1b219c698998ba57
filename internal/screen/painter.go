package screen

import (
	"strconv"
	"unicode/utf8"
)

// Painter makes the bytes that turn the picture on a terminal into the next one.
// It trusts that nobody else writes there; after somebody has, call Forget.
type Painter struct {
	Color bool // use colours; bold and reverse are used in any case

	last  *Frame
	out   []byte
	x, y  int // where the cursor is; x is -1 where that is not certain
	style Style
}

// bridge is how many cells that are as they were are written again rather than
// passed over: moving the cursor takes about as many bytes.
const bridge = 5

// Forget makes the next Paint draw everything.
func (p *Painter) Forget() { p.last = nil }

// Paint returns what to write for f to be seen. The bytes are valid until the next
// call, and f must not be changed any more.
func (p *Painter) Paint(f *Frame) []byte {
	p.out, p.x = p.out[:0], -1
	old := p.last
	if old == nil || old.w != f.w || old.h != f.h {
		old = NewFrame(f.w, f.h)
		p.out = append(p.out, "\x1b[0m\x1b[2J"...)
		p.style = Plain
	}
	for y := range f.h {
		p.row(old.cells[y*f.w:(y+1)*f.w], f.cells[y*f.w:(y+1)*f.w], y)
	}
	p.look(Plain)
	p.last = f
	return p.out
}

// row brings one row up to date.
func (p *Painter) row(old, now []cell, y int) {
	blank := len(now) // where blanks begin that reach to the end
	for blank > 0 && now[blank-1] == (cell{r: ' '}) {
		blank--
	}
	rest := 0 // cells from blank on that are not blank yet
	for _, c := range old[blank:] {
		if c != (cell{r: ' '}) {
			rest++
		}
	}
	end := len(now)
	if rest > 3 {
		end = blank
	}
	for x := 0; x < end; x++ {
		if old[x] == now[x] {
			continue
		}
		from := x
		if now[from].r == 0 {
			from--
		}
		for same := 0; x < end && same <= bridge; x++ {
			if old[x] == now[x] {
				same++
			} else {
				same = 0
			}
		}
		for x = min(x, end); x > from && old[x-1] == now[x-1] && now[x-1].r != 0; x-- {
		}
		p.move(from, y)
		for _, c := range now[from:x] {
			p.cell(c)
		}
		x--
	}
	if rest > 3 {
		p.move(blank, y)
		p.look(Plain)
		p.out = append(p.out, "\x1b[K"...)
	}
}

// cell writes c where the cursor is. Terminals do not agree on how wide some
// characters are, so after a wide one the cursor is moved to where it should be.
func (p *Painter) cell(c cell) {
	if c.r == 0 {
		return
	}
	p.look(c.style)
	p.out = utf8.AppendRune(p.out, c.r)
	p.x++
	if columns(c.r) == 2 {
		at := p.x + 1
		p.x = -1
		p.move(at, p.y)
	}
}

func (p *Painter) move(x, y int) {
	switch {
	case p.x == x && p.y == y:
		return
	case p.x >= 0 && p.y == y && x > p.x:
		p.out = append(p.out, "\x1b["...)
		p.out = append(strconv.AppendInt(p.out, int64(x-p.x), 10), 'C')
	default:
		p.out = append(p.out, "\x1b["...)
		p.out = append(strconv.AppendInt(p.out, int64(y+1), 10), ';')
		p.out = append(strconv.AppendInt(p.out, int64(x+1), 10), 'H')
	}
	p.x, p.y = x, y
}

// look switches to style.
func (p *Painter) look(style Style) {
	if !p.Color {
		style &= Bold | Reverse
	}
	if style == p.style {
		return
	}
	p.out = append(p.out, "\x1b[0"...)
	for _, s := range []struct {
		style Style
		code  string
	}{{Bold, ";1"}, {Reverse, ";7"}, {Red, ";31"}, {Yellow, ";33"}, {Green, ";32"}} {
		if style&s.style != 0 {
			p.out = append(p.out, s.code...)
		}
	}
	p.out = append(p.out, 'm')
	p.style = style
}
