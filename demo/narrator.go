package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// width is how many characters a line of prose has at most. Commands are not
// broken: they are there to be pasted.
const width = 80

// narrator tells the story. On a terminal there is a line at the bottom that
// says how things stand, and is written anew again and again.
type narrator struct {
	out      io.Writer
	terminal bool
	color    bool
	broken   func() // the output has gone: nobody listens any more

	mu     sync.Mutex
	begin  time.Time
	status string
	number int
}

const (
	clearLine = "\r\x1b[K"
	bold      = "\x1b[1m"
	dim       = "\x1b[2m"
	cyan      = "\x1b[36m"
	plain     = "\x1b[0m"
)

func (n *narrator) paint(how, text string) string {
	if !n.color {
		return text
	}
	return how + text + plain
}

// write writes whole lines above the status.
func (n *narrator) write(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writeLocked(text)
}

func (n *narrator) writeLocked(text string) {
	if n.terminal && n.status != "" {
		text = clearLine + text + n.paint(dim, n.status)
	}
	if _, err := io.WriteString(n.out, text); err != nil {
		n.broken()
	}
}

// chapter begins a part of the story.
func (n *narrator) chapter(title string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.number++
	n.writeLocked(fmt.Sprintf("\n%s\n", n.paint(bold, fmt.Sprintf("%d  %s", n.number, title))))
}

// say tells what happens, and when.
func (n *narrator) say(format string, a ...any) {
	at := time.Since(n.begin).Round(time.Second)
	stamp := fmt.Sprintf("%2d:%02d", at/time.Minute, at%time.Minute/time.Second)
	n.write(n.paint(dim, stamp) + "  " + wrap(fmt.Sprintf(format, a...), 7) + "\n")
}

// text says something outside of the story.
func (n *narrator) text(format string, a ...any) {
	n.write(wrap(fmt.Sprintf(format, a...), 0) + "\n")
}

// try shows commands to be pasted into another terminal.
func (n *narrator) try(commands ...string) {
	var b strings.Builder
	for i, c := range commands {
		lead := "       "
		if i == 0 {
			lead = "  try  "
		}
		b.WriteString(n.paint(dim, lead) + n.paint(cyan, c) + "\n")
	}
	n.write(b.String())
}

// still removes what stand shows, and keeps it away.
func (n *narrator) still() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.terminal && n.status != "" {
		_, _ = io.WriteString(n.out, clearLine) // what follows says whether somebody listens
	}
	n.terminal = false
}

// stand shows how things stand.
func (n *narrator) stand(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.terminal || text == n.status {
		return
	}
	if n.status = text; len(text) >= width {
		n.status = text[:width-1] // it must not wrap, or it could not be removed
	}
	if _, err := io.WriteString(n.out, clearLine+n.paint(dim, n.status)); err != nil {
		n.broken()
	}
}

// wrap breaks prose into lines, all but the first of which are indented.
func wrap(text string, indent int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+size > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += size
	}
	return b.String()
}

// quote is s as a shell takes it for one word.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,=", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// few words a short time.
func few(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
