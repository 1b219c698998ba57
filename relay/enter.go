package relay

import "github.com/synthetism/edgebroker/wire"

// entry is what a session was given by no publisher, whose commit would say
// when it is stored: retained messages that it has asked for, and what was
// another's in a shared subscription. QoS 2 of that is not sent before. Else a
// crash would take back the packet identifier, but not what the client has
// received by it, and the client would take the next message with that
// identifier for the same. [MQTT-4.3.3-10] The session's mu guards it.
type entry struct {
	gate *gate  // nil if there is none
	last uint64 // the greatest seq that must wait for it
	need Level  // of what has entered and is not committed; Memory if that is nothing
}

// enterLocked is pushLocked for such a message; commitEntered must follow.
func (s *Session) enterLocked(d delivery) (any bool) {
	if d.qos == 2 && s.keepsLocked(&d) {
		e := &s.entry
		if e.need == Memory {
			e.gate = &gate{logged: true}
		}
		e.need, e.last = max(e.need, d.msg.level), s.seq+1
	}
	return s.pushLocked(d)
}

// commitEntered lets what has entered be sent when it is stored. Call it
// without locks.
func (s *Session) commitEntered() {
	s.mu.Lock()
	need, g := s.entry.need, s.entry.gate
	s.entry.need = Memory
	s.mu.Unlock()
	if need > Memory {
		s.relay.store.Commit(need, &commit{relay: s.relay, gates: []*gate{g}})
	}
}

// enteringLocked reports whether d, the front of the queue, must wait until it
// is stored. If the store has failed, the client must come again for it.
func (s *Session) enteringLocked(l *live, d *delivery) bool {
	e := &s.entry
	if e.gate == nil || d.qos < 2 || !d.kept || d.seq > e.last {
		return false
	}
	if s.holding && !e.gate.open.Load() {
		return true
	}
	if s.holding = !e.gate.admits(s); s.holding {
		return true
	}
	if e.gate.void() {
		l.link.Kick(wire.UnspecifiedError, "internal_error")
		return true
	}
	e.gate = nil
	return false
}
