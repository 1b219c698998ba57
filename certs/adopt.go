package certs

import "time"

// Accepts says why what o has loaded may not take the place of what is in use:
// it is over, and what is in use is not.
func (s *Source) Accepts(o *Source) error { return s.accepts(o.current.Load().material) }

// Adopt uses what o has loaded from the next handshake on, as Reload would if
// it read just that. It cannot fail. o must be of the same files, and be loaded.
func (s *Source) Adopt(o *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := o.current.Load()
	if old := s.current.Load(); old == nil || old.sum != m.sum {
		s.put(m.material, m.sum)
	}
	o.mu.Lock()
	s.seen, s.last = o.seen, o.last
	o.mu.Unlock()
	s.settled, s.failing = false, "" // the next look makes sure, as after Reload
	s.remind()
}

// Since is when what is in use came into use: a connection that was accepted
// later has been judged by it, and by nothing older. The zero time before Load.
func (s *Source) Since() time.Time {
	if at := s.since.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
