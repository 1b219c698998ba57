package screen

import (
	"strings"
	"unicode/utf8"
)

// Key is a key that was pressed: a character, or one of the names below.
type Key string

// The keys that are no characters.
const (
	Up       Key = "up"
	Down     Key = "down"
	Left     Key = "left"
	Right    Key = "right"
	PageUp   Key = "pgup"
	PageDown Key = "pgdown"
	Home     Key = "home"
	End      Key = "end"
	Tab      Key = "tab"
	BackTab  Key = "shift+tab"
	Enter    Key = "enter"
	Escape   Key = "esc"
	Erase    Key = "backspace"
	CtrlC    Key = "ctrl+c"
	CtrlL    Key = "ctrl+l"
	CtrlU    Key = "ctrl+u"
	CtrlZ    Key = "ctrl+z"
	Unknown  Key = "unknown" // a sequence that means nothing here
)

// parseKey takes the first key off b. n is how many bytes that were, 0 if more
// must come before it is known; if last is true nothing more comes, and n is 0
// only for an empty b.
func parseKey(b []byte, last bool) (k Key, n int) {
	if len(b) == 0 {
		return Unknown, 0
	}
	switch b[0] {
	case 0x1b:
		return parseEscape(b, last)
	case '\t':
		return Tab, 1
	case '\r', '\n':
		return Enter, 1
	case 0x08, 0x7f:
		return Erase, 1
	case 0x03:
		return CtrlC, 1
	case 0x0c:
		return CtrlL, 1
	case 0x15:
		return CtrlU, 1
	case 0x1a:
		return CtrlZ, 1
	}
	if b[0] < ' ' {
		return Unknown, 1
	}
	if !utf8.FullRune(b) && !last {
		return Unknown, 0
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError || !Printable(r) {
		return Unknown, n
	}
	return Key(b[:n]), n
}

// longestSequence bounds what is taken for one key.
const longestSequence = 32

func parseEscape(b []byte, last bool) (Key, int) {
	if len(b) == 1 {
		if last {
			return Escape, 1
		}
		return Unknown, 0
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b) && i < longestSequence; i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e && !(i == 2 && b[i] == '[') {
				return sequence(string(b[2 : i+1])), i + 1
			}
			if b[i] < ' ' {
				return Unknown, i
			}
		}
	case 'O':
		if len(b) > 2 {
			return sequence(string(b[2:3])), 3
		}
	default:
		return Escape, 1
	}
	if last || len(b) >= longestSequence {
		return Unknown, min(len(b), longestSequence)
	}
	return Unknown, 0
}

// sequence names what follows the introducer of a sequence.
func sequence(s string) Key {
	if s[0] == '[' { // function keys of the Linux console
		return Unknown
	}
	final := s[len(s)-1:]
	if final == "~" {
		switch number, _, _ := strings.Cut(s[:len(s)-1], ";"); number {
		case "1", "7":
			return Home
		case "4", "8":
			return End
		case "5":
			return PageUp
		case "6":
			return PageDown
		}
		return Unknown
	}
	switch final {
	case "A":
		return Up
	case "B":
		return Down
	case "C":
		return Right
	case "D":
		return Left
	case "H":
		return Home
	case "F":
		return End
	case "Z":
		return BackTab
	}
	return Unknown
}
