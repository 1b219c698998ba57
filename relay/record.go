package relay

// recordLocked tells the store of one step of the session, if the store knows
// it at all.
func (s *Session) recordLocked(c Change) {
	if c.Session = s.recorded.Load(); c.Session != 0 {
		s.relay.store.Record(c)
	}
}

// termsLocked tells the store what the session is kept for from now on, and
// for how long. One that ends with its connection is not the store's business.
func (s *Session) termsLocked(attached bool) {
	r := s.relay
	if r.store == nil {
		return
	}
	if !s.durable() {
		s.unrecordLocked()
		return
	}
	if s.recorded.Load() == 0 {
		s.recorded.Store(r.sessionIDs.Add(1))
	}
	s.recordLocked(Change{Kind: Opened, Terms: s.termLocked()})
	if attached {
		s.recordLocked(Change{Kind: Attached})
	}
}

func (s *Session) termLocked() Terms {
	return Terms{ClientID: s.id, Username: s.username, Owner: s.owner, Subject: s.subject, Expiry: s.expiry.Load()}
}

// unrecordLocked makes the store forget the session.
func (s *Session) unrecordLocked() {
	if s.recorded.Load() != 0 {
		s.recordLocked(Change{Kind: Ended})
		s.recorded.Store(0)
	}
}

// keepsLocked reports whether d is to be recorded when it goes to the queue.
func (s *Session) keepsLocked(d *delivery) bool {
	return d.qos > 0 && d.msg.level > Memory && s.recorded.Load() != 0
}

// keepLocked records d, which goes to the end of the queue.
func (s *Session) keepLocked(d *delivery) {
	r := s.relay
	d.kept = true
	r.keep(d.msg)
	r.bodies.RLock() // the body must not move until what refers to it has been recorded
	defer r.bodies.RUnlock()
	s.recordLocked(Change{Kind: Enqueued, Entry: d.entry()})
}

// entry is what the store needs to know of d.
func (d *delivery) entry() Entry {
	e := Entry{Seq: d.seq, QoS: d.qos, Retain: d.retain, IDs: d.ids, Until: untilTime(d.until), Latest: d.marks&markLatest != 0}
	if d.msg != nil {
		e.Body, e.Message = Ref(d.msg.ref.Load()), d.msg
		e.Open = d.msg.QoS == 2 && d.msg.gate != nil && d.msg.gate.unlogged()
	}
	if d.group != nil {
		e.Share = d.group.shareName()
	}
	return e
}

// unkeep gives up the body of d, which the session does not need any more.
func (s *Session) unkeep(d *delivery) {
	if d.kept && d.msg != nil {
		d.kept = false
		s.relay.unkeep(d.msg)
	}
}

// settledLocked records that the session does not need d any more.
func (s *Session) settledLocked(d *delivery) {
	if d.kept {
		s.recordLocked(Change{Kind: Settled, Seq: d.seq, Last: d.seq})
		s.unkeep(d)
	}
}
