package relay

import (
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// cannotKeep reports whether pub must be refused because somebody to whom it
// would be promised has no room for it: the store, or the queue of a session
// that may lose nothing.
func (r *Relay) cannotKeep(pub *wire.Publish, rt *route) bool {
	if r.store == nil || rt.level == Memory {
		return false
	}
	full := r.store.Full()
	if !full && (r.stuffed.Load() == 0 || r.cfg.WhenFull != Refuse) {
		return false
	}
	if full && pub.Retain && len(pub.Payload) > 0 {
		return true
	}
	if pub.QoS == 0 {
		return false
	}
	for i := range rt.targets {
		t := &rt.targets[i]
		if t.qos > 0 && t.session.recorded.Load() != 0 && (full && r.cfg.WhenFull == Refuse || t.session.stuffed.Load()) {
			return true
		}
	}
	for _, g := range rt.groups {
		if full && r.cfg.WhenFull == Refuse && g.recorded() {
			return true
		}
	}
	return false
}

// recorded reports whether some member's session is known to the store.
func (g *group) recorded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if m.session.recorded.Load() != 0 {
			return true
		}
	}
	return false
}

// weighLocked notes whether the session may take on more.
func (s *Session) weighLocked() {
	c := &s.relay.cfg
	if c.WhenFull != Refuse || s.relay.store == nil {
		return
	}
	n, bytes := s.waitingLocked()
	over := n >= c.MaxQueued || bytes >= c.MaxQueuedBytes
	if over == s.stuffed.Load() {
		return
	}
	s.stuffed.Store(over)
	if over {
		s.relay.stuffed.Add(1)
	} else {
		s.relay.stuffed.Add(-1)
	}
}

// roomPoll is how often a publisher that is held back looks whether there is
// room again.
const roomPoll = 50 * time.Millisecond

// awaitRoom holds back a 3.x client, which has no answer that says "not now",
// by not reading on. It reports false when there is still no room after
// Config.RefuseWait, or the connection has ended.
func (p *Port) awaitRoom(pub *wire.Publish) bool {
	p.conclude()
	p.session.flush()
	tick := time.NewTicker(roomPoll)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < p.relay.cfg.RefuseWait; {
		<-tick.C
		if p.link.Ended() {
			return false
		}
		if !p.relay.cannotKeep(pub, p.relay.routes.lookup(pub.Topic)) {
			return true
		}
	}
	return false
}

// noRoom refuses pub, which cannot be kept now. done is true if that is the
// end of it; else there is room after all, or err ends the connection.
func (p *Port) noRoom(pub *wire.Publish) (done bool, err error) {
	if p.version == wire.V5 || pub.QoS == 0 {
		p.refuse(pub, wire.QuotaExceeded)
		return true, nil
	}
	if p.awaitRoom(pub) {
		return false, nil
	}
	if pub.QoS == 2 { // it has not been received
		p.release(pub.PacketID)
	}
	p.relay.refused.Add(1)
	p.relay.reportRefusal(p.id, string(pub.Topic), wire.QuotaExceeded)
	return true, &wire.Error{Reason: wire.QuotaExceeded, Detail: "no room to store the message"}
}
