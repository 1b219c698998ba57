package bridge

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// shared is lanes with plain counters for queues.
type shared struct {
	mu     sync.Mutex
	seats  []*seat
	waits  []int // messages, by rank
	sent   []int
	unfair int // messages sent while one of a higher lane waited
}

// pump sends what a lane can, as a session does.
func (s *shared) pump(rank int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seats[rank] != nil && s.waits[rank] > 0 && !s.seats[rank].over() {
		for above := range rank {
			if s.seats[above] != nil && s.waits[above] > 0 {
				s.unfair++
			}
		}
		s.waits[rank]--
		s.sent[rank]++
		s.seats[rank].spend(100)
	}
}

// Whatever comes when in which lane, and whichever lane is away meanwhile: a lane
// does not send while one above it has something to send, and all together send
// what the rate allows for the time in which there was something to send, within
// a twentieth.
func TestShare(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.SampledFrom([]int{1, 7, 10, 100}).Draw(rt, "rate")
		inBytes := rapid.Bool().Draw(rt, "in bytes")
		lanes := rapid.IntRange(1, 4).Draw(rt, "lanes")
		ops := rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(rt, "ops")
		var trouble []any
		synctest.Test(t, func(*testing.T) {
			share := NewShare(rate, 0)
			if inBytes {
				share = NewShare(0, 100*rate)
			}
			s := &shared{seats: make([]*seat, lanes), waits: make([]int, lanes), sent: make([]int, lanes)}
			connect := func(rank int) {
				t := share.join(rank, func() { s.pump(rank) })
				s.mu.Lock()
				s.seats[rank] = t
				s.mu.Unlock()
				s.pump(rank)
			}
			for rank := range lanes {
				connect(rank)
			}
			total := func() (sent int) {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, n := range s.sent {
					sent += n
				}
				return sent
			}
			began := time.Now()
			for _, op := range ops {
				rank := int(op>>2) % lanes
				switch op & 3 {
				case 0, 1:
					s.mu.Lock()
					s.waits[rank] += 1 + int(op)*rate/100
					s.mu.Unlock()
					s.pump(rank)
				case 2:
					time.Sleep(time.Duration(op) * 10 * time.Millisecond)
				case 3: // the connection is lost, and made anew
					s.mu.Lock()
					old := s.seats[rank]
					s.seats[rank] = nil
					s.mu.Unlock()
					old.leave()
					time.Sleep(time.Duration(op) * time.Millisecond)
					connect(rank)
				}
				synctest.Wait()
			}
			if most := float64(rate)*(time.Since(began).Seconds()+0.1) + 2; float64(total()) > most {
				trouble = []any{"in", time.Since(began), "went", total(), "and not at most", most}
			}
			// From here on something waits all the time.
			for rank := lanes - 1; rank >= 0; rank-- {
				s.mu.Lock()
				s.waits[rank] += 200 * rate
				s.mu.Unlock()
				s.pump(rank)
			}
			before, span := total(), 100
			if rate == 100 {
				span = 10
			}
			time.Sleep(time.Duration(span) * time.Second)
			synctest.Wait()
			if ratio := float64(total()-before) / float64(span*rate); ratio < 0.95 || ratio > 1.05 {
				trouble = []any{"drained with", ratio, "times the rate"}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.unfair > 0 {
				trouble = []any{s.unfair, "messages went while others waited above them"}
			}
			for _, t := range s.seats {
				t.leave()
			}
		})
		if trouble != nil {
			rt.Fatal(trouble...)
		}
	})
}
