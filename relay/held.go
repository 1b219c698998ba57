package relay

import (
	"bytes"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// held is what a 3.x client has published and nobody can keep for now. There is
// no answer that says so: the client gets none until there is room, and is
// disconnected if that takes longer than Config.RefuseWait. Meanwhile its
// acknowledgements are taken, which may be what makes room.
type held struct {
	mu     sync.Mutex // guards all that follows and, until frames is empty, what in the Port is its reader's
	change sync.Cond  // frames has shrunk, or over was set
	frames [][]byte   // PUBLISHes of QoS 1 and 2, in order
	bytes  int64
	since  time.Time // since when the first of them waits
	timer  *time.Timer
	over   bool // the connection has ended, or is about to
}

const (
	roomPoll = 50 * time.Millisecond // how often it is looked whether there is room again
	maxHeld  = 64 << 10              // bytes held back per connection; beyond, it is not read any more
)

// mustWait reports whether pub, of a 3.x client, is to be held back.
func (p *Port) mustWait(pub *wire.Publish, rt *route, allowed bool) bool {
	if !p.cannotKeep(pub, rt) || p.relay.check(pub, rt, allowed) != wire.Success {
		return false
	}
	if pub.QoS < 2 {
		return true
	}
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.inbound[pub.PacketID] // and to be answered again
	return !known
}

// holdBack keeps raw, a PUBLISH, for later, behind what is held back already.
// If that is much, it waits until it has become less. The caller holds the mu
// of p.held if there is one.
func (p *Port) holdBack(raw []byte) error {
	h, n, qos := p.held, int64(len(raw)), qosOf(raw)
	p.tally.seldom().held[qos]++
	if h == nil {
		p.conclude()
		p.session.flush()
		h = &held{since: time.Now()}
		h.change.L = &h.mu
		h.mu.Lock()
		defer h.mu.Unlock()
		p.held = h
		h.timer = time.AfterFunc(roomPoll, func() { p.retry(h) })
	}
	if len(h.frames) == 0 && !h.over && p.relay.overfull(n) {
		p.refuseHeldLocked(h, [][]byte{raw})
		return nil
	}
	p.deliverAll()
	p.depart() // it may have to wait
	for !h.over && !p.relay.still.Load() && len(h.frames) > 0 && !p.relay.holds(h.bytes+n, n) {
		h.change.Wait()
	}
	if h.over {
		p.enter()
		p.tally.rare.held[qos]--
		p.tally.rare.unanswered[qos]++
		return nil
	}
	h.frames = append(h.frames, bytes.Clone(raw))
	h.bytes += n
	p.relay.queuedBytes.Add(n)
	if len(h.frames) == 1 { // it has become empty meanwhile
		h.since = time.Now()
		h.timer.Reset(roomPoll)
	}
	return nil
}

// holds reports whether n bytes more may be held back, which makes it bytes for
// the connection.
func (r *Relay) holds(bytes, n int64) bool {
	return bytes <= maxHeld && r.queued()+n <= r.conf().TotalQueuedBytes
}

// retry takes on what there is room for by now.
func (p *Port) retry(h *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || len(h.frames) == 0 {
		return
	}
	if p.relay.still.Load() { // whoever waits for room does so no more
		h.change.Broadcast()
		return
	}
	if p.link.Ended() {
		p.giveUpLocked(h)
		return
	}
	n := 0
	p.enter()
	for n < len(h.frames) && p.takeOn(h.frames[n]) {
		p.tally.seldom().held[qosOf(h.frames[n])]--
		n++
	}
	p.conclude() // which ends the turn
	if n > 0 {
		p.shrinkLocked(h, n)
	}
	switch {
	case len(h.frames) == 0:
	case time.Since(h.since) >= p.relay.conf().RefuseWait:
		p.refuseHeldLocked(h, h.frames)
	default:
		h.timer.Reset(roomPoll)
	}
}

// refuseHeldLocked disconnects the client, who is not to get answers to list.
func (p *Port) refuseHeldLocked(h *held, list [][]byte) {
	if f, _, err := wire.Scan(list[0], 0); err == nil {
		if pub, err := wire.DecodePublish(f, p.version); err == nil {
			p.relay.reportRefusal(p.id, string(pub.Topic), wire.QuotaExceeded)
		}
	}
	p.relay.refused.Add(uint64(len(list)))
	p.within(func() {
		for _, raw := range list {
			p.tally.rare.held[qosOf(raw)]--
			p.tally.rare.refused[qosOf(raw)]++
		}
	})
	p.forgetHeldLocked(h)
	p.link.Kick(wire.QuotaExceeded, "store_full")
}

// overfull reports whether there is so little memory left that not even one
// message of n bytes is held back.
func (r *Relay) overfull(n int64) bool {
	total := r.conf().TotalQueuedBytes
	return n > minQueued && r.queued()+n > total+total/4
}

// takeOn takes on what was held back. It reports false if there is still no
// room.
func (p *Port) takeOn(raw []byte) bool {
	f, _, err := wire.Scan(raw, 0)
	if err != nil {
		return true // which it was not when it came
	}
	pub, err := wire.DecodePublish(f, p.version)
	if err != nil {
		return true
	}
	rt, allowed := p.route(pub.Topic, false)
	if p.mustWait(&pub, rt, allowed) {
		return false
	}
	_ = p.accept(&pub, rt, allowed, raw) // only a v5 client can have gone too far
	return true
}

// shrinkLocked forgets the first n frames.
func (p *Port) shrinkLocked(h *held, n int) {
	var bytes int64
	for i := range n {
		bytes += int64(len(h.frames[i]))
		h.frames[i] = nil
	}
	h.frames = h.frames[n:]
	h.bytes -= bytes
	h.since = time.Now()
	p.relay.queuedBytes.Add(-bytes)
	h.change.Broadcast()
}

func (p *Port) giveUpLocked(h *held) {
	p.within(func() {
		for _, raw := range h.frames {
			p.tally.rare.held[qosOf(raw)]--
			p.tally.rare.unanswered[qosOf(raw)]++
		}
	})
	p.forgetHeldLocked(h)
}

// qosOf is the QoS of a PUBLISH.
func qosOf(raw []byte) byte { return raw[0] >> 1 & 3 }

func (p *Port) forgetHeldLocked(h *held) {
	h.over = true
	h.timer.Stop()
	p.shrinkLocked(h, len(h.frames))
}

// giveUpHeld forgets what is held back: its client has got no answer, and will
// send it again.
func (p *Port) giveUpHeld() {
	if h := p.held; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		p.giveUpLocked(h)
	}
}
