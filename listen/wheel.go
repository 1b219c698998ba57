package listen

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/wire"
)

const (
	tick = 200 * time.Millisecond
	// adoptedTicks is how long an adopted connection that was silent for too long
	// has to be read.
	adoptedTicks = 5
	buckets      = 1024 // 205 s; longer timeouts go round more than once

	// When so many readers have asked for the time within spellBegins ticks, the tick is moved on
	// for them as it passes, for so many ticks: a timer five times a second costs less
	// than a look at the clock for each of them.
	manyAsk     = 256
	spellBegins = 2
	spellLasts  = 25
)

// wheel watches keep alive. A connection's reader notes the tick at which it
// last heard something; the wheel looks at a connection only when its timeout
// may have passed, so hearing from it costs one store. One goroutine turns the
// wheel while it has entries: with every tick while many ask for the time, else
// when the first of them would be overdue. Times are monotonic, and a timeout is
// late by up to two ticks, never early. If the process has stood still, a client
// that was heard, or may have been, is not ended for that.
type wheel struct {
	now   atomic.Int64 // the tick, see the method tick; 0: nobody moves it on
	asked atomic.Int64 // how often it was asked for meanwhile, since the tick counted
	rest  *rest.Rest
	turn  sync.WaitGroup

	mu      sync.Mutex // guards everything that follows
	slots   [buckets]*entry
	count   int
	turned  int64     // the last tick whose bucket has been looked at
	next    int64     // the tick of the next look
	graced  bool      // the last look came late, and ended nobody
	counted int64     // the tick at which asked began
	spell   int       // ticks for which it is moved on
	job     *rest.Job // of the goroutine that turns it
	running bool
}

// entry is a connection's place in the wheel. The wheel's mu guards it.
type entry struct {
	conn       *Conn
	next, prev *entry
	timeout    int64 // ticks
	due        int64 // the tick at which to look at it; 0: not in the wheel
}

func newWheel(r *rest.Rest) *wheel { return &wheel{rest: r} }

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
		w.next = w.turned
		w.job = w.rest.Job(0)
		w.turn.Go(w.run)
	}
	// The last heard tick may have begun up to a tick earlier than the frame.
	e.timeout = int64((timeout+tick-1)/tick) + 1
	now := w.elapsed()
	seen := now - int64(silence/tick)
	e.conn.lastSeen.Store(seen)
	due := seen + e.timeout
	if silence > 0 {
		due = max(due, now+adoptedTicks)
	}
	w.insertLocked(e, due)
	w.job.At(w.when(e.due))
}

// remove stops watching e. It may still be found expired while this runs.
func (w *wheel) remove(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.due == 0 {
		return
	}
	w.unlinkLocked(e)
	if w.count == 0 {
		w.job.Within(tick) // to stop
	}
}

// tick is the number of the tick that it is. While many ask it may be the one
// before.
func (w *wheel) tick() int64 {
	if now := w.now.Load(); now != 0 {
		return now
	}
	now := w.elapsed()
	if w.asked.Add(1) == manyAsk {
		w.askedOften(now)
	}
	return now
}

// askedOften begins a spell in which the tick is moved on, if now it is worth it.
func (w *wheel) askedOften(now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running && now-w.counted <= spellBegins {
		w.spell = spellLasts
		w.job.Within(tick)
	}
	w.counted = now
	w.asked.Store(0)
}

func (w *wheel) elapsed() int64 { return int64(time.Since(w.rest.Base())/tick) + 1 }

// when is the moment at which tick n begins.
func (w *wheel) when(n int64) time.Time { return w.rest.Base().Add(time.Duration(n-1) * tick) }

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
	for {
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
		<-w.job.Turn()
	}
}

// advance looks at what has come due and returns those that were not heard in
// time.
func (w *wheel) advance() (expired []*Conn, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stood := w.now.Swap(0)
	now := w.elapsed()
	if stood != 0 && now > stood+1 {
		w.heardLocked(stood, now)
	}
	grace := now > w.next+1 && !w.graced // who was not heard while we slept may wait in the kernel
	w.graced = grace
	for from := max(w.turned+1, now-buckets+1); from <= now; from++ {
		for e := w.slots[from%buckets]; e != nil; {
			next := e.next
			if e.due <= now {
				w.unlinkLocked(e)
				if due := e.conn.lastSeen.Load() + e.timeout; due > now {
					w.insertLocked(e, due)
				} else if grace {
					w.insertLocked(e, now+1)
				} else {
					expired = append(expired, e.conn)
				}
			}
			e = next
		}
	}
	w.turned = now
	if w.running = w.count > 0; !w.running {
		w.job.End()
		return expired, false
	}
	if w.spell > 0 {
		w.spell--
		w.next = now + 1
		w.now.Store(now)
	} else {
		w.next = w.firstLocked(now)
	}
	w.job.At(w.when(w.next))
	return expired, true
}

// heardLocked makes it now that those were heard last who have been heard since
// the tick stood still.
func (w *wheel) heardLocked(stood, now int64) {
	for _, e := range w.slots {
		for ; e != nil; e = e.next {
			if seen := e.conn.lastSeen.Load(); seen >= stood && seen < now {
				e.conn.lastSeen.CompareAndSwap(seen, now)
			}
		}
	}
}

// firstLocked is the tick, after now, at which the first of all entries is overdue
// if nothing is heard of it. There is one.
func (w *wheel) firstLocked(now int64) int64 {
	first := int64(math.MaxInt64)
	for at := now + 1; at <= now+buckets; at++ {
		for e := w.slots[at%buckets]; e != nil; {
			next := e.next
			due := e.conn.lastSeen.Load() + e.timeout
			if due > e.due { // heard since it got this place
				w.unlinkLocked(e)
				w.insertLocked(e, due)
			}
			first = min(first, e.due)
			e = next
		}
		if first <= at {
			return first
		}
	}
	return first
}

// wait waits until the wheel has stopped, which it does when it is empty.
func (w *wheel) wait() {
	w.mu.Lock()
	if w.running {
		w.job.At(time.Now())
	}
	w.mu.Unlock()
	w.turn.Wait()
}
