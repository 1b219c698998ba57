package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		`plain {"a":"b\n"} äöü`:  `plain {"a":"b\n"} äöü`,
		"two\nlines\tand a tab":  `two\nlines\tand a tab`,
		"\x1b]0;title\x07":       `\x1b]0;title\a`,
		"c1 \u009b31m":           `c1 \u009b31m`,
		"bidi \u202eabc":         `bidi \u202eabc`,
		"\xff\xfe":               `\xff\xfe`,
		"replacement \ufffd too": "replacement \ufffd too",
		"nul\x00":                `nul\x00`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		got := printable(in)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("printable(%q) = %q", in, got)
		}
	})
}

func TestWriteJSONIsTerminalSafeAndFaithful(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]string{"text": rapid.String().Draw(t, "text")}
		var out bytes.Buffer
		if err := writeJSON(&out, in, rapid.Bool().Draw(t, "indented")); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%q holds %q", out.String(), r)
			}
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["text"] != in["text"] {
			t.Fatalf("%q came back as %q, error %v", in["text"], back["text"], err)
		}
	})
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 400 * time.Millisecond: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		59*time.Minute + 59*time.Second + 600*time.Millisecond: "1h00m", 25 * time.Hour: "1d1h", 100 * 24 * time.Hour: "100d0h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestRedrawStaysOnTheScreen(t *testing.T) {
	page := []byte("a\nb\nc\nd\n")
	for height, want := range map[int]string{
		0:  clearAll + "a" + clearLine + "b" + clearLine + "c" + clearLine + "d" + clearLine + clearBelow,
		3:  clearAll + "a" + clearLine + "b" + clearLine + clearBelow,
		50: clearAll + "a" + clearLine + "b" + clearLine + "c" + clearLine + "d" + clearLine + clearBelow,
	} {
		if got := string(redraw(page, height, true)); got != want {
			t.Errorf("height %d: %q, want %q", height, got, want)
		}
	}
	if got := string(redraw([]byte("a\n"), 10, false)); got != cursorHome+"a"+clearLine+clearBelow {
		t.Errorf("later page: %q", got)
	}
}
