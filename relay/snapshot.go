package relay

// Snapshot records the whole state, so that nothing recorded before is needed
// any more, except the bodies and chunks that it refers to. What changes
// meanwhile is recorded as ever, and for each session and topic in its order.
//
// What it returns is for Stored.
func (r *Relay) Snapshot() (mark uint64) {
	mark = r.failures.Load()
	r.moving.Lock() // what leaves one session and has not reached another would be in neither
	defer r.moving.Unlock()
	r.mu.Lock()
	all := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
	}
	for s := range r.ending {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		s.moveChunks()
		s.snapshot()
	}
	r.snapshotRetained()
	r.store.Record(Change{Kind: Drops, Drops: r.Drops()})
	return mark
}

// Stored tells the relay that what a Snapshot has recorded is stable, whatever
// has failed before.
func (r *Relay) Stored(mark uint64) {
	if r.healed.Swap(mark) == mark {
		return
	}
	for _, s := range r.all() {
		s.mu.Lock()
		for _, c := range s.spill.chunks {
			if c.held != nil {
				s.spill.fresh = append(s.spill.fresh, c)
				s.spilling.Store(true)
			}
		}
		s.mu.Unlock()
		s.commitChunks()
	}
}

// Drops returns how many messages have been dropped, by reason, ever since the
// store was made.
func (r *Relay) Drops() map[string]uint64 {
	drops := make(map[string]uint64)
	for reason := range dropReasons {
		if n := r.dropped[reason].Load(); n > 0 {
			drops[reason.String()] = n
		}
	}
	return drops
}

func (s *Session) snapshot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recorded.Load() != 0 && !s.ended.Load() {
		s.relay.store.Record(Change{Kind: Whole, Session: s.recorded.Load(), State: s.stateLocked()})
	}
	s.forgetLoadedLocked()
}

// stateLocked is what the store is to keep of the session.
func (s *Session) stateLocked() *SessionState {
	st := &SessionState{ID: s.recorded.Load(), Terms: s.termLocked(), Attached: s.port != nil, Detached: s.detached,
		NextSeq: s.seq, Sent: s.seen, Will: s.will, WillDue: s.willDue}
	for _, sub := range s.subs {
		st.Subs = append(st.Subs, sub.Subscription)
	}
	for id, in := range s.inbound {
		if in.logged {
			st.Inbound = append(st.Inbound, id)
		}
	}
	for i := range s.window.n {
		e := s.window.at(i)
		if !e.kept {
			continue
		}
		entry := s.entryLocked(&e.delivery)
		entry.HalfAcked = e.state == awaitPubcomp
		if e.id != packetID(e.seq) {
			entry.PacketID = e.id
		}
		st.Front = append(st.Front, entry)
	}
	for i := range s.queue.len() {
		if d := s.queue.at(i); d.kept {
			st.Front = append(st.Front, s.entryLocked(d))
		}
	}
	for _, c := range s.spill.chunks {
		st.Chunks = append(st.Chunks, c.Chunk)
	}
	for i := range s.spill.tail.len() {
		st.Tail = append(st.Tail, s.entryLocked(s.spill.tail.at(i)))
	}
	return st
}

// entryLocked is the entry of d, whose body is moved first if it must be.
func (s *Session) entryLocked(d *delivery) Entry {
	if d.msg != nil {
		s.relay.vacate(d.msg)
	}
	return d.entry()
}

// snapshotRetained records the retained messages, one by one while none can be
// replaced.
func (r *Relay) snapshotRetained() {
	r.retained.mu.RLock()
	defer r.retained.mu.RUnlock()
	r.retained.root.each(func(m *Message) {
		if m.retained.Load() {
			r.store.Record(Change{Kind: Retained, Topic: m.Topic, Ref: r.vacate(m)})
		}
	})
}

func (k *kept) each(found func(*Message)) {
	if k.msg != nil {
		found(k.msg)
	}
	for _, c := range k.children {
		c.each(found)
	}
}
