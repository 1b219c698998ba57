package relay

import "github.com/synthetism/edgebroker/wire"

// cannotKeep reports whether pub must be refused because somebody to whom it
// would be promised has no room for it: the store, or the queue of a session
// that may lose nothing.
func (p *Port) cannotKeep(pub *wire.Publish, rt *route) bool {
	r := p.relay
	if r.store == nil || rt.level == Memory {
		return false
	}
	room := r.store.Room()
	if room == Ample && r.stuffed.Load() == 0 {
		return false
	}
	switch {
	case pub.Retain && (room == Full && len(pub.Payload) > 0 || room == Broken):
		return true
	case pub.QoS == 0:
		return false
	case room == Broken && pub.QoS == 2 && p.session.recorded.Load() != 0: // its identifier could not be stored
		return true
	}
	for i := range rt.targets {
		t := &rt.targets[i]
		if t.qos > 0 && t.session.cannotKeep(room) && (room != Ample || !t.session.goesAside(rt.topic, pub.Retain && t.retain)) {
			return true
		}
	}
	for _, g := range rt.groups {
		if g.cannotKeep(room) {
			return true
		}
	}
	return false
}

// cannotKeep reports whether a message that the session would have to keep must
// be refused on its behalf.
func (s *Session) cannotKeep(room Room) bool {
	switch {
	case s.recorded.Load() == 0:
		return false
	case room == Broken:
		return true
	}
	return room == Full && s.rules.Load().WhenFull == Refuse || s.stuffed.Load()
}

// cannotKeep is Session.cannotKeep for those of whom one gets the message: the
// members that are online or, when none is, those that are not.
func (g *group) cannotKeep(room Room) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	online, some, roomy := false, false, false
	for _, m := range g.members {
		s := m.session
		if room != Ample && s.cannotKeep(room) {
			return true
		}
		if l := s.live.Load() != nil; l != online {
			if !l {
				continue
			}
			online, roomy = true, false
		}
		some, roomy = true, roomy || !s.stuffed.Load()
	}
	return some && !roomy
}

// weighLocked notes whether the session may take on more.
func (s *Session) weighLocked() {
	rules := s.rules.Load()
	over := false
	if rules.WhenFull == Refuse && s.relay.store != nil {
		n, bytes := s.waitingLocked()
		over = n >= rules.MaxQueued || bytes >= rules.MaxQueuedBytes
	}
	if over == s.stuffed.Load() {
		return
	}
	s.stuffed.Store(over)
	if over {
		s.relay.stuffed.Add(1)
	} else {
		s.relay.stuffed.Add(-1)
	}
}
