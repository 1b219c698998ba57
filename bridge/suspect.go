package bridge

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// A far side may end the connection at one message, as AWS IoT Core does at a
// topic that is not allowed: that message comes first again on the next
// connection, and nothing passes any more. A line that comes and goes looks much
// the same from here. So a message becomes suspect when suspicion connections in
// a row were ended by the far side while it was the first without an answer, and
// is then tried: a connection on which nothing else goes, that has to live on in
// silence for a random time, answer PINGREQ, and end soon after the message has
// been written. A line that ends connections at random, or after a fixed time,
// does that once in twenty times at most, and has to do it strikes times in a row;
// anything else lets the message go. Nothing is known of it after a restart.
const (
	suspicion = 3
	strikes   = 5

	// Topics at which a message was given up within probation are known: there
	// one connection and one trial will do, and what follows after knownTopic
	// messages is not tried any more until probation is over, or somebody has dead
	// letters sent again.
	knownTopic = 2
	probation  = time.Hour
	maxKnown   = 1000 // topics

	soonAtLeast = 250 * time.Millisecond // how soon the end has to come
	soonAtMost  = 10 * time.Second
	quiet       = 8 // of these times the silence before, to 3 times as much
)

const (
	endsAtIt    = "the far side ends the connection at it"
	endsAtTopic = "the far side ends the connection at its topic"
)

// suspect is what an uplink knows of messages at which the far side hangs up.
type suspect struct {
	active atomic.Bool // there may be something to look up

	mu        sync.Mutex // guards what follows
	seq       uint64     // of the message; 0: none is suspect
	topic     string     // on the far side
	count     int        // connections in a row that have ended at it
	more      int        // times the suspicion that is needed, since trials have cleared messages
	slowest   time.Duration
	struck    int
	condemned uint64            // of the message that is to be given up; 0: none
	known     map[string]record // by topic
}

type record struct {
	count int
	until time.Time
}

// trial is a connection on which one message is tried.
type trial struct {
	seq   uint64
	soon  time.Duration // within which a far side that hangs up at it does so
	sent  bool          // the message was; the outbox's mu guards this and held
	held  *held         // the message, before it is sent
	ready chan struct{} // closed when it is held, or another has come instead
	done  chan struct{} // closed when it has been answered
	once  sync.Once
}

type held struct {
	d   relay.Delivery
	out wire.Out
}

// first is a message that has not been answered.
type first struct {
	seq   uint64
	topic string
	at    int64 // when it was written; 0: not at all
}

// first is the oldest message without an answer; its seq is 0 if there is none.
func (o *outbox) first() (f first) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id, ok := o.oldestLocked(); ok {
		if fl := o.flying[id]; fl.m != nil && id != o.canary {
			topic, _ := o.up.out(fl.m.Topic)
			f = first{fl.seq, topic, fl.at}
			if n := len(o.pending); f.at == 0 && o.writing > 0 && n > 0 && fl.serial <= o.pending[n-1].serial {
				f.at = o.begunAt // some of it may have got there
			}
		}
	}
	return f
}

// tries makes the trial that is due on a new connection; nil if none is.
func (s *suspect) tries() *trial {
	s.mu.Lock()
	defer s.mu.Unlock()
	need := suspicion << min(s.more, 2)
	if s.known[s.topic].count > 0 {
		need = 1
	}
	if s.seq == 0 || s.count < need || s.condemned == s.seq {
		return nil
	}
	soon := min(max(2*s.slowest, soonAtLeast), soonAtMost)
	return &trial{seq: s.seq, soon: soon, ready: make(chan struct{}), done: make(chan struct{})}
}

// suspectEnded takes note of how the connection of box has ended.
func (u *Uplink) suspectEnded(box *outbox) {
	f, hung, s := box.first(), box.line.hungUp(), &u.suspect
	took := time.Duration(u.now() - f.at)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t := box.trial.Load(); {
	case t != nil && hung && f.seq == t.seq && took <= t.soon:
		s.struck++
		u.pacer.ease()
		if s.struck >= strikes || s.known[s.topic].count > 0 {
			s.condemnLocked(time.Now())
		}
	case t != nil: // the line is to blame
		s.more++
		s.letGoLocked()
	case !hung || f.seq == 0 || f.at == 0:
		s.letGoLocked()
	case f.seq != s.seq:
		s.letGoLocked()
		s.seq, s.topic, s.count, s.slowest = f.seq, f.topic, 1, took
	default:
		s.count++
		s.slowest = max(s.slowest, took)
	}
}

func (s *suspect) letGoLocked() {
	s.seq, s.topic, s.count, s.slowest, s.struck = 0, "", 0, 0, 0
}

func (s *suspect) condemnLocked(now time.Time) {
	s.condemned = s.seq
	if s.known == nil {
		s.known = make(map[string]record)
	}
	for topic, r := range s.known {
		if now.After(r.until) {
			delete(s.known, topic)
		}
	}
	if r, there := s.known[s.topic]; there || len(s.known) < maxKnown {
		s.known[s.topic] = record{r.count + 1, now.Add(probation)}
	}
	s.more = 0
	s.active.Store(true)
	s.letGoLocked()
}

// fate says why a message is to be given up; empty: it is not.
func (s *suspect) fate(seq uint64, topic string) string {
	if seq == 0 || !s.active.Load() {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq == s.condemned {
		return endsAtIt
	}
	if r := s.known[topic]; r.count >= knownTopic && time.Now().Before(r.until) {
		return endsAtTopic
	}
	return ""
}

// pardon forgets which topics the far side hangs up at.
func (s *suspect) pardon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
}

// finish says that what is tried has been answered.
func (t *trial) finish() {
	select {
	case <-t.done:
	default:
		close(t.done)
	}
}

// cleared says that the far side has answered about a message on trial.
func (s *suspect) cleared() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.more = 0
	s.letGoLocked()
}

// keepBackLocked keeps d on a trial, and reports whether it has: all but the message
// that is tried waits, and QoS 0 is dropped.
func (o *outbox) keepBackLocked(d relay.Delivery, out *wire.Out) bool {
	t := o.trial.Load()
	switch {
	case t == nil || t.sent && d.Seq != t.seq:
		return t != nil && d.QoS == 0
	case d.QoS == 0:
		return true
	case d.Seq == t.seq:
		t.held = &held{d, *out}
		t.once.Do(func() { close(t.ready) })
		return true
	}
	t.once.Do(func() { close(t.ready) }) // the one that was to be tried has gone
	return false
}

// launch sends what is tried, and reports false if that has gone.
func (o *outbox) launch(t *trial) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.held == nil || o.over {
		return false
	}
	t.sent = true
	o.writeLocked(t.held.d, &t.held.out)
	t.held = nil
	o.Flush()
	return true
}

// try is a trial. It ends with the connection, or when the message has been
// cleared and all goes on.
func (x *exchange) try(box *outbox, c *conn, t *trial, l limits) {
	base := quiet * t.soon
	for _, step := range []struct {
		wait  time.Duration
		until <-chan struct{}
	}{
		{x.up.cfg.AckTimeout, t.ready},
		{base + rand.N(2*base), nil},
	} {
		timer := time.NewTimer(step.wait)
		select {
		case <-c.closed:
			timer.Stop()
			return
		case <-timer.C:
		case <-step.until:
		}
		timer.Stop()
	}
	if alive(c, x.up.cfg.AckTimeout) && box.launch(t) {
		select {
		case <-c.closed:
			return
		case <-t.done:
			x.up.suspect.cleared()
		}
	}
	box.trial.Store(nil)
	if err := x.up.near.renew(box, l, box.release); err != nil {
		c.fail(err)
		return
	}
	box.Flush()
}

// alive asks by PINGREQ, and reports whether there was an answer.
func alive(c *conn, patience time.Duration) bool {
	select {
	case <-c.pongs: // of an earlier question
	default:
	}
	if c.writeFrames(wire.AppendPing(nil, wire.PINGREQ)) != nil {
		return false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.pongs:
		return true
	case <-c.closed:
	case <-timer.C:
	}
	return false
}
