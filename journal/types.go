package journal

import (
	"errors"
	"fmt"
	"time"
)

// Pos says where a record lies: segment number in the upper 32 bits, byte
// offset in the lower. 0 is no position. Positions grow.
type Pos uint64

func at(segment uint32, offset int64) Pos { return Pos(segment)<<32 | Pos(uint32(offset)) }

// Segment is the number of the segment.
func (p Pos) Segment() uint32 { return uint32(p >> 32) }

// Offset is the place within the segment, in bytes.
func (p Pos) Offset() uint32 { return uint32(p) }

func (p Pos) String() string { return fmt.Sprintf("%x:%x", p.Segment(), p.Offset()) }

// Level is how much a Commit promises.
type Level byte

const (
	// Sync: done after fdatasync.
	Sync Level = iota
	// Flush: done at once, or, when dones of earlier Commits still wait, right
	// after those. What was appended is written and synced within
	// Options.FlushInterval.
	Flush
)

// Done is told once what became of a Commit: on the log's goroutine, or within
// Commit itself, in the order of the Commits of the whole log. Within Commit
// only that Commit's own Done is called. It must not block, and may call the
// methods of the log other than Checkpoint, Snapshot and Close.
type Done interface {
	Committed(err error)
}

// Record is one record of the log.
type Record struct {
	Pos  Pos
	Type byte
	// Format is Options.Format of the Log that wrote the record. If damage hides
	// it, it is that of the records before it.
	Format uint16
	Data   []byte        // valid during the call
	Clock  time.Duration // the store clock when the record was written to disk
}

// State is how a log fares.
type State uint32

const (
	// OK: commits are kept.
	OK State = iota
	// Full: disk or budget have no room for new data. Commits are still kept,
	// for the sake of small records, until the spare segments are used up.
	Full
	// Failed: nothing is kept until the owner has made a Checkpoint; every
	// Commit is told an error that wraps ErrFailed.
	Failed
)

func (s State) String() string {
	switch s {
	case OK:
		return "ok"
	case Full:
		return "full"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state %d", uint32(s))
}

var (
	// ErrFailed: the disk has failed, and what was to be committed may be lost.
	ErrFailed = errors.New("journal failed")
	// ErrFull: there is no room, on the disk or in the budget.
	ErrFull = errors.New("no room for another segment")
	// ErrLost: the record at this position is not in the log (any more).
	ErrLost = errors.New("record lost")
	// ErrCorrupt: the record at this position is damaged.
	ErrCorrupt = errors.New("record damaged")
	// ErrClosed: the log is closed.
	ErrClosed = errors.New("journal closed")
	// ErrLocked: another process, or another Log, has the directory open.
	ErrLocked = errors.New("locked by another process")
)

// VersionError is why a store made by a newer program is refused.
type VersionError struct {
	File         string // "" if any
	Records      bool   // it is the format of the owner's records, not that of the log
	Found, Known uint32
}

func (e *VersionError) Error() string {
	where, what := "segment "+e.File, "has"
	if e.File == "" {
		where = "the store"
	}
	if e.Records {
		what = "has records of"
	}
	return fmt.Sprintf("%s %s format version %d, this program knows versions up to %d; use a newer program, the store is untouched",
		where, what, e.Found, e.Known)
}
