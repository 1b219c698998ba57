package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// FileOptions configure a File.
type FileOptions struct {
	Path     string // absolute
	MaxBytes int64  // of one file; the next line begins another one
	Keep     int    // earlier files that stay, as Path.1, the youngest, to Path.Keep
	Log      *slog.Logger
}

const (
	flushAfter = 200 * time.Millisecond // that a line waits at most before it is written
	flushBytes = 32 << 10               // of lines that wait
	maxLine    = 256 << 10
)

// File is a Target that writes events as lines of JSON. They are handed to the
// operating system within 200 ms, and never synced. What cannot be written, as on
// a full disk, is dropped.
type File struct {
	counters
	o       FileOptions
	reopen  atomic.Bool
	waits   atomic.Int64 // lines in waiting
	failing bool         // the last write failed, which has been said

	mu      sync.Mutex // guards everything that follows, and failing; held while the disk is written
	file    *os.File   // nil: to be opened
	size    int64
	waiting bytes.Buffer
	timer   *time.Timer // flushes what waits; nil if nothing does
	closed  bool
}

// NewFile makes the target. A file that cannot be opened is tried again with the
// next lines.
func NewFile(o FileOptions) *File { return &File{o: o} }

// Take implements Target.
func (f *File) Take(e events.Event) {
	line, err := json.Marshal(e)
	if err != nil || len(line) > maxLine {
		f.errors.Add(1)
		f.dropped.Add(1)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.dropped.Add(1)
		return
	}
	f.waits.Add(1)
	f.waiting.Write(line)
	f.waiting.WriteByte('\n')
	switch {
	case f.waiting.Len() >= flushBytes:
		f.flushLocked()
	case f.timer == nil:
		f.timer = time.AfterFunc(flushAfter, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.flushLocked()
		})
	}
}

// Reopen implements Target: the next lines go to the file that then has the path.
func (f *File) Reopen() { f.reopen.Store(true) }

// Counts implements Target.
func (f *File) Counts() Counts {
	c := f.counts()
	c.Waiting = int(f.waits.Load())
	return c
}

// flushLocked writes what waits, or drops it.
func (f *File) flushLocked() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	n := f.waits.Load()
	if n == 0 {
		return
	}
	err := f.writeLocked(f.waiting.Bytes())
	f.waiting.Reset()
	f.waits.Store(0)
	switch {
	case err == nil:
		f.sent.Add(uint64(n))
		if f.failing {
			f.o.Log.Info("events are written again", "path", f.o.Path)
		}
	default:
		f.errors.Add(1)
		f.dropped.Add(uint64(n))
		if !f.failing {
			f.o.Log.Warn("events cannot be written, those until it works again are lost", "error", err)
		}
	}
	f.failing = err != nil
}

func (f *File) writeLocked(lines []byte) error {
	if f.reopen.Swap(false) {
		f.letGoLocked()
	}
	if f.file == nil {
		if err := f.openLocked(); err != nil {
			return err
		}
	}
	if f.size > 0 && f.size+int64(len(lines)) > f.o.MaxBytes {
		if err := f.rotateLocked(); err != nil {
			return err
		}
	}
	n, err := f.file.Write(lines)
	f.size += int64(n)
	if err == nil {
		return nil
	}
	// Half a line would spoil the next one.
	if n > 0 && f.file.Truncate(f.size-int64(n)) == nil {
		f.size -= int64(n)
	}
	f.letGoLocked()
	return err
}

// openLocked opens the file, and ends its last line if a crash has cut it. It
// does not wait for somebody to read from what is a pipe.
func (f *File) openLocked() error {
	h, err := os.OpenFile(f.o.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open file of events: %w", err)
	}
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		_ = h.Close() // the error above says more
		return fmt.Errorf("open file of events %s: %w", f.o.Path, err)
	}
	f.file, f.size = h, info.Size()
	if f.size == 0 {
		return nil
	}
	end := make([]byte, 1)
	if _, err := h.ReadAt(end, f.size-1); err == nil && end[0] == '\n' {
		return nil
	}
	n, err := h.WriteString("\n")
	f.size += int64(n)
	if err != nil {
		f.letGoLocked()
		return fmt.Errorf("mend file of events: %w", err)
	}
	return nil
}

// rotateLocked begins another file.
func (f *File) rotateLocked() error {
	f.letGoLocked()
	older := func(n int) string { return f.o.Path + "." + strconv.Itoa(n) }
	for n := f.o.Keep - 1; n >= 1; n-- {
		if err := os.Rename(older(n), older(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate file of events: %w", err)
		}
	}
	var err error
	if f.o.Keep > 0 {
		err = os.Rename(f.o.Path, older(1))
	} else {
		err = os.Remove(f.o.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate file of events: %w", err)
	}
	return f.openLocked()
}

// letGoLocked closes the file, of which nothing waits here.
func (f *File) letGoLocked() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

// Close implements Target.
func (f *File) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushLocked()
	f.closed = true
	f.letGoLocked()
	return nil
}
