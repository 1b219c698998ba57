package relay

// Hang takes what everybody who publishes waits for, until release.
func (r *Relay) Hang() (release func()) {
	r.subs.mu.Lock()
	return r.subs.mu.Unlock
}

// Weigh adds up what lies in memory in the queues of all sessions, with each body
// that is charged once counted once, and what Totals calls it.
func (r *Relay) Weigh() (sum, told int64) {
	copies := make(map[*Message]int32)
	add := func(m *Message) {
		if sum += m.size(); m.again == nil {
			return
		}
		if copies[m]++; copies[m] > 1 {
			sum -= int64(len(m.Payload))
		}
	}
	all := r.all()
	for _, s := range all {
		s.mu.Lock()
		defer s.mu.Unlock()
		sum += s.owedBytes + willSize(s.will)
		for _, q := range []*queue{&s.queue, &s.spill.tail} {
			for i := range q.len() {
				add(q.at(i).msg)
			}
		}
		for _, c := range s.spill.chunks {
			for i := range c.held {
				add(c.held[i].msg)
			}
		}
		for i := range s.window.n {
			if e := s.window.at(i); e.msg != nil {
				add(e.msg)
			}
		}
	}
	for m, n := range copies {
		if got := m.copies.Load(); got != n {
			sum += 1 << 40 * int64(got-n) // which nobody can overlook
		}
	}
	return sum, r.queued()
}
