package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestReadLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringMatching(`[^\n\r]{0,40}`)
		lines := rapid.SliceOf(line).Draw(t, "lines")
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		text := strings.Join(lines, end)
		last := len(lines) > 0 && (lines[len(lines)-1] == "" || rapid.Bool().Draw(t, "ended"))
		if last {
			text += end
		}
		in := bufio.NewReaderSize(strings.NewReader(text), 16)
		for i, want := range lines {
			got, err := readLine(in, 40*4)
			if err != nil || string(got) != want {
				t.Fatalf("line %d of %q: %q, %v", i, text, got, err)
			}
		}
		if got, err := readLine(in, 40); !errors.Is(err, io.EOF) {
			t.Fatalf("after the end of %q: %q, %v", text, got, err)
		}
	})
	if got, err := readLine(bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 100)), 16), 50); err == nil {
		t.Errorf("a line that is too long: %q", got)
	}
}
