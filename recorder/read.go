package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// Query says which events are wanted.
type Query struct {
	Since, Until time.Time                // by their own time, both included; zero: from the first, to the last
	Keep         func(*events.Event) bool // nil: all
}

// Read calls fn for the recorded events that q asks for, in the order in which
// they were recorded, until fn or ctx ends it, whose error it returns. damaged is
// how many lines could not be read, such as the one that a power cut has cut.
func (r *Recorder) Read(ctx context.Context, q Query, fn func(events.Event) error) (damaged int, err error) {
	r.mu.Lock()
	r.flushLocked()
	list := r.lines.parts()
	r.mu.Unlock()
	return q.read(ctx, list, fn)
}

// ReadDirectory is Recorder.Read for a folder that no Recorder has open, or
// another process has.
func ReadDirectory(ctx context.Context, dir string, q Query, fn func(events.Event) error) (damaged int, err error) {
	list, err := listFiles(dir)
	if err != nil {
		return 0, err
	}
	return q.read(ctx, partsOf(list), fn)
}

func (q Query) read(ctx context.Context, list []part, fn func(events.Event) error) (damaged int, err error) {
	for _, p := range list {
		in, err := p.open()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has become too old in the meantime
		}
		if err != nil {
			return damaged, err
		}
		n, err := q.readPart(ctx, in, fn)
		damaged += n
		_ = in.Close() // it was only read
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}

func (q Query) readPart(ctx context.Context, in io.Reader, fn func(events.Event) error) (damaged int, err error) {
	lines := bufio.NewReaderSize(in, 64<<10)
	since, until := stamp(q.Since), stamp(q.Until)
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return damaged, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return damaged, err
		}
		if ctx.Err() != nil {
			return damaged, ctx.Err()
		}
		if len(line) == 0 {
			continue
		}
		at, ok := timestamp(line)
		if ok && (since != "" && at < since || until != "" && at > until) {
			continue // without looking at the rest
		}
		var e events.Event
		if !ok || json.Unmarshal(line, &e) != nil {
			damaged++
			continue
		}
		if q.Keep != nil && !q.Keep(&e) {
			continue
		}
		if err := fn(e); err != nil {
			return damaged, err
		}
	}
}

// readLine reads a line without its end. One that is longer than any of ours is
// returned cut, which makes it a damaged one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		b, err := in.ReadSlice('\n')
		if len(whole) <= maxLine {
			whole = append(whole, b...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(whole, []byte("\n")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return whole, err
		}
	}
}

// stamp is t as events write it: such texts sort as their times do.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(events.TimeLayout)
}

// timestamp finds an event's time in its line. Quotes within strings are escaped,
// so the key cannot be part of one.
func timestamp(line []byte) (string, bool) {
	_, rest, ok := bytes.Cut(line, []byte(`,"timestamp":"`))
	if !ok || len(rest) < len(events.TimeLayout) {
		return "", false
	}
	return string(rest[:len(events.TimeLayout)]), true
}
