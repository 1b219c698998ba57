package journal

import (
	"sync"
	"sync/atomic"
	"time"
)

// kickBytes is how much gathers in memory before it is written even if nobody
// waits for it.
const kickBytes = 1 << 20

// Log is an open log. Its methods may be called from any goroutine.
type Log struct {
	o     Options
	disk  Disk
	epoch epoch

	started time.Time // for the store clock
	clock0  time.Duration

	state      atomic.Uint32
	generation atomic.Uint64 // moved by each failure, before Commits are told of it
	backlog    atomic.Int64

	counters counters
	due      chan struct{}
	wake     chan struct{} // for the committer: look again
	ended    chan struct{} // closed when the committer has ended

	checkpointing sync.Mutex // held by Checkpoint

	mu       sync.Mutex // guards what follows
	cur      *batch     // what is appended and not taken by the committer
	inflight *batch     // what the committer writes; nil if nothing
	idle     *batch     // the one that is neither
	told     []told     // dones to call, in order
	told0    []told     // the same, empty, for the next turn
	telling  bool       // the committer calls dones
	buffers  [][]byte
	zeros    [beginSize]byte

	segs    []*segment // ascending
	tail    *segment   // that Append writes to; nil when a new one must be begun
	tailEnd int64
	number  uint32 // the highest number in use
	head    uint32 // the last segment begun on disk
	root    uint32 // where replay is to begin: what is written from now on says so
	settled uint32 // where it begins, come what may: nobody needs what is before
	durable Pos    // every record before it, of this generation, is on stable storage
	laid    int64  // bytes appended since Open, marks included

	discard  bool  // what is appended is not kept
	refusal  error // what Commit is told at once; nil unless failed or closed
	reopened bool  // in state Failed: a fresh segment is there, waiting for Checkpoint
	saving   bool  // a Checkpoint runs

	abandoned error // why a Checkpoint in state Failed came to nothing, for the committer
	closing   bool
	parting   bool  // the mark of Close has been written, or tried
	closeErr  error // whether Close made everything stable

	flushAt time.Time // when what Flush promised must be written; zero if nothing
	markAt  time.Time // when an idle log writes its clock

	pace
	housekeeping
	notices
}

// Commit calls done when everything appended before is as safe as level says,
// or cannot be made so. It does not wait.
func (l *Log) Commit(level Level, done Done) {
	l.counters.commits.Add(1)
	l.mu.Lock()
	if l.refusal != nil {
		l.tellLocked(done, l.refusal)
		return
	}
	l.commitLocked(level, done)
}

// commitLocked is Commit without the refusal. It unlocks l.mu.
func (l *Log) commitLocked(level Level, done Done) {
	pending := len(l.cur.parts) > 0
	if level == Flush && pending && l.flushAt.IsZero() {
		l.flushAt = time.Now().Add(l.o.FlushInterval)
		l.kick()
	}
	switch {
	case pending && (level == Sync || len(l.cur.dones) > 0):
		l.cur.dones = append(l.cur.dones, done)
		if level == Sync {
			l.cur.syncs++
			if l.cur.syncs == 1 {
				l.cur.first = time.Now()
				l.kick()
			}
		}
		l.mu.Unlock()
	case l.inflight != nil && (level == Sync || len(l.inflight.dones) > 0):
		l.inflight.dones = append(l.inflight.dones, done)
		l.mu.Unlock()
	default:
		l.tellLocked(done, nil)
	}
}

// tellLocked tells done at once, or after those that are still to be told. It
// unlocks l.mu.
func (l *Log) tellLocked(done Done, err error) {
	if !l.telling && len(l.told) == 0 {
		l.mu.Unlock()
		done.Committed(err)
		return
	}
	l.told = append(l.told, told{done, err})
	l.mu.Unlock()
	l.kick()
}

// told is a Done and what it is to be told.
type told struct {
	done Done
	err  error
}

// kick makes the committer look again.
func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Backlog is the bytes that were appended and are not yet written and synced.
func (l *Log) Backlog() int64 { return l.backlog.Load() }

// Clock is the store clock: it grows with the monotonic clock while the log is
// open, stands still while it is closed, and goes on where it was. After a
// crash it goes on from the last write, see Options.ClockInterval.
func (l *Log) Clock() time.Duration { return l.clock0 + time.Since(l.started) }

// State is how the log fares.
func (l *Log) State() State { return State(l.state.Load()) }

// Due gets a value when a Checkpoint is due: the log since the last one has
// grown large, space is short, damage was found at Open, or the log has failed
// and has a fresh segment to go on with.
func (l *Log) Due() <-chan struct{} { return l.due }

// waiter is a Done that one goroutine waits for.
type waiter chan error

func (w waiter) Committed(err error) { w <- err }

// Close commits what is there, closes the files and unlocks the directory. Its
// error tells whether all that was appended is stable. Appends and Commits
// that come later, or meanwhile, may be lost; their Commits are told ErrClosed.
// A second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.ended
		return nil
	}
	l.closing = true
	l.mu.Unlock()
	l.kick()
	<-l.ended
	l.mu.Lock()
	err := l.closeErr
	l.mu.Unlock()
	return err
}

// ID is a random name that the log got when it was begun, and keeps. A copy of
// the log has it as well.
func (l *Log) ID() [16]byte { return l.epoch }
