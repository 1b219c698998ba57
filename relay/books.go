package relay

import "sync"

// What becomes of a message is counted at both ends: by its publisher when it
// comes and when copies of it are made, and by the session of each copy when
// that is sent, acknowledged or lost. Relay.Balance compares the two.

// class tells copies that are sent and forgotten from those that are
// acknowledged.
type class byte

const (
	once  class = iota // QoS 0
	acked              // QoS 1 and 2
	classes
)

func classOf(qos byte) class { return class(min(qos, 1)) }

// tally is a publisher's books. They change only while its turn lasts.
type tally struct {
	arrived [3]uint64       // publishes, by QoS
	made    [classes]uint64 // copies for sessions
	sent    uint64          // copies at QoS 0 that went straight to a connection
	rare    *rareTally      // nil: nothing of that
}

type rareTally struct {
	refused    [3]uint64
	unheard    [3]uint64 // nobody had subscribed
	repeated   [3]uint64 // QoS 2 that had been received before
	cut        [3]uint64 // the client was disconnected instead
	unanswered [3]uint64 // held back until the connection had ended
	held       [3]uint64 // held back now
	late       [classes]uint64
	lost       [dropReasons][classes]uint64
}

func (t *tally) seldom() *rareTally {
	if t.rare == nil {
		t.rare = &rareTally{}
	}
	return t.rare
}

func (t *tally) add(o *tally) {
	for q := range t.arrived {
		t.arrived[q] += o.arrived[q]
	}
	for c := range t.made {
		t.made[c] += o.made[c]
	}
	t.sent += o.sent
	if o.rare == nil {
		return
	}
	r := t.seldom()
	for q := range o.rare.refused {
		r.refused[q] += o.rare.refused[q]
		r.unheard[q] += o.rare.unheard[q]
		r.repeated[q] += o.rare.repeated[q]
		r.cut[q] += o.rare.cut[q]
		r.unanswered[q] += o.rare.unanswered[q]
		r.held[q] += o.rare.held[q]
	}
	for c := range classes {
		r.late[c] += o.rare.late[c]
		for why := range r.lost {
			r.lost[why][c] += o.rare.lost[why][c]
		}
	}
}

// turn is a stretch of a publisher's work at the ends of which its books are
// true: from the first message of a batch of input until what that causes has
// been handed to sessions. Nobody waits for a network or a disk in it. Whoever
// holds all turns sees no message between two places.
type turn struct {
	mu     sync.Mutex
	inside bool // of whoever may use the publisher
}

// enter begins the publisher's turn if it has not begun.
func (p *publisher) enter() {
	if !p.turn.inside {
		p.relay.wake()
		p.turn.begin()
	}
}

func (t *turn) begin() {
	t.mu.Lock()
	t.inside = true
}

// depart ends it.
func (p *publisher) depart() {
	if p.turn.inside {
		p.unloadAll()
		p.turn.inside = false
		p.turn.mu.Unlock()
	}
}

// within has work done in a turn: in the one that lasts, or in one of its own.
func (p *publisher) within(work func()) {
	lasts := p.turn.inside
	p.enter()
	work()
	if !lasts {
		p.depart()
	}
}

// missed counts copies at QoS 0 that a session does not get, and of which it
// does not know.
func (p *publisher) missed(s *Session, why DropReason) {
	p.tally.seldom().lost[why][once] += uint64(p.run.n)
	s.drop(why, origin{p.id, p.run.rt.topic, 0}, p.run.n)
}

// house is what publishes without a connection: wills, the program, the broker
// of itself.
type house struct {
	turns  sync.RWMutex // held for reading in a turn; before the other
	sealed bool         // see Relay.Seal; turns guards it

	mu sync.Mutex // guards what follows
	tally
}

// inHouse has a publisher without a connection do its work in a turn. It reports
// false, and does nothing, if the relay is sealed.
func (r *Relay) inHouse(p *publisher, work func()) bool {
	r.wake()
	r.house.turns.RLock()
	defer r.house.turns.RUnlock()
	if r.house.sealed {
		return false
	}
	work()
	p.unloadAll()
	r.house.mu.Lock()
	defer r.house.mu.Unlock()
	r.house.tally.add(&p.tally)
	p.tally = tally{}
	return true
}

// refuse counts what is refused before it has a publisher.
func (h *house) refuse(qos byte) {
	h.turns.RLock()
	defer h.turns.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arrived[qos]++
	h.seldom().refused[qos]++
}

// books are those of a session. Its mu guards them.
type books struct {
	made      [classes]uint64 // copies of retained messages
	sent      uint64          // copies at QoS 0
	delivered uint64          // copies that the client has acknowledged
	rare      *rareBooks      // nil: nothing of that
}

type rareBooks struct {
	recovered [classes]uint64 // copies that the store, or an earlier process, has brought
	passed    [classes]uint64 // copies given to another member of a group
	gained    [classes]uint64 // the same, for the one who got it
	lost      [dropReasons][classes]uint64
}

func (b *books) seldom() *rareBooks {
	if b.rare == nil {
		b.rare = &rareBooks{}
	}
	return b.rare
}

func (b *books) add(o *books) {
	for c := range b.made {
		b.made[c] += o.made[c]
	}
	b.sent += o.sent
	b.delivered += o.delivered
	if o.rare == nil {
		return
	}
	r := b.seldom()
	for c := range classes {
		r.recovered[c] += o.rare.recovered[c]
		r.passed[c] += o.rare.passed[c]
		r.gained[c] += o.rare.gained[c]
		for why := range r.lost {
			r.lost[why][c] += o.rare.lost[why][c]
		}
	}
}

// dropLocked counts n copies that the session has had and that do not reach its
// client, and reports them.
func (s *Session) dropLocked(why DropReason, o origin, n int) {
	s.books.seldom().lost[why][classOf(o.qos)] += uint64(n)
	s.drop(why, o, n)
}

// dropUnlocked is dropLocked for who does not hold the lock.
func (s *Session) dropUnlocked(why DropReason, o origin, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(why, o, n)
}

// passedOn counts a copy that went from s to another member of its group.
func (s *Session) passedOn(from, to byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.books.seldom()
	r.passed[classOf(from)]++
	r.gained[classOf(to)]++
}
