package bridge

import (
	"slices"
	"sync"
	"time"
)

// Share is the rate that the lanes of an uplink have in common. A lane with
// something to send goes before all lanes of higher ranks: what is left when it
// has got what it can take is theirs. Its methods may be called from any
// goroutine.
type Share struct {
	turn sync.Mutex // held while the lanes have their turns; before the locks of sessions

	mu      sync.Mutex // guards what follows; nothing is locked under it
	rates   rates
	now     func() int64
	seats   []*seat     // by rank
	serving *seat       // whose turn it is; nil: nobody's
	timer   *time.Timer // will begin the next turns; nil: nobody waits for them
}

// seat is a lane that is connected.
type seat struct {
	share *Share
	rank  int
	wake  func() // lets it send what it can
}

// NewShare makes a Share of so many messages and bytes per second; 0 is any
// number.
func NewShare(messages, bytes int) *Share {
	began := time.Now()
	return &Share{rates: ratesOf(messages, bytes, 0), now: func() int64 { return int64(time.Since(began)) }}
}

// join has a lane take part until it leaves. wake is called without locks when it
// is its turn after over has said that it is not.
func (s *Share) join(rank int, wake func()) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &seat{s, rank, wake}
	at, _ := slices.BinarySearchFunc(s.seats, rank, func(t *seat, rank int) int { return t.rank - rank })
	s.seats = slices.Insert(s.seats, at, t)
	return t
}

func (t *seat) leave() {
	s := t.share
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats = slices.DeleteFunc(s.seats, func(other *seat) bool { return other == t })
	if len(s.seats) == 0 && s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// spend notes a message of so many bytes.
func (t *seat) spend(bytes int) {
	s := t.share
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rates.spend(s.now(), bytes)
}

// over reports whether the lane may send nothing now; then wake will be called
// when it may.
func (t *seat) over() bool {
	s := t.share
	if s.rates.unbounded() { // which does not change
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil || s.serving != nil && t.rank > s.serving.rank {
		return true // its turn comes, after those of others
	}
	wait := s.rates.missing(s.now())
	if wait == 0 {
		return false
	}
	s.timer = time.AfterFunc(max(wait, throttlePause), s.turns)
	return true
}

// turns lets each lane send what it can, one after the other.
func (s *Share) turns() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	for _, t := range slices.Clone(s.seats) {
		if s.timer != nil { // nothing is left; they are asked again when there is
			break
		}
		s.serving = t
		s.mu.Unlock()
		t.wake()
		s.mu.Lock()
	}
	s.serving = nil
}
