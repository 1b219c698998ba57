package relay

import (
	"sync"
	"sync/atomic"

	"github.com/synthetism/edgebroker/wire"
)

// gate holds messages back until what they have caused is stored: those of QoS
// 2 from clients whose sessions are kept, which would otherwise be sent once
// before a crash and once after it, and retained ones, whose effect must not
// be seen and then be undone.
type gate struct {
	open atomic.Bool

	mu      sync.Mutex // guards everything that follows
	logged  bool       // Received has been recorded for every message behind it that needs it
	failed  uint64     // not 0: the store has not kept them: their publisher was told nothing and will send them again
	waiters []*Session
}

// admits reports whether messages may pass; if not, s is resumed when they
// may. The caller holds s.mu.
func (g *gate) admits(s *Session) bool {
	if g.open.Load() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open.Load() {
		return true
	}
	g.waiters = append(g.waiters, s)
	return false
}

// lift opens the gate and lets the sessions that wait go on. Call it without
// locks.
func (g *gate) lift(r *Relay, err error) {
	g.mu.Lock()
	if err != nil {
		g.failed = r.failures.Add(1)
	}
	g.open.Store(true)
	waiters := g.waiters
	g.waiters = nil
	g.mu.Unlock()
	for _, s := range waiters {
		s.resume()
	}
}

// void reports whether messages behind the gate are not to be delivered.
func (g *gate) void() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed > 0
}

// stored reports whether what is behind the gate has been stored after all: by
// a snapshot.
func (g *gate) stored(r *Relay) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed <= r.healed.Load()
}

// unlogged reports whether messages of QoS 2 behind the gate are yet to be
// followed by Received.
func (g *gate) unlogged() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.logged
}

// resume sends what s can be sent by now.
func (s *Session) resume() {
	s.mu.Lock()
	s.holding = false
	sent := s.pumpLocked()
	s.mu.Unlock()
	if sent {
		s.flush()
	}
}

// catchUpLocked makes what follows from an earlier connection wait until what
// that has recorded is stored: a PUBREL, after which the client forgets, and
// what has entered. It returns what is to be committed for that, nil if nothing follows.
func (s *Session) catchUpLocked() *commit {
	s.catching = nil
	if s.recorded.Load() == 0 {
		return nil
	}
	c := &commit{relay: s.relay}
	for i := range s.window.n {
		if s.window.at(i).state == awaitPubcomp {
			s.catching = &gate{logged: true}
			c.gates = append(c.gates, s.catching)
			break
		}
	}
	if s.entry.gate != nil { // it may have been lifted in vain
		s.entry.gate = &gate{logged: true}
		c.gates = append(c.gates, s.entry.gate)
	}
	if len(c.gates) == 0 {
		return nil
	}
	return c
}

// catchingUpLocked reports whether what was sent on an earlier connection must
// not be sent again yet. If the store has failed meanwhile, the client must
// come again for it.
func (s *Session) catchingUpLocked(l *live) bool {
	g := s.catching
	if g == nil {
		return false
	}
	if s.holding && !g.open.Load() {
		return true
	}
	if s.holding = !g.admits(s); s.holding {
		return true
	}
	if g.void() {
		l.link.Kick(wire.UnspecifiedError, "internal_error")
		return true
	}
	s.catching = nil
	return false
}

// heldLocked reports whether d must wait for the store; if so, s goes on by
// itself afterwards.
func (s *Session) heldLocked(d *delivery) bool {
	g := d.msg.gate
	if g == nil || !d.msg.Retain && (d.qos < 2 || !d.kept) {
		return false
	}
	if s.holding && !g.open.Load() {
		return true
	}
	s.holding = !g.admits(s)
	return s.holding
}

// voidLocked reports whether d must not be delivered, since it was held back for
// the store and that has failed. What was not held back may come twice and must
// not be missing in its order.
func (s *Session) voidLocked(d *delivery) bool {
	g := d.msg.gate
	if g == nil || d.qos < 2 && !d.msg.Retain || !g.void() {
		return false
	}
	return !d.retain || !g.stored(s.relay)
}

// purge drops what waits behind gates that have failed, also where nobody
// comes to read it: its publishers will send it again.
func (r *Relay) purge() {
	if !r.purging.CompareAndSwap(false, true) {
		return // the one that runs, or is about to, has yet to look
	}
	r.background(func() {
		r.purging.Store(false)
		for _, s := range r.all() {
			s.purge()
		}
	})
}

func (s *Session) purge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range []*queue{&s.queue, &s.spill.tail} {
		for range q.len() {
			d := q.pop()
			if !s.voidLocked(&d) {
				q.push(d)
				continue
			}
			s.relay.queuedBytes.Add(-d.msg.size())
			if d.marks&markLatest != 0 {
				s.undoneLocked(&d)
			}
			if d.qos == 0 {
				s.queued0.Add(-1)
			}
			s.dropLocked(DropNotStored, d.msg.origin(d.qos), 1)
			s.settledLocked(&d)
		}
	}
	s.weighLocked()
}
