package events

import "sync"

// queue is a bounded first-in first-out queue of events with one reader. Its
// memory grows with use, up to the bound, and is given back once it runs empty
// after a burst: most listeners never come near their bound.
type queue struct {
	max int // most events held, at least 1; those beyond the first hold queueBytes at most

	mu     sync.Mutex // held for a few instructions, never while a handler runs
	ring   []Event
	head   int    // index in ring of the oldest event
	n      int    // events held
	bytes  int    // their sizes
	pushed uint64 // events taken in ever
	closed bool
	wake   chan struct{} // capacity 1: a token means the state has changed
}

// keepRing is the ring size, in events, that an empty queue may keep.
const keepRing = 64

// queueBytes bounds what the events of a queue may hold together: payloads, topics
// and filters are often theirs alone.
const queueBytes = 4 << 20

func newQueue(bound int) *queue {
	return &queue{max: max(bound, 1), wake: make(chan struct{}, 1)}
}

// push appends e. It reports false if the queue is full. A closed queue
// swallows the event: nobody waits for it.
func (q *queue) push(e Event) bool {
	size := e.size()
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return true
	}
	if q.n == q.max || q.n > 0 && q.bytes+size > queueBytes {
		q.mu.Unlock()
		return false
	}
	if q.n == len(q.ring) {
		q.growLocked()
	}
	q.ring[(q.head+q.n)%len(q.ring)] = e
	q.n++
	q.pushed++
	q.bytes += size
	q.mu.Unlock()
	q.signal()
	return true
}

// growLocked doubles the ring, up to the bound.
func (q *queue) growLocked() {
	ring := make([]Event, min(q.max, max(8, 2*len(q.ring))))
	k := copy(ring, q.ring[q.head:])
	copy(ring[k:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

// pop waits for the oldest event and removes it. It reports false when the
// queue is closed and empty. Only one goroutine may call it.
func (q *queue) pop() (Event, bool) {
	for {
		q.mu.Lock()
		if q.n > 0 {
			e := q.ring[q.head]
			q.ring[q.head] = Event{}
			q.head = (q.head + 1) % len(q.ring)
			q.n--
			q.bytes -= e.size()
			q.mu.Unlock()
			return e, true
		}
		if len(q.ring) > keepRing {
			q.ring, q.head = nil, 0
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return Event{}, false
		}
		<-q.wake
	}
}

// close lets the reader end once the queue is empty, which it is at once if
// discard is set. It returns how many events it discarded.
func (q *queue) close(discard bool) (discarded int) {
	q.mu.Lock()
	q.closed = true
	if discard {
		discarded = q.n
		q.ring, q.head, q.n, q.bytes = nil, 0, 0, 0
	}
	q.mu.Unlock()
	q.signal()
	return discarded
}

// taken is how many events it has taken in ever.
func (q *queue) taken() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushed
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// signal wakes the reader, or lets it know that it need not sleep.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
