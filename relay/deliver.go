package relay

import (
	"github.com/synthetism/edgebroker/wire"
)

// enqueue gives the session ds in order, sends what the client can take now,
// and reports whether there is something to flush. taken is false if the
// session has ended.
func (s *Session) enqueue(ds []delivery) (flush, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return false, false
	}
	n := s.passLocked(ds)
	any := n > 0
	for i := range ds[n:] {
		any = s.pushLocked(ds[n+i]) || any
	}
	return s.pumpLocked() || any, true
}

// enter is enqueue for one that no publisher commits.
func (s *Session) enter(d delivery) (flush, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return false, false
	}
	any := s.enterLocked(d)
	return s.pumpLocked() || any, true
}

// pushLocked puts d at the end of the queue, making room as the policy says.
// It reports whether it has sent anything to that end.
func (s *Session) pushLocked(d delivery) (any bool) {
	l := s.live.Load()
	if d.qos == 0 && l == nil {
		s.dropLocked(DropQoS0, d.msg.origin(0), 1)
		return false
	}
	size, r := d.msg.size(), s.relay
	if d.live0() {
		if limit, why := r.mayWait(); s.queue.live0+size > int64(limit) && (why != DropMemory || s.queue.live0 > 0) {
			s.dropLocked(why, d.msg.origin(0), 1)
			return false
		}
	}
	keep := s.keepsLocked(&d)
	if !s.fitsLocked(d.msg, keep) {
		any = l != nil && s.pumpLocked()
		s.clearLocked(&d, keep)
	}
	whenFull := s.rules.Load().WhenFull
	refuse := keep && whenFull == Refuse
	if keep && !refuse && r.store.Room() == Full && !s.makeWayLocked(&d) {
		s.dropLocked(DropStoreFull, d.msg.origin(d.qos), 1)
		return any
	}
	for !refuse && !s.fitsLocked(d.msg, keep) {
		if whenFull == DropNewest || !s.dropOldestLocked(&d) {
			s.dropLocked(DropQueueFull, d.msg.origin(d.qos), 1)
			return any
		}
	}
	if d.qos > 0 {
		s.seq++
		d.seq = s.seq
	}
	r.queuedBytes.Add(size)
	if keep {
		s.keepLocked(&d)
	}
	if s.trailsLocked(&d) {
		s.trailLocked(d)
	} else {
		s.queue.push(d)
		if d.qos == 0 {
			s.queued0.Add(1)
		}
	}
	if d.marks&markLatest != 0 {
		s.noteLatestLocked(&d)
	}
	s.weighLocked()
	return any
}

// makeWayLocked lets d in while the store is full, in place of two older
// messages of the session, so that what is kept becomes less.
func (s *Session) makeWayLocked(d *delivery) bool {
	if n, _ := s.waitingLocked(); n < 2 || s.rules.Load().WhenFull != DropOldest {
		return false
	}
	for range 2 {
		if !s.dropOldestLocked(d) {
			return false
		}
	}
	return true
}

// dropOldestLocked makes room for d. It reports false if nothing may go for
// that.
func (s *Session) dropOldestLocked(d *delivery) bool {
	if s.queue.len() == 0 && len(s.spill.chunks) == 0 && d.qos > 0 {
		s.untrailLocked()
	}
	switch {
	case s.queue.len() == 0 && len(s.spill.chunks) > 0 && d.qos > 0:
		s.dropChunkLocked(DropQueueFull)
		return true
	case s.queue.len() == 0 || d.qos == 0 && s.queue.front().qos > 0:
		return false
	}
	old := s.takeOldestLocked()
	why := DropQueueFull
	if s.overLocked(&old) {
		why = DropSuperseded
	}
	s.dropLocked(why, old.msg.origin(old.qos), 1)
	s.settledLocked(&old)
	return true
}

// fitsLocked reports whether the limits leave room for m. What is kept need not stay in memory. Of that the last quarter is for sessions that
// take little of it, so that those who do not read or are away cannot spoil it
// for those who do.
func (s *Session) fitsLocked(m *Message, kept bool) bool {
	rules, size := s.rules.Load(), m.size()
	n, own := s.waitingLocked()
	own += size
	if n >= rules.MaxQueued || own > rules.MaxQueuedBytes {
		return false
	}
	total, used := s.relay.conf().TotalQueuedBytes, s.relay.queuedWith(m)
	if kept {
		if used > total-total/4 {
			s.relay.relieve(total / 2)
		}
		return true
	}
	if s.isSmall(own) {
		return true
	}
	if s.relay.under(ShedQueues) {
		return own == size
	}
	if own > total/fairShare {
		total -= total / 4
	}
	return used <= total || own == size && s.keepsUp()
}

// keepsUp reports whether the session's client has taken all that it was sent.
// If it holds nothing more either, it gets its message even when others have
// used up the total, which a message of some size would not survive otherwise.
func (s *Session) keepsUp() bool {
	l := s.live.Load()
	return l != nil && l.link.Pending() == 0
}

// fairShare is how many sessions the total is thought for, at least.
const fairShare = 128

// popLocked takes the front of the queue. If it is QoS 0, the caller takes it
// out of queued0: once it is in the link and can no longer be overtaken.
func (s *Session) popLocked() delivery {
	d := s.queue.pop()
	s.relay.queuedBytes.Add(-d.msg.size())
	return d
}

// takeOldestLocked takes the front of the queue, for something else than to send
// it.
func (s *Session) takeOldestLocked() delivery {
	d := s.popLocked()
	if d.qos == 0 {
		s.queued0.Add(-1)
	}
	return d
}

// pumpLocked sends from the window what this connection has not seen, then
// from the queue, as long as the client's Receive Maximum and the link have
// room. It reports whether it has sent anything.
func (s *Session) pumpLocked() bool {
	l := s.live.Load()
	s.refillLocked()
	if l == nil || (s.queue.len() == 0 && s.window.current == s.window.n) || s.scanningLocked() {
		return false
	}
	defer s.refillLocked()
	defer s.weighLocked()
	w, any := s.writerLocked(l), false
	limit, _ := s.relay.mayWait()
	limit /= 2
	for {
		resend := s.window.current < s.window.n
		if !resend && s.queue.len() == 0 {
			if s.refillLocked(); s.queue.len() == 0 {
				break
			}
		}
		if s.window.full(l.window) && (resend || s.queue.front().qos > 0) ||
			!resend && s.queue.front().qos > 0 && s.window.current > 0 && s.window.bytes > s.relay.mayFly() {
			any = s.passBy0Locked(&w, l, limit) || any
			break
		}
		if resend && s.catchingUpLocked(l) || !resend && (s.heldLocked(s.queue.front()) || s.enteringLocked(l, s.queue.front())) {
			break
		}
		if s.starvesLocked(&w, l, limit) {
			break
		}
		if resend {
			any = s.resendLocked(&w, l) || any
		} else {
			any = s.sendNextLocked(&w, l) || any
		}
	}
	w.done()
	return any
}

// starvesLocked reports whether the link has more than limit waiting, so that
// the session must wait until whoever empties it has seen starved.
func (s *Session) starvesLocked(w *writer, l *live, limit int) bool {
	if w.waiting() <= limit || w.waitingNow() <= limit {
		return false
	}
	w.flush()
	s.starved.Store(true)
	// Whoever empties the link looks at starved afterwards. If it was
	// emptied before that was set, it falls to us to go on.
	if l.link.Pending() > limit {
		return true
	}
	s.starved.Store(false)
	return false
}

// resendLocked sends the first entry of the window that this connection has
// not seen. [MQTT-4.4.0-1]
func (s *Session) resendLocked(w *writer, l *live) bool {
	e := s.window.at(s.window.current)
	if e.state == awaitPubcomp {
		w.buf = wire.AppendAck(w.buf, wire.PUBREL, l.version, e.id, wire.Success)
		s.window.current++
		return true
	}
	remaining, alive := e.msg.remaining(w.now())
	if s.deniedLocked(&e.delivery) {
		s.forgetResentLocked(e, DropNotAuthorized)
		return false
	}
	if !alive { // its delivery has begun, so it may still be completed [MQTT-3.3.2-5]
		remaining = 1
	}
	if !s.encodeLocked(w, l, &e.delivery, e.id, true, remaining) {
		s.forgetResentLocked(e, DropTooLarge)
		return false
	}
	s.window.current++
	return true
}

// forgetResentLocked drops e, the first entry of the window that this
// connection has not seen.
func (s *Session) forgetResentLocked(e *sent, why DropReason) {
	s.dropLocked(why, e.msg.origin(e.qos), 1)
	s.relay.queuedBytes.Add(-e.size)
	s.settledLocked(&e.delivery)
	s.window.remove(s.window.current)
}

// sendNextLocked takes the front of the queue and sends it.
func (s *Session) sendNextLocked(w *writer, l *live) bool {
	return s.sendTakenLocked(w, l, s.popLocked())
}

// sendTakenLocked sends d, which has been taken from the queue.
func (s *Session) sendTakenLocked(w *writer, l *live, d delivery) bool {
	if d.qos == 0 {
		w.popped0++
	}
	var remaining uint32
	alive := true
	if d.msg.expires != 0 || d.until != 0 {
		now := w.now()
		remaining, alive = d.msg.remaining(now)
		alive = alive && !d.late(now)
	}
	if reason, unfit := s.unfitLocked(l, &d, remaining, alive); unfit {
		s.dropLocked(reason, d.msg.origin(d.qos), 1)
		s.settledLocked(&d)
		return false
	}
	return s.sendLocked(w, l, &d, remaining)
}

// sendLocked sends d for the first time.
func (s *Session) sendLocked(w *writer, l *live, d *delivery, remaining uint32) bool {
	var id uint16
	if d.qos > 0 {
		state := awaitPuback
		if d.qos == 2 {
			state = awaitPubrec
		}
		e := s.window.add(d, state)
		s.window.current++
		w.charged += e.size
		id = e.id
		if d.kept {
			w.seq = d.seq
			if id != packetID(d.seq) {
				s.recordLocked(Change{Kind: Renumbered, Seq: d.seq, PacketID: id})
			}
		}
	}
	if m := d.msg; l.simple && d.qos > 0 && d.ids == nil && remaining == 0 && len(m.Props) == 0 &&
		len(m.Payload) < sharedBodyMin && len(m.name)+len(m.Payload) <= wire.MaxPlain {
		w.plain(l.version, d, id)
	} else if !s.encodeLocked(w, l, d, id, false, remaining) {
		return false
	}
	if d.marks&markTimed != 0 && d.msg.taken >= l.since {
		s.relay.delivery.add(w.now()-d.msg.taken, 1)
	}
	return true
}

// unfitLocked says why d, taken from the queue, is not to be sent at all.
func (s *Session) unfitLocked(l *live, d *delivery, remaining uint32, alive bool) (DropReason, bool) {
	over := d.marks&markLatest != 0 && s.overLocked(d)
	switch {
	case !alive:
		return DropExpired, true
	case s.voidLocked(d):
		return DropNotStored, true
	case s.deniedLocked(d):
		return DropNotAuthorized, true
	case over:
		return DropSuperseded, true
	case l.maxPacket > 0 && s.frameSize(l, d, remaining) > l.maxPacket: // [MQTT-3.1.2-24]
		return DropTooLarge, true
	}
	return 0, false
}

func out(l *live, d *delivery, dup bool, remaining uint32) wire.Out {
	o := wire.Out{Version: l.version, QoS: d.qos, Dup: dup, Retain: d.retain, Topic: d.msg.name, Payload: d.msg.Payload}
	if l.version == wire.V5 {
		o.Props, o.SubIDs = d.msg.Props, d.ids
		o.HasExpiry, o.Expiry = remaining > 0, remaining
	}
	return o
}

func (s *Session) frameSize(l *live, d *delivery, remaining uint32) int {
	o := out(l, d, false, remaining)
	return wire.PublishSize(&o)
}

// encodeLocked writes d's frame unless it is larger than the client takes.
func (s *Session) encodeLocked(w *writer, l *live, d *delivery, id uint16, dup bool, remaining uint32) bool {
	o := out(l, d, dup, remaining)
	if l.maxPacket > 0 && wire.PublishSize(&o) > l.maxPacket {
		return false
	}
	if l.taker != nil {
		w.flush()
		l.taker.Take(Delivery{Message: d.msg, Seq: d.seq, PacketID: id, QoS: d.qos, Retain: d.retain, Dup: dup, Expiry: remaining, IDs: d.ids})
		w.note(o.QoS, len(o.Payload))
		w.told(w.waitingNow() + 1) // it has taken it
	} else {
		s.writeLocked(w, l, d, &o, id)
	}
	return true
}

func (s *Session) writeLocked(w *writer, l *live, d *delivery, o *wire.Out, id uint16) {
	if l.aliases != nil {
		l.aliases.put(o, l.maxPacket)
	}
	w.publish(o, id)
	if l.aliases != nil {
		l.aliases.sent(o, d.msg.Topic)
	}
}

// flush writes out what has been appended for the session. Call it without
// locks, after clearing dirty.
func (s *Session) flush() {
	for {
		l := s.live.Load()
		if l == nil {
			return
		}
		l.link.Flush()
		if !s.starved.Load() || l.link.Pending() > s.relay.conf().MaxOutbound/4 {
			return
		}
		s.mu.Lock()
		s.starved.Store(false)
		more := s.pumpLocked()
		s.mu.Unlock()
		if !more {
			return
		}
	}
}
