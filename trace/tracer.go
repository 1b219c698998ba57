package trace

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Bounds of what traces cost.
const (
	DefaultLimit = 8       // traces at a time
	maxQueued    = 4096    // entries that wait to be taken
	maxQueuedMem = 1 << 20 // bytes that these take, roughly
	maxState     = 4 << 20 // bytes that one trace remembers of aliases and unanswered packets
)

// ErrTooMany says that there are as many traces as there may be.
var ErrTooMany = errors.New("too many traces are going on")

// Tracer is the place from where traces are started. Its methods may be called
// from any goroutine.
type Tracer struct {
	limit   int64
	running atomic.Int64
}

// New returns a Tracer that lets at most limit traces go on at a time.
func New(limit int) *Tracer { return &Tracer{limit: int64(limit)} }

// Running is how many traces go on.
func (t *Tracer) Running() int { return int(t.running.Load()) }

// Start begins a trace, which the caller closes. The error is what Query.Check
// says, or ErrTooMany.
func (t *Tracer) Start(q Query) (*Trace, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if t.running.Add(1) > t.limit {
		t.running.Add(-1)
		return nil, ErrTooMany
	}
	tr := &Trace{q: q, began: time.Now(), ready: make(chan struct{}, 1)}
	tr.close = sync.OnceFunc(func() { t.running.Add(-1) })
	tr.put(Entry{Time: tr.began, What: Began, Note: q.String(), cost: entryCost})
	return tr, nil
}

// Trace is one trace. Join may be called from any goroutine; Take and Close are
// for whoever has started it.
type Trace struct {
	q     Query
	began time.Time
	ready chan struct{} // holds a token while there is something to take
	close func()
	state atomic.Int64 // bytes that taps remember

	mu     sync.Mutex // guards everything that follows
	queue  []Entry
	mem    int
	missed uint64
	conns  uint64 // that have been shown
	closed bool
}

// Close ends the trace: nothing is added any more. Calling it again does nothing.
func (t *Trace) Close() {
	t.mu.Lock()
	t.closed, t.queue = true, nil
	t.mu.Unlock()
	t.close()
}

// Ready gets a value when there is something to take.
func (t *Trace) Ready() <-chan struct{} { return t.ready }

// Take returns what has been seen since it was called last, in order. Where
// entries have been lost since nobody took them, one with What Missed stands.
func (t *Trace) Take() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.queue
	t.queue, t.mem = nil, 0
	if t.missed > 0 { // as the queue was full, all that is lost came after all that is in it
		now := time.Now()
		list = append(list, Entry{Time: now, Since: now.Sub(t.began).Seconds(), What: Missed, Missed: t.missed})
		t.missed = 0
	}
	return list
}

// put adds an entry, or counts it as missed. It never blocks.
func (t *Trace) put(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.missed > 0 || len(t.queue) >= maxQueued || t.mem+e.cost > maxQueuedMem {
		t.missed++
		return
	}
	t.queue = append(t.queue, e)
	t.mem += e.cost
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// number gives a connection its number.
func (t *Trace) number() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
	return t.conns
}

// Party is a connection that may be of interest.
type Party struct {
	Client   string // empty: not known yet
	Remote   string // the client's address as text
	Address  netip.Addr
	Listener string

	// Of one that goes on already.
	Connected time.Time    // since when
	Version   wire.Version // 0: CONNECT has yet to come
	Before    int          // bytes that wait to be sent, which no tap sees

	// AliasTopic, if not nil, tells which topic the client has given an alias
	// before. It is called by Tap.Received only.
	AliasTopic func(alias uint16) string
}

// Join returns a Tap for the connection if the trace is to follow it, else nil.
// Of the same connection it may be asked again when more is known of it.
func (t *Trace) Join(p Party) *Tap {
	if !t.q.follows(p.Client, p.Address) {
		return nil
	}
	tap := &Tap{trace: t, party: p, client: p.Client, version: p.Version}
	if len(t.q.Topics) == 0 {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		if p.Version != 0 || len(t.q.Clients) == 0 {
			tap.introduce(time.Now())
		}
	}
	return tap
}
