package relay_test

import (
	"sync"

	"github.com/synthetism/edgebroker/relay"
)

// store is a Store that commits at once, or, while hold is set, when the test
// says so.
type store struct {
	mu      sync.Mutex
	hold    bool
	changes []relay.Change // of all commits
	waiting []relay.Done
}

func (s *store) Commit(changes []relay.Change, done relay.Done) {
	s.mu.Lock()
	s.changes = append(s.changes, changes...)
	hold := s.hold
	if hold {
		s.waiting = append(s.waiting, done)
	}
	s.mu.Unlock()
	if !hold {
		done.Committed(nil)
	}
}

// release tells err to all who wait, in order, and holds nothing back any
// more.
func (s *store) release(err error) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting, s.hold = nil, false
	s.mu.Unlock()
	for _, done := range waiting {
		done.Committed(err)
	}
}

// committed takes the changes seen since the last call.
func (s *store) committed() []relay.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.changes
	s.changes = nil
	return c
}
