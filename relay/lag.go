package relay

import "time"

// wait is how long the oldest message of a session has been waiting. It goes by
// when the message came, which is known to a second.
type wait struct {
	age     time.Duration
	atLeast bool // it is a message of which only a later one is known, or the store has brought it
}

// seconds is the clock by which messages know when they came: seconds since the
// relay was made, from 1 on.
func (r *Relay) seconds() uint32 { return uint32(time.Since(r.started)/time.Second) + 1 }

// oldestLocked looks at what waits to be sent, not at what is to be
// acknowledged.
func (s *Session) oldestLocked() (w wait) {
	known := func(list *queue) bool {
		if list.len() == 0 {
			return false
		}
		at := list.front().msg.came
		if at == 0 {
			w.atLeast = true
			return false
		}
		w.age = time.Since(s.relay.started) - time.Duration(at-1)*time.Second
		return true
	}
	if known(&s.queue) {
		return w
	}
	if len(s.spill.chunks) > 0 {
		w.atLeast = true
	}
	known(&s.spill.tail)
	return w
}

// Lag is a session whose client is connected and for whom something waits.
type Lag struct {
	ClientID string
	Queued   int           // messages
	Bytes    int64         // their size, unacknowledged ones included
	Pending  int           // bytes sent that the network has not taken
	Oldest   time.Duration // how long the oldest of Queued has waited, or longer; to a second
}

// Lagging are the sessions for whose clients something waits at this moment, in
// no order.
func (r *Relay) Lagging() []Lag {
	var list []Lag
	for _, s := range r.all() {
		l := s.live.Load()
		if l == nil {
			continue
		}
		pending := l.link.Pending()
		s.mu.Lock()
		n, bytes := s.waitingLocked()
		if n > 0 || pending > 0 {
			list = append(list, Lag{ClientID: s.id, Queued: n, Bytes: bytes, Pending: pending, Oldest: s.oldestLocked().age})
		}
		s.mu.Unlock()
	}
	return list
}
