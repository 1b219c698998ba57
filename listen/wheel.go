package listen

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const (
	tick = 250 * time.Millisecond
	// adoptedTicks is how long an adopted connection that was silent for too long
	// has to be read.
	adoptedTicks = 4
	buckets      = 1024 // 256 s; longer timeouts go round more than once
)

// wheel watches keep alive. A connection's reader notes the tick at which it
// last heard something; the wheel looks at a connection only when its timeout
// may have passed, so hearing from it costs one store. One goroutine turns the
// wheel while it has entries. Times are monotonic, and a timeout is late by up
// to two ticks, never early.
type wheel struct {
	now  atomic.Int64 // ticks since base; stands still while there are no entries
	base time.Time
	turn sync.WaitGroup
	look chan struct{} // has it see at once whether there is anything left

	mu      sync.Mutex // guards everything that follows
	slots   [buckets]*entry
	count   int
	turned  int64 // the last tick whose bucket has been looked at
	running bool
}

// entry is a connection's place in the wheel. The wheel's mu guards it.
type entry struct {
	conn       *Conn
	next, prev *entry
	timeout    int64 // ticks
	due        int64 // the tick at which to look at it; 0: not in the wheel
}

func newWheel() *wheel { return &wheel{base: time.Now(), look: make(chan struct{}, 1)} }

// add begins to watch e, unless timeout is 0.
func (w *wheel) add(e *entry, timeout time.Duration) { w.addHeard(e, timeout, 0) }

// addHeard is add for a connection that was heard silence ago. What it has sent
// since has time to be read.
func (w *wheel) addHeard(e *entry, timeout, silence time.Duration) {
	if timeout <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.due != 0 {
		return
	}
	if !w.running {
		w.running = true
		w.turned = w.elapsed()
		w.now.Store(w.turned)
		w.turn.Add(1)
		go w.run()
	}
	// The last heard tick may have begun up to a tick earlier than the frame.
	e.timeout = int64((timeout+tick-1)/tick) + 1
	now := w.now.Load()
	seen := now - int64(silence/tick)
	e.conn.lastSeen.Store(seen)
	due := seen + e.timeout
	if silence > 0 {
		due = max(due, now+adoptedTicks)
	}
	w.insertLocked(e, due)
}

// remove stops watching e. It may still be found expired while this runs.
func (w *wheel) remove(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.due != 0 {
		w.unlinkLocked(e)
	}
}

func (w *wheel) elapsed() int64 { return int64(time.Since(w.base)/tick) + 1 }

func (w *wheel) insertLocked(e *entry, due int64) {
	slot := &w.slots[due%buckets]
	e.due, e.prev, e.next = due, nil, *slot
	if e.next != nil {
		e.next.prev = e
	}
	*slot = e
	w.count++
}

func (w *wheel) unlinkLocked(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.slots[e.due%buckets] = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.due, e.next, e.prev = 0, nil, nil
	w.count--
}

// run turns the wheel until it is empty.
func (w *wheel) run() {
	defer w.turn.Done()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-w.look:
		}
		expired, more := w.advance()
		for _, c := range expired {
			if c.frozen() { // nobody listens to it
				continue
			}
			c.Kick(wire.KeepAliveTimeout, EndKeepAlive)
		}
		if !more {
			return
		}
	}
}

// advance looks at what has come due and returns those that were not heard in
// time.
func (w *wheel) advance() (expired []*Conn, more bool) {
	now := w.elapsed()
	w.now.Store(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	for from := max(w.turned+1, now-buckets+1); from <= now; from++ {
		for e := w.slots[from%buckets]; e != nil; {
			next := e.next
			if e.due <= now {
				w.unlinkLocked(e)
				if due := e.conn.lastSeen.Load() + e.timeout; due > now {
					w.insertLocked(e, due)
				} else {
					expired = append(expired, e.conn)
				}
			}
			e = next
		}
	}
	w.turned = now
	w.running = w.count > 0
	return expired, w.running
}

// wait waits until the wheel has stopped, which it does when it is empty.
func (w *wheel) wait() {
	select {
	case w.look <- struct{}{}:
	default:
	}
	w.turn.Wait()
}
