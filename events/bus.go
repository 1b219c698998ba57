package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrNotDrained is wrapped by the error of Bus.Close when time ran out before
// the handlers had seen every event.
var ErrNotDrained = errors.New("events left undelivered")

// Bus carries events from producers to handlers. All methods may be called
// from any goroutine, handlers included. NewBus makes one.
type Bus struct {
	log   *slog.Logger
	match func(filter, topic string) bool

	wants     atomic.Uint32          // bits that some subscriber wants
	subs      atomic.Pointer[[]*Sub] // copy on write; never nil
	published atomic.Uint64
	dropped   atomic.Uint64

	mu     sync.Mutex        // guards changes of what follows and of subs; no handler runs under it
	live   map[*Sub]struct{} // subscribers whose goroutine has not ended
	closed bool
}

// NewBus returns a bus without subscribers. match reports whether an MQTT
// topic filter matches a topic; the bus calls it for filters that have one,
// from the goroutines that publish. A nil log discards.
func NewBus(log *slog.Logger, match func(filter, topic string) bool) *Bus {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if match == nil {
		match = func(filter, topic string) bool { return filter == topic }
	}
	b := &Bus{log: log, match: match, live: make(map[*Sub]struct{})}
	b.subs.Store(new([]*Sub))
	return b
}

// WantsMessages is Wants(Message), for who asks before each of them.
func (b *Bus) WantsMessages() bool { return bits(b.wants.Load())&bitMessage != 0 }

// Wants reports whether an event of type t may reach anybody, so that a
// producer can skip building it. For built-in types it is one atomic load. A
// custom type is wanted when somebody named it or listens to everything.
func (b *Bus) Wants(t Type) bool {
	bit := bitOf(t)
	if bits(b.wants.Load())&bit == 0 {
		return false
	}
	if bit != bitCustom {
		return true
	}
	for _, s := range *b.subs.Load() {
		if s.want.wantsType(t) {
			return true
		}
	}
	return false
}

// Publish offers e to every subscriber whose filter it matches. It never
// blocks: where a queue is full the event is dropped and counted. After Close
// has begun it does nothing.
func (b *Bus) Publish(e Event) {
	subs := *b.subs.Load()
	if len(subs) == 0 {
		return
	}
	b.published.Add(1)
	for _, s := range subs {
		if s.want.matches(&e, b.match) {
			s.offer(e)
		}
	}
}

// Subscribe calls fn for every event that f lets through, one at a time and in
// the order of publication, on a goroutine of its own. Up to queue events (at
// least 1) wait for it, of 4 MiB together; beyond that the newest is dropped and
// counted.
// A panic in fn is logged and counted, and the next event is delivered as
// usual. name says in logs and statistics who listens. The caller must Close
// the Sub or the Bus. On a closed bus fn is never called.
func (b *Bus) Subscribe(name string, f Filter, queue int, fn func(Event)) *Sub {
	s := newSub(b, name, f, queue, fn)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.queue.close(true)
		close(s.done)
		return s
	}
	b.live[s] = struct{}{}
	next := append(slices.Clip(*b.subs.Load()), s)
	b.setSubsLocked(next)
	go s.run()
	return s
}

// setSubsLocked publishes a new list of subscribers. The list goes first: an
// event may be wanted in vain for an instant, but not the reverse.
func (b *Bus) setSubsLocked(subs []*Sub) {
	var want bits
	for _, s := range subs {
		want |= s.want.types
	}
	b.subs.Store(&subs)
	b.wants.Store(uint32(want))
}

// remove takes s off the list, so that no new events reach it.
func (b *Bus) remove(s *Sub) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.subs.Load()
	i := slices.Index(old, s)
	if i < 0 {
		return
	}
	next := make([]*Sub, 0, len(old)-1)
	next = append(append(next, old[:i]...), old[i+1:]...)
	b.setSubsLocked(next)
}

// ended forgets s, whose goroutine is about to return.
func (b *Bus) ended(s *Sub) {
	b.remove(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, s)
}

// onHandler reports whether the caller runs inside a handler of this bus.
func (b *Bus) onHandler() bool {
	id := goroutineID()
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.live {
		if s.goroutine.Load() == id {
			return true
		}
	}
	return false
}

// Close stops the bus: it takes no more events, lets the handlers see those
// that are queued, and waits for them until ctx ends. Then the rest is dropped
// and counted, and the error wraps ErrNotDrained and the cause of ctx. Handlers
// that are running then cannot be stopped; their goroutines end when they
// return. Called from inside a handler, Close does not wait for that handler.
// Calling it again is safe and waits again.
func (b *Bus) Close(ctx context.Context) error {
	id := goroutineID()
	b.mu.Lock()
	b.closed = true
	b.setSubsLocked(nil)
	var wait []*Sub
	for s := range b.live {
		s.queue.close(false)
		if s.goroutine.Load() != id {
			wait = append(wait, s)
		}
	}
	b.mu.Unlock()

	for i, s := range wait {
		select {
		case <-s.done:
			continue
		case <-ctx.Done():
		}
		return b.abandon(ctx, wait[i:])
	}
	return nil
}

// abandon drops what the given subscribers still have queued.
func (b *Bus) abandon(ctx context.Context, subs []*Sub) error {
	var left uint64
	var names []string
	for _, s := range subs {
		select {
		case <-s.done:
			continue
		default:
		}
		n := uint64(s.queue.close(true))
		s.dropped.Add(n)
		b.dropped.Add(n)
		left += n
		names = append(names, s.name)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("close event bus: %w: %d dropped, still busy: %q: %w", ErrNotDrained, left, names, context.Cause(ctx))
}

// Dropped returns how many events were dropped so far, summed over all
// subscribers, closed ones included.
func (b *Bus) Dropped() uint64 { return b.dropped.Load() }

// Published returns how many events were offered while somebody listened.
func (b *Bus) Published() uint64 { return b.published.Load() }

// Stats describes the current subscribers, oldest first.
func (b *Bus) Stats() []SubStats {
	subs := *b.subs.Load()
	out := make([]SubStats, len(subs))
	for i, s := range subs {
		out[i] = s.Stats()
	}
	return out
}
