package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Sub is one subscriber of a Bus: a handler with its queue and goroutine.
type Sub struct {
	bus   *Bus
	name  string
	want  wanted
	fn    func(Event)
	queue *queue

	goroutine atomic.Uint64 // id of the goroutine that runs fn, 0 before it runs
	done      chan struct{} // closed when that goroutine is about to return
	delivered atomic.Uint64
	dropped   atomic.Uint64
	panics    atomic.Uint64

	handled atomic.Uint64 // events that the handler is done with
	waiting atomic.Int32  // length of settling
	mu      sync.Mutex    // guards settling
	// Who waits for how many events to be handled.
	settling []settler
}

type settler struct {
	upTo uint64
	done chan struct{}
}

// SubStats describes one subscriber at one instant.
type SubStats struct {
	Name      string // as given to Subscribe
	Queued    int    // events waiting
	Open      int    // events waiting or with the handler, until the Sub is closed
	Capacity  int    // most events that can wait
	Delivered uint64 // events handed to the handler, panics included
	Dropped   uint64 // events lost because the queue was full
	Panics    uint64 // times the handler panicked
}

func newSub(b *Bus, name string, f Filter, capacity int, fn func(Event)) *Sub {
	return &Sub{bus: b, name: name, want: newWanted(f), fn: fn, queue: newQueue(capacity), done: make(chan struct{})}
}

// Close ends the subscription and discards what is queued. When it returns, fn
// is not running and will not be called again, with one exception: called from
// inside a handler of the same bus (this one or another), Close returns at once
// and fn, if running, finishes on its own. It may be called more than once.
func (s *Sub) Close() {
	s.bus.remove(s)
	s.queue.close(true)
	if s.bus.onHandler() {
		return
	}
	<-s.done
}

// Dropped returns how many events this subscriber lost because its queue was
// full.
func (s *Sub) Dropped() uint64 { return s.dropped.Load() }

// Settle waits until the handler is done with all events that were queued when
// it was called, until the subscription ends, or until ctx does, whose error it
// returns. The handler must not call it.
func (s *Sub) Settle(ctx context.Context) error {
	w := settler{s.queue.taken(), make(chan struct{})}
	s.mu.Lock()
	s.settling = append(s.settling, w)
	s.waiting.Add(1)
	s.mu.Unlock()
	s.settle() // they may be so already
	select {
	case <-w.done:
		return nil
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle tells those whose wait is over.
func (s *Sub) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settling = slices.DeleteFunc(s.settling, func(w settler) bool {
		over := s.handled.Load() >= w.upTo
		if over {
			s.waiting.Add(-1)
			close(w.done)
		}
		return over
	})
}

// offer queues e or, if the queue is full, counts it as dropped.
func (s *Sub) offer(e Event) {
	if !s.queue.push(e) {
		s.dropped.Add(1)
		s.bus.dropped.Add(1)
	}
}

// Stats describes the subscriber.
func (s *Sub) Stats() SubStats {
	handled := s.handled.Load() // first: no more than have been taken in
	return SubStats{
		Name:      s.name,
		Queued:    s.queue.len(),
		Open:      int(s.queue.taken() - handled),
		Capacity:  s.queue.max,
		Delivered: s.delivered.Load(),
		Dropped:   s.dropped.Load(),
		Panics:    s.panics.Load(),
	}
}

// run hands queued events to the handler until the queue is closed and empty.
func (s *Sub) run() {
	defer close(s.done)
	defer s.bus.ended(s)
	s.goroutine.Store(goroutineID())
	for {
		e, ok := s.queue.pop()
		if !ok {
			return
		}
		s.handle(e)
		s.handled.Add(1)
		if s.waiting.Load() > 0 {
			s.settle()
		}
	}
}

// handle calls the handler and survives its panic.
func (s *Sub) handle(e Event) {
	defer func() {
		if p := recover(); p != nil {
			s.panics.Add(1)
			// The event's data stays out of the log: it may hold a payload.
			s.bus.log.Error("event handler panicked", slog.String("handler", s.name), slog.String("type", string(e.Type)),
				slog.String("event", e.ID), slog.String("error", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	s.delivered.Add(1)
	s.fn(e)
}

// goroutineID returns the number of the calling goroutine. The runtime shows
// it in stack traces only. It is needed to tell a Close inside a handler, which
// must not wait for itself, from one outside, which must wait.
func goroutineID() uint64 {
	var buf [64]byte
	b := buf[:runtime.Stack(buf[:], false)]
	b = bytes.TrimPrefix(b, []byte("goroutine "))
	if i := bytes.IndexByte(b, ' '); i > 0 {
		b = b[:i]
	}
	id, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("events: the runtime changed its stack trace: %q", buf[:]))
	}
	return id
}
