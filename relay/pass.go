package relay

// passLocked sends what it can of ds at once, from the front on, as if each had
// come to the end of the queue and gone on from there. It is for the
// ordinary case, that nothing waits and nothing is out of the ordinary: it leaves
// to the queue whatever it is not sure of. It returns how many it has sent.
func (s *Session) passLocked(ds []delivery) (n int) {
	l := s.live.Load()
	if l == nil || l.maxPacket > 0 || s.queue.len() > 0 || s.window.current < s.window.n || !s.spill.empty() ||
		s.latest != nil || s.unchecked != 0 || s.starved.Load() || s.recorded.Load() != 0 {
		return 0
	}
	limit, _ := s.relay.mayWait()
	limit /= 2
	rules := s.rules.Load()
	var w writer
	for n < len(ds) {
		d := &ds[n]
		if d.qos == 0 || d.until != 0 || d.marks&markLatest != 0 || d.msg.gate != nil || d.msg.expires != 0 ||
			s.window.full(l.window) || rules.MaxQueued < 1 {
			break
		}
		if own := s.window.bytes + d.msg.size(); own > rules.MaxQueuedBytes || !s.isSmall(own) {
			break
		}
		if w.session == nil {
			w = s.writerLocked(l)
		}
		if w.waiting() > limit {
			break
		}
		s.seq++
		d.seq = s.seq
		s.sendLocked(&w, l, d, 0)
		n++
	}
	if w.session != nil {
		w.done()
	}
	return n
}

// passBy0Locked sends the QoS 0 that waits behind QoS>0 for which the client owes
// acknowledgements: only the latter has to wait for those. [MQTT-4.9.0-2] It
// keeps its own order, and stays where the link has more than limit waiting. An
// uplink's far side that does not answer gets nothing.
func (s *Session) passBy0Locked(w *writer, l *live, limit int) (any bool) {
	if s.queue.n0 == 0 || l.taker != nil || s.starvesLocked(w, l, limit) {
		return false
	}
	waiting := s.queue.cut0()
	for i := range waiting {
		d := &waiting[i]
		if s.starvesLocked(w, l, limit) || s.heldLocked(d) {
			s.putBackLocked(waiting[i:])
			return any
		}
		s.relay.queuedBytes.Add(-d.msg.size())
		any = s.sendTakenLocked(w, l, *d) || any
	}
	return any
}

// putBackLocked undoes cut0 for the last of what that has cut.
func (s *Session) putBackLocked(ds []delivery) {
	for i := range ds {
		s.queue.push(ds[i])
	}
}
