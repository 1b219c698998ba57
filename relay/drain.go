package relay

import (
	"math"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Drain says how the messages wait that a subscription brings. It is for parts
// of the program, and not for shared subscriptions.
type Drain struct {
	Rank int           // of the Drains of a session whose subscriptions find a topic, the one with the lowest counts
	TTL  time.Duration // how long a message may wait until it is sent for the first time, to a second; 0: for ever
	// Latest drops a message of QoS 1 or 2 that waits when a newer one on its topic
	// does.
	Latest bool
	// Never keeps messages from the session, whatever subscriptions of a higher
	// Rank say.
	Never bool
	// Kept lets retained messages of QoS 0 wait as those of QoS 1 do, so that none is
	// missed, if the subscription has RetainAsPublished. It is not stored: until the
	// next Resubscribe after a restart it is off.
	Kept bool
}

// drainBy makes t obey the Drain of s as well.
func (t *target) drainBy(s *subscription) {
	if s.Drain != nil && (t.drain == nil || s.Drain.Rank < t.drain.Rank) {
		t.drain = s.Drain
	}
}

// never reports whether t gets nothing, since a subscription says so.
func (t *target) never() bool { return t.drain != nil && t.drain.Never }

// drainLocked is the Drain for topic; nil if there is none.
func (s *Session) drainLocked(topic string) *Drain {
	t := target{session: s}
	for _, sub := range s.subs {
		if sub.Drain != nil && wire.MatchTopic(sub.Filter, topic) {
			t.drainBy(sub)
		}
	}
	return t.drain
}

// apply makes d wait as p says; now is by Relay.now.
func (p *Drain) apply(d *delivery, now time.Duration) {
	if p.TTL > 0 {
		d.until = untilOf(now + p.TTL)
	}
	if p.Kept && d.retain && d.qos == 0 {
		d.qos = 1
	}
	if p.Latest && d.qos > 0 {
		d.marks |= markLatest
	}
}

// untilOf is the second that begins at t or next.
func untilOf(t time.Duration) uint32 {
	return uint32(min((t+time.Second-1)/time.Second, math.MaxUint32))
}

// untilTime is the inverse of untilOf.
func untilTime(second uint32) time.Duration { return time.Duration(second) * time.Second }

// late reports whether d has waited for longer than it may.
func (d *delivery) late(now time.Duration) bool { return d.until > 0 && now >= untilTime(d.until) }

// clearLocked makes room for d, if there is too little, by giving up what need not
// be sent any more.
func (s *Session) clearLocked(d *delivery, kept bool) {
	if s.latest != nil && s.latest.stale > 0 && !s.fitsLocked(d.msg, kept) {
		s.compactLocked()
	}
	if d.until > 0 && !s.fitsLocked(d.msg, kept) {
		s.expireLocked()
	}
}

// expireLocked gives up what lies at the front of what waits and has waited for
// longer than it may.
func (s *Session) expireLocked() {
	now, any := s.relay.now(), false
	for {
		if s.queue.len() == 0 && len(s.spill.chunks) == 0 {
			s.untrailLocked()
		}
		switch {
		case s.queue.len() > 0 && s.queue.front().late(now):
			old := s.takeOldestLocked()
			s.leftLocked(&old)
			s.dropLocked(DropExpired, old.msg.origin(old.qos), 1)
			s.settledLocked(&old)
		case s.queue.len() == 0 && len(s.spill.chunks) > 0 && s.spill.chunks[0].late(now):
			s.dropChunkLocked(DropExpired)
		default:
			if any {
				s.weighLocked()
			}
			return
		}
		any = true
	}
}

// late reports whether all of c have waited for longer than they may.
func (c *Chunk) late(now time.Duration) bool { return c.Until > 0 && now >= c.Until }

// expireWaiting is expireLocked for all sessions, also those whose clients are away.
func (r *Relay) expireWaiting() {
	for _, s := range r.all() {
		s.mu.Lock()
		if !s.ended.Load() {
			s.expireLocked()
		}
		s.mu.Unlock()
	}
}
