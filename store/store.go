package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/rest"
)

// maxBacklog is Options.MaxBacklog if that is not set.
const maxBacklog = 8 << 20

// Nobody waits for some records, such as those of acknowledgements by clients:
// they are written when others are, or else within lazyInterval. The numbers of
// dropped messages, and what has been written, are looked at every rareInterval
// while something stirs, and at rest every calmInterval.
const (
	lazyInterval = time.Second
	rareInterval = 10 * time.Second
	calmInterval = time.Minute
)

// Store is a relay.Store over a journal. Its methods may be called from any
// goroutine.
type Store struct {
	opts    Options
	log     *slog.Logger
	journal *journal.Log
	scratch sync.Pool
	meter   meter

	maxBacklog int64

	lazy    *rest.Job   // to write what nobody waits for
	pending atomic.Bool // lazy is due

	relay  *relay.Relay // set by Run
	ask    chan chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Report is what Open has found.
type Report struct {
	journal.Recovery // its Records are those since the last checkpoint

	Sessions int           // recovered
	Retained int           // messages recovered
	Unread   int           // messages that were stored and cannot be read any more
	Took     time.Duration // until the state was there
}

// Open recovers what is stored on the disk, or begins a new store. Damage is
// no error; see Report. The relay is made with the Store, and restored with
// what was Recovered, before Run.
func Open(opts Options) (*Store, relay.Recovered, *Report, error) {
	began := time.Now()
	s := &Store{opts: opts, log: opts.Log, ask: make(chan chan struct{}), maxBacklog: cmp.Or(opts.MaxBacklog, maxBacklog), scratch: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}}
	r := newReplay()
	log, found, err := journal.Open(journal.Options{
		Disk: opts.Disk, SegmentSize: opts.SegmentSize, MaxBytes: opts.MaxBytes, MaxDelay: opts.MaxDelay,
		FlushInterval: opts.FlushInterval, Format: Format, Log: opts.Log, OnReplay: opts.OnRecovery, OnState: s.changed,
	}, r.record)
	if err != nil {
		return nil, relay.Recovered{}, nil, fmt.Errorf("open store: %w", err)
	}
	s.journal = log
	if s.opts.Rest == nil {
		s.opts.Rest = rest.New()
	}
	s.lazy = s.opts.Rest.Job(0)
	s.meter.begin(&s.opts, r.wear)
	rec, unread := s.recovered(r, func() {
		if opts.OnRecovery != nil {
			opts.OnRecovery(found.Bytes, found.Bytes)
		}
	})
	report := &Report{Recovery: *found, Sessions: len(rec.Sessions), Retained: len(rec.Retained), Unread: unread, Took: time.Since(began)}
	return s, rec, report, nil
}

// Run begins to write checkpoints of r's state, the first of them at once.
func (s *Store) Run(r *relay.Relay) {
	s.relay = r
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
}

func (s *Store) run(ctx context.Context) {
	s.checkpoint()
	rare := s.opts.Rest.Job(rareInterval)
	defer rare.End()
	var known uint64
	for {
		rare.Within(calmInterval)
		select {
		case <-ctx.Done():
			return
		case <-s.journal.Due():
			s.checkpoint()
		case done := <-s.ask:
			s.checkpoint()
			close(done)
		case <-rare.Turn():
			known = s.recordDrops(known)
			s.measure(false)
		case <-s.lazy.Turn():
			s.pending.Store(false) // first: what is appended from here on has a turn of its own
			if s.journal.Backlog() > 0 {
				s.journal.Commit(journal.Flush, nobody{})
			}
		}
	}
}

// appended sees to it that what has just been appended is written within
// lazyInterval.
func (s *Store) appended() {
	if !s.pending.Load() && s.pending.CompareAndSwap(false, true) {
		s.lazy.Within(lazyInterval)
	}
}

// nobody is a Done that waits for nothing.
type nobody struct{}

// Committed implements journal.Done.
func (nobody) Committed(error) {}

// recordDrops records how many messages have been dropped, if they are not as
// many as known, and returns how many.
func (s *Store) recordDrops(known uint64) uint64 {
	drops := s.relay.Drops()
	n := total(drops)
	if n != known {
		s.Record(relay.Change{Kind: relay.Drops, Drops: drops})
	}
	return n
}

func total(drops map[string]uint64) (n uint64) {
	for _, d := range drops {
		n += d
	}
	return n
}

// Checkpoint writes one now, so that who opens the store next finds its state
// soon. It returns when that is done, has failed, or ctx ends. Only between Run
// and Close.
func (s *Store) Checkpoint(ctx context.Context) {
	done := make(chan struct{})
	select {
	case s.ask <- done:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

func (s *Store) checkpoint() {
	var mark uint64
	err := s.journal.Checkpoint(func() error { mark = s.relay.Snapshot(); s.measure(true); return nil })
	switch {
	case err == nil:
		s.relay.Stored(mark)
	case !errors.Is(err, journal.ErrClosed):
		s.log.Error("write checkpoint", "error", err)
	}
}

// Close writes what is there and ends the store. The relay must not be used
// any more.
func (s *Store) Close() error {
	defer s.lazy.End()
	if s.cancel != nil {
		s.cancel()
		s.done.Wait()
		s.Record(relay.Change{Kind: relay.Drops, Drops: s.relay.Drops()})
		s.measure(true)
	}
	if err := s.journal.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Journal is the log beneath, for statistics and backups.
func (s *Store) Journal() *journal.Log { return s.journal }

func (s *Store) changed(state journal.State, err error) {
	if s.opts.OnState != nil {
		s.opts.OnState(state, err)
	}
}

// Level implements relay.Store.
func (s *Store) Level(topic string) relay.Level { return s.opts.level(topic) }

// Room implements relay.Store.
func (s *Store) Room() relay.Room {
	switch s.journal.State() {
	case journal.Full:
		return relay.Full
	case journal.Failed:
		return relay.Broken
	}
	return relay.Ample
}

// Clock implements relay.Store.
func (s *Store) Clock() time.Duration { return s.journal.Clock() }

// Record implements relay.Store.
func (s *Store) Record(c relay.Change) relay.Ref {
	buf := s.scratch.Get().(*[]byte)
	data := appendChange((*buf)[:0], &c)
	pos := s.journal.Append(byte(c.Kind), data)
	s.appended()
	if cap(data) <= 64<<10 {
		*buf = data
	}
	s.scratch.Put(buf)
	return relay.Ref(pos)
}

// Hold implements relay.Store.
func (s *Store) Hold(ref relay.Ref, bytes int) { s.journal.Hold(journal.Pos(ref), bytes) }

// Release implements relay.Store.
func (s *Store) Release(ref relay.Ref, bytes int) { s.journal.Release(journal.Pos(ref), bytes) }

// Vacate implements relay.Store.
func (s *Store) Vacate(ref relay.Ref) bool { return s.journal.Vacate(journal.Pos(ref)) }

// Near implements relay.Store: segments are kept or given up as a whole.
func (s *Store) Near(a, b relay.Ref) bool {
	return journal.Pos(a).Segment() == journal.Pos(b).Segment()
}

// Commit implements relay.Store.
func (s *Store) Commit(level relay.Level, done relay.Done) {
	l := journal.Flush
	if level == relay.Sync {
		l = journal.Sync
	}
	s.journal.Commit(l, done)
}

// AwaitBacklog implements relay.Store.
func (s *Store) AwaitBacklog() {
	if s.journal.Backlog() <= s.maxBacklog {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.journal.Backlog() > s.maxBacklog && s.journal.State() != journal.Failed {
		<-tick.C
	}
}

// Load implements relay.Store.
func (s *Store) Load(ref relay.Ref) ([]relay.Entry, error) {
	entries, err := s.chunk(ref)
	if err != nil {
		return nil, err
	}
	var errs []error
	left := entries[:0]
	for _, e := range entries {
		if e.Message, err = s.message(e.Body); err != nil {
			errs = append(errs, err)
			continue
		}
		left = append(left, e)
	}
	return left, errors.Join(errs...)
}

// read reads a record, as one of this format. The data is appended to buf.
func (s *Store) read(ref relay.Ref, buf []byte) (typ byte, data []byte, err error) {
	pos := journal.Pos(ref)
	if typ, data, err = s.journal.Read(pos, buf); err != nil {
		return typ, data, err
	}
	return upgraded(s.journal.Format(pos), typ, data)
}

// chunk reads the entries of a chunk.
func (s *Store) chunk(ref relay.Ref) ([]relay.Entry, error) {
	typ, data, err := s.read(ref, nil)
	if err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	c, err := decodeChange(typ, data)
	if err != nil || c.Kind != relay.Spilled {
		return nil, fmt.Errorf("read chunk: type %d: %w", typ, errRecord)
	}
	return c.Entries, nil
}

// message reads a body.
func (s *Store) message(ref relay.Ref) (*relay.Message, error) {
	buf := s.scratch.Get().(*[]byte)
	defer s.scratch.Put(buf)
	typ, data, err := s.read(ref, (*buf)[:0])
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if typ != byte(relay.Body) {
		return nil, fmt.Errorf("read message: type %d: %w", typ, errRecord)
	}
	return decodeBody(data, s.opts.level, ref)
}

var _ relay.Store = (*Store)(nil)
