package relay

// Access decides what a client may publish and be sent. Its methods must be
// cheap, safe for concurrent use, and not call back. Answers are remembered:
// when they change, call Relay.AccessChanged.
type Access interface {
	CanPublish(topic string) bool
	CanReceive(topic string) bool

	// Same reports whether the answers of other are always these.
	Same(other Access) bool
}

// access is an Access that may be none, which allows everything.
type access struct{ Access }

func (a access) publish(topic string) bool { return a.Access == nil || a.CanPublish(topic) }
func (a access) receive(topic string) bool { return a.Access == nil || a.CanReceive(topic) }

func (a access) same(other Access) bool {
	if a.Access == nil || other == nil {
		return a.Access == other
	}
	return a.Access.Same(other)
}

// moved makes all routes stale.
func (t *subscriptions) moved() { t.changed("#") }

// AccessChanged makes the relay ask every Access anew: about messages to come,
// and about those that wait.
func (r *Relay) AccessChanged() {
	r.subs.moved()
	for _, s := range r.all() {
		s.mu.Lock()
		s.recheckLocked()
		s.mu.Unlock()
	}
}

// setAccessLocked puts a in force. moved reports whether routes that lead to
// the session may be wrong now.
func (s *Session) setAccessLocked(a Access) (moved bool) {
	old := s.access.Swap(&access{a})
	if old != nil && old.same(a) {
		return false
	}
	s.recheckLocked()
	return len(s.subs) > 0
}

// recheckLocked makes messages that wait be looked at again before they are
// sent: they were let in under earlier rights.
func (s *Session) recheckLocked() { s.unchecked = s.seq + 1 }

// deniedLocked reports whether d was let in under earlier rights and may not be
// sent any more.
func (s *Session) deniedLocked(d *delivery) bool {
	switch {
	case s.unchecked == 0:
		return false
	case d.seq >= s.unchecked: // as are all behind it, but for QoS 0, which was looked at then too
		s.unchecked = 0
		return false
	}
	return !s.mayReceive(d.msg.Topic)
}

// mayReceive reports whether the session's client may be sent messages on topic.
func (s *Session) mayReceive(topic string) bool {
	a := s.access.Load()
	return a == nil || a.receive(topic)
}
