package screen

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// glass is a plain model of a terminal that knows what Painter sends, and nothing
// else.
type glass struct {
	t     *rapid.T
	w, h  int
	cells []cell
	x, y  int
	style Style
}

func (g *glass) write(b []byte) {
	for len(b) > 0 {
		if b[0] != 0x1b {
			r, n := utf8.DecodeRune(b)
			b = b[n:]
			wide := columns(r)
			if wide == 0 || g.x+wide > g.w || g.y >= g.h {
				g.t.Fatalf("%q is written at %d,%d of %dx%d", r, g.x, g.y, g.w, g.h)
			}
			g.set(g.x, cell{r, g.style})
			if wide == 2 {
				g.set(g.x+1, cell{0, g.style})
			}
			g.x += wide
			continue
		}
		end := strings.IndexFunc(string(b[2:]), func(r rune) bool { return r >= '@' }) + 2
		args, final := string(b[2:end]), b[end]
		b = b[end+1:]
		switch final {
		case 'H':
			row, col, _ := strings.Cut(args, ";")
			g.y, g.x = number(g.t, row)-1, number(g.t, col)-1
		case 'C':
			g.x += number(g.t, args)
		case 'J':
			for i := range g.cells {
				g.cells[i] = cell{r: ' '}
			}
		case 'K':
			for x := g.x; x < g.w; x++ {
				g.set(x, cell{r: ' '})
			}
		case 'm':
			g.style = Plain
			for _, code := range strings.Split(args, ";") {
				g.style |= map[string]Style{"0": 0, "1": Bold, "7": Reverse, "31": Red, "33": Yellow, "32": Green}[code]
			}
		default:
			g.t.Fatalf("sequence %q%c", args, final)
		}
	}
}

// set overwrites a cell; half a wide character that is left becomes blank.
func (g *glass) set(x int, c cell) {
	row := g.cells[g.y*g.w : (g.y+1)*g.w]
	if row[x].r == 0 && x > 0 && c.r != 0 {
		row[x-1].r = ' '
	}
	if x+1 < g.w && row[x+1].r == 0 {
		row[x+1].r = ' '
	}
	row[x] = c
}

func number(t *rapid.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A terminal that has been sent every change shows the latest picture.
func TestPainterShowsTheFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 30).Draw(t, "w"), rapid.IntRange(1, 5).Draw(t, "h")
		g := &glass{t: t, w: w, h: h, cells: NewFrame(w, h).cells}
		p := Painter{Color: true}
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab  日本█é\x1b\u0301")), 0, 20, -1)
		f := NewFrame(w, h)
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			next := NewFrame(w, h)
			if rapid.Bool().Draw(t, "keep") {
				copy(next.cells, f.cells)
			}
			f = next
			for range rapid.IntRange(0, 5).Draw(t, "texts") {
				f.Put(rapid.IntRange(-3, w).Draw(t, "x"), rapid.IntRange(-1, h).Draw(t, "y"), Style(rapid.SampledFrom([]int{0, 0, 1, 2, 4, 8, 16, 3}).Draw(t, "style")), text.Draw(t, "text"))
			}
			if rapid.IntRange(0, 9).Draw(t, "forget") == 0 {
				p.Forget()
			}
			g.write(p.Paint(f))
			if got := (&Frame{w, h, g.cells}); got.String() != f.String() {
				t.Fatalf("the terminal shows\n%s\nwant\n%s", got, f)
			}
			for i := range f.cells {
				if f.cells[i] != g.cells[i] {
					t.Fatalf("cell %d is %+v, want %+v", i, g.cells[i], f.cells[i])
				}
			}
			if again := p.Paint(f); len(again) != 0 {
				t.Fatalf("the same picture takes %q", again)
			}
		}
	})
}

func TestPainterKeepsToLittle(t *testing.T) {
	a, b := NewFrame(80, 24), NewFrame(80, 24)
	for y := range 24 {
		a.Put(0, y, Plain, strings.Repeat("x", 80))
		b.Put(0, y, Plain, strings.Repeat("x", 80))
	}
	b.Put(70, 11, Plain, "y")
	var p Painter
	p.Paint(a)
	if out := string(p.Paint(b)); out != "\x1b[12;71Hy" {
		t.Errorf("one character takes %q", out)
	}
}

func TestPainterWithoutColour(t *testing.T) {
	f := NewFrame(10, 1)
	f.Put(0, 0, Red|Bold, "a")
	f.Put(1, 0, Green, "b")
	var p Painter
	if out := string(p.Paint(f)); strings.Contains(out, ";3") || !strings.Contains(out, "\x1b[0;1ma\x1b[0mb") {
		t.Errorf("%q", out)
	}
}

func TestPutLetsNothingSteerTheTerminal(t *testing.T) {
	f := NewFrame(20, 1)
	f.Put(0, 0, Plain, "a\x1b[2J\n\u202e\u0301\x9bz")
	if got := f.String(); got != "a?[2J????z\n" {
		t.Errorf("%q", got)
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		text  string
		limit int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab~"}, {"abc", 1, "~"}, {"abc", 0, ""}, {"日本", 4, "日本"}, {"日本", 3, "日~"}, {"日本", 2, "~"}, {"", 0, ""},
	} {
		if got := Clip(test.text, test.limit, "~"); got != test.want {
			t.Errorf("Clip(%q, %d) is %q, want %q", test.text, test.limit, got, test.want)
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a", "a"}, {"é", "é"}, {"日", "日"}, {"\t", "tab"}, {"\r", "enter"}, {"\n", "enter"}, {"\x7f", "backspace"}, {"\x03", "ctrl+c"},
		{"\x1b", "esc"}, {"\x1b[A", "up"}, {"\x1bOB", "down"}, {"\x1b[5~", "pgup"}, {"\x1b[6~", "pgdown"}, {"\x1b[1;5C", "right"}, {"\x1b[Z", "shift+tab"},
		{"\x1b[H", "home"}, {"\x1bOF", "end"}, {"\x1b[4~", "end"}, {"\x1b[200~", "unknown"}, {"\x00", "unknown"}, {"\xff", "unknown"}, {"\xe6\x97", "unknown unknown"},
		{"\x1bk", "esc k"}, {"q\x1b[Bq", "q down q"}, {"\x1b[1", "unknown"}, {"\x1b[\x03", "unknown ctrl+c"}, {"\x1b\x1b[A", "esc up"}, {"\x1b[[A", "unknown"},
	} {
		var got []string
		for in := []byte(test.in); len(in) > 0; {
			key, n := parseKey(in, true)
			got, in = append(got, string(key)), in[n:]
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%q is %q, want %q", test.in, text, test.want)
		}
	}
}

// However the bytes arrive, they are the same keys, and all of them are used.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte("\x1b[5~a\x1bOAé\x1b"), 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		keys := func(parts ...[]byte) (out []Key) {
			var have []byte
			for i, part := range parts {
				have = append(have, part...)
				for len(have) > 0 {
					k, n := parseKey(have, i == len(parts)-1)
					if n < 0 || n > len(have) || n == 0 && i == len(parts)-1 {
						t.Fatalf("%q uses %d", have, n)
					}
					if n == 0 {
						break
					}
					out, have = append(out, k), have[n:]
				}
			}
			return out
		}
		cut = min(max(cut, 0), len(in))
		if whole, parts := fmt.Sprint(keys(in)), fmt.Sprint(keys(in[:cut], in[cut:])); whole != parts {
			t.Fatalf("%q cut at %d is %s, want %s", in, cut, parts, whole)
		}
	})
}
