package listen

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const (
	frameTime = 10 * time.Second // that a large frame may take while others wait for memory
	shareTime = 60 * time.Second // that a connection waits for memory
	shareTick = time.Second      // how often that is looked at
)

// inputShares divides memory among the connections that are in the middle of a
// large frame. Who finds none waits, in the order of coming, and is not read
// meanwhile. So that those who wait for each other cannot wait for ever, one of
// them, the favourite, may go beyond the limit until its frame is complete; and
// who holds memory that others wait for has to complete its frame in time.
type inputShares struct {
	tight atomic.Bool // half is used

	mu        sync.Mutex // guards everything that follows, and the share of every Conn
	limit     int64      // 0: none
	used      int64
	holders   map[*Conn]struct{}
	waiting   []*Conn
	favourite *Conn
	timer     *time.Timer // runs while somebody waits
}

// bound sets the limit. Those who wait for memory find out by themselves.
func (s *inputShares) bound(limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

// share is what a connection has of the memory for input. Its reader may read
// held without a lock.
type share struct {
	held  int64
	since time.Time     // since when it holds anything for the current frame, waiting not included
	wants int64         // what it waits for
	asked time.Time     // since when it waits
	turn  chan struct{} // closed when it need not wait any more; nil if it does not
}

// settle makes c hold need bytes, and waits until it may. It returns early if c
// ends. fresh says that the frame is another than the last time. For c's reader.
func (s *inputShares) settle(c *Conn, need int64, fresh bool) {
	sh := &c.share
	if need == sh.held && (!fresh || need == 0) {
		return
	}
	s.mu.Lock()
	if fresh {
		sh.since = time.Time{}
		if s.favourite == c {
			s.favourite = nil
		}
	}
	over := fresh && s.limit > 0 && s.used > s.limit // what it was let go beyond the limit for is complete
	if need == 0 || need <= sh.held && !over || len(s.waiting) == 0 && s.fitsLocked(c, need) {
		s.holdLocked(c, need)
		s.mu.Unlock()
		return
	}
	if c.closed.Load() {
		s.mu.Unlock()
		return
	}
	c.in.park()
	s.holdLocked(c, min(sh.held, int64(len(c.in.bytes()))))
	turn := make(chan struct{})
	sh.turn, sh.wants, sh.asked = turn, need, time.Now()
	s.waiting = append(s.waiting, c)
	if len(s.waiting) == 1 {
		s.timer = time.AfterFunc(shareTick, s.look)
	}
	s.grantLocked()
	s.mu.Unlock()
	<-turn
	c.seen() // it could not be heard
}

// fitsLocked reports whether c may hold need bytes. It may become the favourite
// for that.
func (s *inputShares) fitsLocked(c *Conn, need int64) bool {
	if s.limit <= 0 || s.used-c.share.held+need <= s.limit {
		return true
	}
	if s.favourite == nil {
		s.favourite = c
	}
	return s.favourite == c
}

// holdLocked makes c hold need bytes, and lets others go on if that is less.
func (s *inputShares) holdLocked(c *Conn, need int64) {
	sh := &c.share
	less := need < sh.held || s.favourite == nil
	s.used += need - sh.held
	sh.held = need
	if need > 0 {
		if s.holders == nil {
			s.holders = make(map[*Conn]struct{})
		}
		s.holders[c] = struct{}{}
		if sh.since.IsZero() {
			sh.since = time.Now()
		}
	} else {
		delete(s.holders, c)
		sh.since = time.Time{}
		if s.favourite == c {
			s.favourite = nil
		}
	}
	s.tight.Store(s.limit > 0 && s.used > s.limit/2)
	if less {
		s.grantLocked()
	}
}

// grantLocked lets those go on who wait, as long as there is room. Who is the
// favourite does not wait for those before it.
func (s *inputShares) grantLocked() {
	for len(s.waiting) > 0 {
		i := max(0, slices.Index(s.waiting, s.favourite))
		c := s.waiting[i]
		if !s.fitsLocked(c, c.share.wants) {
			return
		}
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if sh := &c.share; !sh.since.IsZero() {
			sh.since = sh.since.Add(time.Since(sh.asked))
		}
		s.holdLocked(c, c.share.wants)
		s.wakeLocked(c)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// wakeLocked lets c go on. Its share is its reader's to look at from then on.
func (s *inputShares) wakeLocked(c *Conn) {
	close(c.share.turn)
	c.share.turn = nil
}

// abandon lets c, which has ended, go on without what it waits for.
func (s *inputShares) abandon(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, c); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.wakeLocked(c)
		s.grantLocked()
	}
}

// look ends the connections that have taken too long.
func (s *inputShares) look() {
	var late []*Conn
	s.mu.Lock()
	if s.timer == nil {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	for c := range s.holders {
		if c.share.turn == nil && now.Sub(c.share.since) >= frameTime {
			late = append(late, c)
		}
	}
	for _, c := range s.waiting {
		c.seen() // it is we who do not listen
		if now.Sub(c.share.asked) >= shareTime {
			late = append(late, c)
		}
	}
	s.timer.Reset(shareTick)
	s.mu.Unlock()
	for _, c := range late {
		c.gate.evicted.Add(1)
		c.Kick(wire.QuotaExceeded, EndMemory)
	}
}

// total is the bytes held.
func (s *inputShares) total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
