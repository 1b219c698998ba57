package main

import (
	"bytes"
	"context"
	"io"
	"time"
)

// The sequences that redraw a terminal in place: the cursor goes home, each
// line clears its rest, and what is left below is cleared.
const (
	cursorHome = "\x1b[H"
	clearAll   = "\x1b[2J" + cursorHome
	clearLine  = "\x1b[K\n"
	clearBelow = "\x1b[J"
)

// redraw is page as it overwrites the screen of height lines (0: any). What
// does not fit is cut: it would scroll the screen and spoil the next page.
func redraw(page []byte, height int, first bool) []byte {
	lines := bytes.Split(bytes.TrimSuffix(page, []byte("\n")), []byte("\n"))
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	start := cursorHome
	if first {
		start = clearAll
	}
	out := append([]byte(start), bytes.Join(lines, []byte(clearLine))...)
	return append(out, clearLine+clearBelow...)
}

// watch shows a page every interval until ctx ends, which is no error: a table
// on a terminal in place. A daemon that goes away ends it with one.
func watch(ctx context.Context, w io.Writer, table bool, interval time.Duration, show func(context.Context, io.Writer) error) error {
	inPlace := table && isTerminal(w)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		var page bytes.Buffer
		if err := show(ctx, &page); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		out := page.Bytes()
		switch {
		case inPlace:
			out = redraw(out, screenHeight(w), first)
		case table && !first:
			out = append([]byte("\n"), out...)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
