package sinks

import (
	"bytes"
	"errors"
)

// errFull is returned by spool.append where there is no room.
var errFull = errors.New("the queue is full")

// spool is a bounded queue of lines. Its methods are called under the lock of its
// owner.
type spool interface {
	// append adds a line, which does not hold a newline.
	append(line []byte) error
	// peek are the oldest lines: at most n, which have size bytes together unless
	// the first alone has more. damaged says how many lines before and between
	// them cannot be read; ready is handed to remove.
	peek(n, size int) (lines [][]byte, damaged int, ready mark)
	// remove forgets what peek has returned with ready.
	remove(ready mark) error
	// len is how many lines there are, damaged ones included.
	len() int
	// bytes is what they take.
	bytes() int64
	// keeps reports whether what is there survives the process.
	keeps() bool
	close() error
}

// mark is how far lines have been read.
type mark struct {
	lines int   // those before it
	bytes int64 // of the oldest file that lie before it; not used in memory
	// damaged are those of lines that are not among what was read, for the owner.
	damaged int
}

// memory is a spool that ends with the process.
type memory struct {
	most, held int64
	lines      [][]byte
}

func (m *memory) append(line []byte) error {
	if m.held+int64(len(line)) > m.most {
		return errFull
	}
	m.lines = append(m.lines, bytes.Clone(line))
	m.held += int64(len(line))
	return nil
}

func (m *memory) peek(n, size int) (lines [][]byte, damaged int, ready mark) {
	for _, line := range m.lines[:min(n, len(m.lines))] {
		if size -= len(line); size < 0 && len(lines) > 0 {
			break
		}
		lines = append(lines, line)
	}
	return lines, 0, mark{lines: len(lines)}
}

func (m *memory) remove(ready mark) error {
	for i, line := range m.lines[:ready.lines] {
		m.held -= int64(len(line))
		m.lines[i] = nil
	}
	m.lines = m.lines[ready.lines:]
	if len(m.lines) == 0 {
		m.lines = nil
	}
	return nil
}

func (m *memory) len() int     { return len(m.lines) }
func (m *memory) bytes() int64 { return m.held }
func (m *memory) keeps() bool  { return false }
func (m *memory) close() error { return nil }
