package relay

// Totals reads the counters.
func (r *Relay) Totals() Totals {
	t := Totals{Dropped: make(map[string]uint64), Refused: r.refused.Load(), Slowed: r.slowed.Load(), Expired: r.expired.Load(), QueuedB: r.queued(),
		ShedRetained: r.shed.retained.Load(), ShedSpilled: r.shed.spilled.Load(),
		Delivery: r.delivery.read(), Sizes: r.sizes.read()}
	for reason := range dropReasons {
		if n := r.dropped[reason].Load(); n > 0 {
			t.Dropped[reason.String()] = n
		}
	}
	t.Subs, t.Shared = r.subs.counts()
	t.Retained, t.RetainedB = r.retained.totals()
	for _, s := range r.count(&t) {
		s.mu.Lock()
		n, _ := s.waitingLocked()
		t.Queued += n
		t.Inflight += s.window.n
		s.mu.Unlock()
	}
	return t
}

// count adds up what is counted without a session's lock, all of it at one
// point in the lives of sessions so that totals never go back, and returns the
// sessions: one that is slow must not hold up who connects.
func (r *Relay) count(t *Totals) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Received, t.Sent = r.retired.received, r.retired.sent
	t.Own.accumulate(&r.own)
	for s := range r.ending {
		t.Received.accumulate(&s.received)
		t.Sent.accumulate(&s.sent)
	}
	t.Sessions = len(r.sessions)
	all := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
		t.Received.accumulate(&s.received)
		t.Sent.accumulate(&s.sent)
		if s.live.Load() != nil {
			t.Connected++
		}
	}
	return all
}

// all is the sessions at this moment, for those who look at one after the other
// and must not hold up who connects.
func (r *Relay) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
	}
	return all
}

// Sessions describes every session, in no order.
func (r *Relay) Sessions() []SessionInfo {
	all := r.all()
	out := make([]SessionInfo, len(all))
	for i, s := range all {
		out[i] = s.info()
	}
	return out
}

// Session describes the session of one client with its subscriptions.
func (r *Relay) Session(client string) (SessionInfo, []SubscriptionInfo, bool) {
	r.mu.Lock()
	s := r.sessions[client]
	r.mu.Unlock()
	if s == nil {
		return SessionInfo{}, nil, false
	}
	return s.info(), s.subscriptions(), true
}

// Discard ends the session of client if it is not connected, and reports
// whether there was such a session.
func (r *Relay) Discard(client string) bool {
	r.mu.Lock()
	s := r.sessions[client]
	r.mu.Unlock()
	if s == nil {
		return false
	}
	s.mu.Lock()
	attached, last := s.port != nil, s.opened
	s.mu.Unlock()
	if attached {
		return false
	}
	r.remove(s, last)
	return true
}
