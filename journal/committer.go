package journal

import (
	"fmt"
	"time"
)

// pace decides how long the committer waits for more to share a write.
type pace struct {
	crowd    float64       // waiters per batch, averaged over the last ones
	lastSync time.Duration // how long the last write and sync took
	syncEnd  time.Time     // when it ended
	quietAt  time.Time     // no waiter for so long: nobody more is coming
	seen     int           // waiters when quietAt was set
}

const (
	crowded   = 3  // from so many waiters per batch on it pays to wait for more
	keepEvery = 16 // writes after which housekeeping gets its turn
	minQuiet  = 50 * time.Microsecond
	maxQuiet  = 500 * time.Microsecond
)

// lingerLocked is how long to wait for more before cur is written: while new
// waiters arrive, at most half the time of a sync, and not at all when few come.
func (l *Log) lingerLocked(now time.Time) time.Duration {
	if l.crowd < crowded {
		return 0
	}
	since := l.cur.first
	if since.Before(l.syncEnd) {
		since = l.syncEnd // those whom that sync released are the ones to wait for
	}
	left := since.Add(min(l.o.MaxDelay, l.lastSync/2)).Sub(now)
	if left <= 0 {
		return 0
	}
	if l.cur.syncs != l.seen {
		l.seen = l.cur.syncs
		l.quietAt = now.Add(min(max(l.lastSync/8, minQuiet), maxQuiet))
	}
	return min(left, l.quietAt.Sub(now))
}

// step is what the committer does next.
type step int

const (
	stepWait step = iota
	stepEnd
	stepTell
	stepWrite
	stepKeep
	stepReopen
	stepAbandon
)

// run is the committer: it alone writes to the disk, until the log is closed.
func (l *Log) run() {
	defer close(l.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		step, wait := l.next(time.Now())
		switch step {
		case stepWait:
			timer.Reset(wait)
			select {
			case <-l.wake:
			case <-timer.C:
			}
		case stepEnd:
			l.shut()
			return
		case stepTell:
			l.tell()
		case stepWrite:
			l.write()
		case stepKeep:
			l.keep()
		case stepReopen:
			l.reopen()
		case stepAbandon:
			l.abandon()
		}
	}
}

// next is what the committer does next, or for how long it waits at most.
func (l *Log) next(now time.Time) (next step, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = time.Hour
	until := func(t time.Time) bool { // reports whether t has come
		if t.IsZero() {
			return false
		}
		wait = min(wait, max(t.Sub(now), 0))
		return !t.After(now)
	}
	failed := State(l.state.Load()) == Failed
	switch {
	case len(l.told) > 0:
		return stepTell, 0
	case l.keeping && l.writes >= keepEvery && (!failed || l.reopened):
		return stepKeep, 0
	}
	if len(l.cur.parts) > 0 {
		linger := time.Hour
		if l.cur.syncs > 0 {
			linger = l.lingerLocked(now)
		}
		if linger <= 0 || l.cur.force || l.closing || l.cur.bytes >= kickBytes || until(l.flushAt) {
			return stepWrite, 0
		}
		wait = min(wait, linger)
	}
	switch {
	case l.abandoned != nil:
		return stepAbandon, 0
	case l.closing && !l.parting && !failed:
		// Nothing may follow on the last mark, so nothing is taken any more.
		l.parting = true
		l.partLocked(0)
		l.cur.closed = true
		l.refusal, l.discard = ErrClosed, true
		return stepWrite, 0
	case l.closing:
		return stepEnd, 0
	case failed && !l.reopened:
		if until(l.reopenAt) {
			return stepReopen, 0
		}
	case l.keeping || until(l.keepAt):
		return stepKeep, 0
	case !failed && until(l.markAt):
		l.partLocked(0)
		l.cur.force = true
		return stepWrite, 0
	}
	return stepWait, wait
}

// tell calls the dones that are due.
func (l *Log) tell() {
	l.mu.Lock()
	list := l.told
	if len(list) == 0 {
		l.mu.Unlock()
		return // and no Commit that comes now waits for this one
	}
	l.told = l.told0[:0]
	l.telling = true
	l.mu.Unlock()
	for i := range list {
		list[i].done.Committed(list[i].err)
		list[i] = told{}
	}
	l.mu.Lock()
	l.telling = false
	l.told0 = list[:0]
	l.mu.Unlock()
}

// write writes and syncs cur, then tells its dones.
func (l *Log) write() {
	l.mu.Lock()
	b := l.cur
	l.cur, l.idle = l.idle, nil
	l.inflight = b
	l.flushAt = time.Time{}
	l.mu.Unlock()

	start := time.Now()
	err := l.writeParts(b)
	now := time.Now()

	l.mu.Lock()
	l.inflight = nil
	if err == nil {
		for _, done := range b.dones {
			l.told = append(l.told, told{done, nil})
		}
		l.backlog.Add(-b.bytes)
		l.sinceRoot += b.bytes
		l.progress += b.bytes
		l.writes++
		l.keeping = l.keeping || l.freeing
		l.lastSync, l.syncEnd = now.Sub(start), now
		l.crowd = (3*l.crowd + float64(b.syncs)) / 4
		l.seen = 0
		l.markAt = time.Time{}
		if l.o.ClockInterval > 0 {
			l.markAt = now.Add(l.o.ClockInterval)
		}
		l.counters.batches.Add(1)
		l.counters.records.Add(b.records)
		l.dueLocked()
	} else {
		l.failLocked(err, b, now)
	}
	l.reuseLocked(b)
	l.idle = b
	l.mu.Unlock()
	l.tell()
}

// writeParts makes b stable, segment by segment.
func (l *Log) writeParts(b *batch) error {
	for i := range b.parts {
		p := &b.parts[i]
		if p.begins {
			if err := l.begin(p.seg); err != nil {
				return err
			}
		}
		l.sealPart(b, p)
		f := p.seg.file // only the committer changes it while the segment is the head
		n, err := f.WriteAt(p.data, p.start)
		l.counters.written.Add(uint64(max(n, 0)))
		if err != nil {
			return fmt.Errorf("write segment %s: %w", p.seg.name, err)
		}
		if err := l.sync(f); err != nil {
			return fmt.Errorf("sync segment %s: %w", p.seg.name, err)
		}
		l.mu.Lock()
		p.seg.end = p.end()
		l.durable = at(p.seg.number, p.end())
		l.mu.Unlock()
	}
	return nil
}

// sync is a timed File.Sync.
func (l *Log) sync(f File) error {
	start := time.Now()
	err := f.Sync()
	l.counters.synced(time.Since(start))
	return err
}

// sealPart fills in the mark at the beginning of p.
func (l *Log) sealPart(b *batch, p *part) {
	l.mu.Lock()
	root := l.root
	h := l.headerLocked(p.seg)
	l.mu.Unlock()
	if p.begins {
		rec := p.data[:beginSize]
		h.put(rec[recordHead:])
		putCount(rec[recordHead+headerUsed:], uint32(len(p.data)-beginSize), p.records)
		sealRecord(rec, p.seg.seed, p.start, typeBegin)
		return
	}
	rec := p.data[:markSize]
	m := mark{
		stable:  at(p.seg.number, p.start),
		clock:   l.Clock(),
		root:    root,
		bytes:   uint32(len(p.data) - markSize),
		records: p.records,
		closed:  b.closed,
	}
	m.put(rec[recordHead:])
	sealRecord(rec, p.seg.seed, p.start, typeMark)
}
