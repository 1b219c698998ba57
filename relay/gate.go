package relay

import (
	"sync"
	"sync/atomic"
)

// gate holds messages back until what they have caused is stored: those of QoS
// 2 from clients whose sessions are kept, which would otherwise be sent once
// before a crash and once after it, and retained ones, whose effect must not
// be seen and then be undone.
type gate struct {
	open atomic.Bool

	mu      sync.Mutex // guards everything that follows
	logged  bool       // Received has been recorded for every message behind it that needs it
	failed  bool       // the store has not kept them: their publisher was told nothing and will send them again
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
func (g *gate) lift(err error) {
	g.mu.Lock()
	g.failed = err != nil
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
	return g.failed
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
