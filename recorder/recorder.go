// Package recorder is the flight recorder: it keeps the latest events, as lines
// of JSON, in bounded space, and reads them back.
//
// With a folder the lines lie there in files, of which the oldest is deleted when
// all together have grown beyond the bound. They are handed to the operating
// system a moment after they happened and are never synced, which would wear
// flash: a crash of the program costs that moment, a power cut what the kernel
// had not written yet, half a minute on Linux. Any tool can read them. Without a
// folder they lie in memory.
package recorder

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// Options configure a Recorder.
type Options struct {
	Directory string // where the files lie; made if it is not there. Empty: in memory
	MaxBytes  int64  // of all lines together, at least 64 KiB
	Log       *slog.Logger
}

const (
	flushAfter = 200 * time.Millisecond // that a line waits at most before it is written
	flushBytes = 32 << 10               // of lines that wait
	maxLine    = 256 << 10
	segments   = 8 // parts of MaxBytes that are deleted as a whole
)

// Recorder keeps events. Its methods may be called from any goroutine.
type Recorder struct {
	log *slog.Logger

	mu      sync.Mutex // guards everything that follows
	lines   medium
	waiting bytes.Buffer
	timer   *time.Timer // flushes what waits; nil if nothing does
	failing bool        // the last write failed, which has been said
	stats   Stats
	closed  bool
}

// Stats are what a Recorder has counted since it was opened.
type Stats struct {
	Recorded uint64 // events
	Lost     uint64 // of these: too long, or not written because the disk has failed or is full
	Bytes    int64  // that the lines take now
}

// medium is where lines lie.
type medium interface {
	// append adds whole lines.
	append(lines []byte) error
	// parts are what there is, the oldest first. What is appended later is not
	// in them.
	parts() []part
	bytes() int64
	close() error
}

// Open opens the recorder on what is there. The error says what is wrong with
// the folder.
func Open(o Options) (*Recorder, error) {
	r := &Recorder{log: o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if o.Directory == "" {
		r.lines = &memory{segment: o.MaxBytes / segments, most: o.MaxBytes}
		return r, nil
	}
	f, err := openFiles(o.Directory, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	r.lines = f
	return r, nil
}

// Add records e, without its payload if it is a message. It does not wait for
// the disk.
func (r *Recorder) Add(e events.Event) {
	if m, ok := e.Data.(events.MessageData); ok {
		m.Payload = nil
		e.Data = m
	}
	line, err := json.Marshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.stats.Recorded++
	if err != nil || len(line) > maxLine {
		r.stats.Lost++
		return
	}
	r.waiting.Write(line)
	r.waiting.WriteByte('\n')
	switch {
	case r.waiting.Len() >= flushBytes:
		r.flushLocked()
	case r.timer == nil:
		r.timer = time.AfterFunc(flushAfter, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.flushLocked()
		})
	}
}

// flushLocked writes what waits. What cannot be written is lost: it would wait in
// memory without bound.
func (r *Recorder) flushLocked() {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	if r.waiting.Len() == 0 {
		return
	}
	err := r.lines.append(r.waiting.Bytes())
	if err != nil {
		r.stats.Lost += uint64(bytes.Count(r.waiting.Bytes(), []byte("\n")))
		if !r.failing {
			r.log.Warn("events cannot be recorded, those until it works again are lost", "error", err)
		}
	} else if r.failing {
		r.log.Info("events are recorded again", "lost", r.stats.Lost)
	}
	r.failing = err != nil
	r.waiting.Reset()
}

// Stats reads the counters.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Bytes = r.lines.bytes() + int64(r.waiting.Len())
	return s
}

// Close writes what waits. What is added later is not recorded.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.flushLocked()
	r.closed = true
	return r.lines.close()
}
