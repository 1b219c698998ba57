package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	minSegment = 4 << 10
	maxSegment = 1 << 30
	maxRecord  = maxSegment - 4<<10

	defaultSegment       = 8 << 20
	defaultRecord        = 1<<28 + 1<<20
	defaultDelay         = 5 * time.Millisecond
	defaultFlushInterval = 200 * time.Millisecond
	defaultClockInterval = 5 * time.Minute
)

// Options say how to run a log. Only Disk must be set.
type Options struct {
	Disk Disk
	// SegmentSize is the size of a segment file, default 8 MiB. 4 to 16 MiB
	// are sensible; at least 4 KiB. It may change between runs.
	SegmentSize int64
	// MaxBytes bounds all files of the log together; 0 is no bound. It must
	// be at least four segments. Only the checkpoint that ends state Failed
	// may exceed it, since nothing can be freed before.
	MaxBytes int64
	// MaxDelay bounds how long a Commit may wait for others to share its
	// write, default 5 ms. Raise it to spare flash, never more than half the
	// time of a sync is used.
	MaxDelay time.Duration
	// FlushInterval is what level Flush may lose, default 200 ms.
	FlushInterval time.Duration
	// ClockInterval is how far the store clock may fall back in a crash of an
	// idle log, default 5 min; negative: as far as the last write.
	ClockInterval time.Duration
	// Format is the version of what the owner writes into its records. A log
	// with records of a later one is refused, with a *VersionError; those of an
	// earlier one are handed out as they are, and the next Checkpoint leaves
	// none behind: see Record, Log.Format and Log.Vacate.
	Format uint16
	// MaxRecord is the longest record that Append takes, default 257 MiB.
	MaxRecord int
	// Log gets what the log copes with by itself; nil for none.
	Log *slog.Logger
	// OnReplay, if not nil, is called by Open before each segment that it replays
	// and after the last, with the bytes of segments that it has gone through and
	// of all it will: as often as it is called, recovery moves.
	OnReplay func(done, total int64)
	// OnState is called at each change of State, with the reason for Full and
	// Failed, without locks, in order, on a goroutine of its own. It must not
	// wait for Close, which waits for it.
	OnState func(State, error)
}

// complete fills in the defaults, or says what is wrong.
func (o Options) complete() (Options, error) {
	if o.Disk == nil {
		return o, errors.New("journal: no disk; set Options.Disk")
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegment
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = defaultRecord
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = defaultDelay
	}
	if o.FlushInterval <= 0 {
		o.FlushInterval = defaultFlushInterval
	}
	if o.ClockInterval == 0 {
		o.ClockInterval = defaultClockInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.SegmentSize < minSegment || o.SegmentSize > maxSegment:
		return o, fmt.Errorf("journal: segments of %d bytes; use %d to %d", o.SegmentSize, minSegment, maxSegment)
	case o.MaxRecord < 0 || o.MaxRecord > maxRecord:
		return o, fmt.Errorf("journal: records of %d bytes; use at most %d", o.MaxRecord, maxRecord)
	case o.MaxBytes != 0 && o.MaxBytes < 4*o.SegmentSize:
		return o, fmt.Errorf("journal: a budget of %d bytes is less than four segments of %d; raise it or make segments smaller", o.MaxBytes, o.SegmentSize)
	}
	return o, nil
}

// SetFlushInterval changes what level Flush may lose, from the next Commit on.
// Zero and less is the default.
func (l *Log) SetFlushInterval(d time.Duration) {
	if d <= 0 {
		d = defaultFlushInterval
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.FlushInterval = d
}
