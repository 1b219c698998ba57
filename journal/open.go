package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Open locks the directory, recovers the log in it, and calls replay for each
// record from the root on, in order; for an empty directory it makes a log.
//
// What it found is in Recovery, damage too: that is no error. An error is what
// cannot be mended: ErrLocked, a *VersionError (the store is left untouched),
// replay's own error, or one of the disk. A disk without room opens in state
// Failed, and Due tells when there is room again.
func Open(o Options, replay func(Record) error) (_ *Log, _ *Recovery, err error) {
	if o, err = o.complete(); err != nil {
		return nil, nil, err
	}
	if err := o.Disk.Lock(); err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open journal: %w", err), o.Disk.Unlock())
		}
	}()
	began := time.Now()
	v, err := look(o.Disk)
	if err != nil {
		return nil, nil, err
	}
	if err := v.checkFormat(o.Format); err != nil {
		return nil, nil, err
	}
	if err := v.settle(); err != nil {
		return nil, nil, err
	}
	r := &Recovery{New: v.fresh}
	if err := v.replay(r, o.OnReplay, replay); err != nil {
		return nil, nil, err
	}
	v.setAside(o, r)
	l := newLog(o, v)
	if err := l.start(v); err != nil {
		return nil, nil, err
	}
	if len(r.Damage) > 0 {
		l.signalLocked() // a checkpoint leaves the damage behind
	}
	go l.run()
	go l.announce()
	r.Duration = time.Since(began)
	return l, r, nil
}

// newLog is the log that v has found, not running yet.
func newLog(o Options, v *survey) *Log {
	l := &Log{
		o: o, disk: o.Disk, epoch: v.epoch,
		started: time.Now(), clock0: v.clock,
		due: make(chan struct{}, 1), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		cur: &batch{}, idle: &batch{},
		number: v.top, root: v.root, settled: v.root,
	}
	l.backoff = minBackoff
	l.other, l.floor = v.other, v.top
	l.keeping = true
	l.since = l.started
	l.more, l.noticed = make(chan struct{}, 1), make(chan struct{})
	if l.epoch == (epoch{}) {
		_, _ = rand.Read(l.epoch[:]) // never fails
	}

	// A last segment without records is not kept: else each start would cost
	// one. The new one follows on what is before it.
	chain := v.chain
	if n := len(chain); n > 0 {
		l.durable = at(chain[n-1].number, chain[n-1].end)
		if s := chain[n-1]; v.empty && n > 1 && s.known && len(s.faults) == 0 {
			chain = chain[:n-1]
			l.unused = &segment{number: s.named, size: s.size, name: s.name}
			l.durable = s.h.prev
		}
	}
	for _, s := range append(v.old, chain...) {
		l.segs = append(l.segs, &segment{
			number: s.number, seed: l.epoch.seed(s.number), flags: s.h.flags, format: s.h.format, prev: s.h.prev,
			size: s.size, name: s.name, end: s.end,
		})
		l.head = s.number
		if s.known {
			l.saved = max(0, min(s.h.saved, 1<<40))
		}
	}
	for _, s := range chain {
		l.sinceRoot += s.end
	}
	return l
}

// start takes over the files that are free, and begins a segment.
func (l *Log) start(v *survey) error {
	for _, s := range v.rest {
		if s.spare && s.h.number == s.named && s.size == l.o.SegmentSize && len(l.spares) < maxPool {
			f, err := l.disk.Open(s.name)
			if err != nil {
				return errors.Join(fmt.Errorf("open segment %s: %w", s.name, err), l.closeFiles())
			}
			l.addSpare(&spare{s.name, s.named, f})
			continue
		}
		l.voids = append(l.voids, &segment{number: s.named, size: s.size, name: s.name})
		l.floor = max(l.floor, s.named)
	}
	l.number = l.floor + 1
	s := &segment{
		number: l.number,
		seed:   l.epoch.seed(l.number),
		format: l.o.Format,
		prev:   l.durable,
		size:   l.o.SegmentSize,
	}
	if v.fresh {
		l.root = s.number
		s.flags = flagCheckpoint
	}
	now := time.Now()
	err := l.begin(s)
	switch {
	case errors.Is(err, ErrFull):
		l.mu.Lock()
		l.failLocked(err, &batch{}, now)
		l.mu.Unlock()
		return nil
	case err != nil:
		return errors.Join(err, l.closeFiles())
	}
	l.segs = append(l.segs, s)
	l.tail, l.tailEnd = s, headerSize
	if l.o.ClockInterval > 0 {
		l.markAt = now.Add(l.o.ClockInterval)
	}
	l.dueLocked()
	return nil
}

// shut is the end of the committer.
func (l *Log) shut() {
	l.mu.Lock()
	if State(l.state.Load()) == Failed {
		l.closeErr = l.refusal
	}
	l.refusal = ErrClosed
	l.discard = true
	l.tail = nil
	l.number++
	l.tailEnd = headerSize
	for _, done := range l.cur.dones {
		l.told = append(l.told, told{done, ErrClosed})
	}
	l.reuseLocked(l.cur)
	l.backlog.Store(0)
	l.mu.Unlock()
	for more := true; more; {
		l.tell()
		l.mu.Lock()
		more = len(l.told) > 0
		l.mu.Unlock()
	}
	err := errors.Join(l.closeFiles(), l.disk.Unlock())
	l.mu.Lock()
	if l.closeErr == nil {
		l.closeErr = err
	}
	close(l.more)
	l.mu.Unlock()
	<-l.noticed
}

// closeFiles closes all files, waiting for nobody: a Read that runs gets an
// error.
func (l *Log) closeFiles() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range append(l.segs, l.voids...) {
		if s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	for _, sp := range l.spares {
		errs = append(errs, sp.file.Close())
	}
	l.spares, l.opened = nil, nil
	return errors.Join(errs...)
}
