package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// failLocked is the end of everything that is not stable: nobody is told
// success, and nothing of it is written again.
func (l *Log) failLocked(err error, b *batch, now time.Time) {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	l.generation.Add(1)
	l.counters.failures.Add(1)
	l.refusal = err
	for _, done := range b.dones {
		l.told = append(l.told, told{done, err})
	}
	for _, done := range l.cur.dones {
		l.told = append(l.told, told{done, err})
	}
	l.reuseLocked(l.cur)
	l.backlog.Store(0)
	l.flushAt, l.markAt = time.Time{}, time.Time{}

	// What was never begun does not exist; what was begun ends where it is
	// stable, and is not trusted with another byte.
	for n := len(l.segs); n > 0 && l.segs[n-1].number > l.head; n-- {
		l.segs[n-1] = nil
		l.segs = l.segs[:n-1]
	}
	if n := len(l.segs); n > 0 {
		l.segs[n-1].tainted = true
	}
	l.tail = nil
	l.discard = true
	l.reopened = false
	l.number++ // of a segment that will never be
	l.tailEnd = headerSize
	l.retryLocked(now)
	l.setStateLocked(Failed, err)
}

// retryLocked sets when reopen is tried next, later each time.
func (l *Log) retryLocked(now time.Time) {
	l.reopenAt = now.Add(l.backoff)
	l.backoff = min(2*l.backoff, maxBackoff)
}

// abandon fails the log anew because the Checkpoint that was to end the
// failure did not come about: what was appended since it began is void.
func (l *Log) abandon() {
	l.mu.Lock()
	err := l.abandoned
	l.abandoned = nil
	if State(l.state.Load()) == Failed && l.reopened {
		l.failLocked(err, &batch{}, time.Now())
	}
	l.mu.Unlock()
}

// reopen begins a fresh segment after a failure. What the Log appended and did
// not make stable ends there.
func (l *Log) reopen() {
	l.mu.Lock()
	l.number++
	s := &segment{
		number: l.number,
		seed:   l.epoch.seed(l.number),
		format: l.o.Format,
		prev:   l.durable,
		size:   l.o.SegmentSize,
	}
	if len(l.segs) == 0 { // nothing was ever stable
		s.flags = flagCheckpoint
		l.root = s.number
	}
	l.number++ // again one that will never be
	l.tailEnd = headerSize
	l.mu.Unlock()

	l.discardTrash()
	err := l.begin(s)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.retryLocked(time.Now())
		l.o.Log.Debug("journal cannot go on yet", "error", err)
		return
	}
	l.segs = append(l.segs, s)
	l.reopened = true
	l.keeping = true
	l.dueSent = false
	l.signalLocked()
}

// discardTrash removes the files of segments that could not be begun. A file
// that is not there is as good as removed.
func (l *Log) discardTrash() {
	l.mu.Lock()
	trash := l.trash
	l.mu.Unlock()
	if len(trash) == 0 {
		return
	}
	var kept []string
	for _, name := range trash {
		if err := l.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			kept = append(kept, name)
		}
	}
	l.mu.Lock()
	l.trash = kept
	l.mu.Unlock()
}
