package relay

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// Resume makes the relay go on from what Carry has returned in an earlier
// process. It comes after Restore, if there is a store, and before the store is
// run or the relay is used for anything else. Sessions whose connections go on
// wait for Reopen. What it is given belongs to the relay afterwards.
func (r *Relay) Resume(c *Carried) {
	b := &resumer{relay: r, from: c.Messages, made: make([]*Message, len(c.Messages))}
	for _, at := range c.Retained {
		if m := b.message(at); m != nil {
			m.recovered = true
			r.retained.set(m, r.setRetained)
		}
	}
	for i := range c.Sessions {
		b.session(&c.Sessions[i])
	}
}

// resumer makes a relay's state of a Carried.
type resumer struct {
	relay *Relay
	from  []CarriedMessage
	made  []*Message
}

// message is the message at a place, nil if there is none.
func (b *resumer) message(at int) *Message {
	if at < 0 || at >= len(b.from) {
		return nil
	}
	if b.made[at] == nil {
		f, r := &b.from[at], b.relay
		m := &Message{Topic: f.Topic, name: []byte(f.Topic), Publisher: f.Publisher, Payload: f.Payload, Props: f.Props, QoS: f.QoS, Retain: f.Retain}
		if f.Left > 0 {
			m.expires = r.now() + f.Left
		}
		if age := uint32(f.Age / time.Second); f.Age > 0 && age < r.coarse.Load() {
			m.came = r.coarse.Load() - age
		}
		if r.subs.level != nil {
			m.level = r.subs.level(m.Topic)
		}
		r.share(m)
		b.made[at] = m
	}
	return b.made[at]
}

func (b *resumer) session(c *CarriedSession) {
	r := b.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[c.Terms.ClientID]
	if s == nil && c.Port == nil && c.Terms.Expiry == 0 {
		return // there is nobody to come for it
	}
	if s == nil {
		s = &Session{relay: r, id: c.Terms.ClientID}
		r.sessions[s.id] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopTimersLocked()
	s.created = time.Now().Add(-c.Age)
	s.username, s.owner, s.subject = c.Terms.Username, c.Terms.Owner, c.Terms.Subject
	s.expiry.Store(c.Terms.Expiry)
	s.rules.Store(r.rulesFor(s.id, s.username))
	if s.access.Load() == nil && r.conf().AccessOf != nil {
		s.willAccess = access{r.conf().AccessOf(c.Terms)}
		s.access.Store(&s.willAccess)
	}
	known := s.recorded.Load() != 0
	s.carried = c.Port
	if !known {
		s.termsLocked(c.Port != nil)
		for _, sub := range c.Subs {
			s.addLocked(sub)
			s.recordLocked(Change{Kind: Subscribed, Filter: sub})
		}
	}
	s.seq, s.seen = max(s.seq, c.Seq), max(s.seen, c.Seen)
	s.unchecked = s.seq + 1 // rights may have changed meanwhile
	b.queues(s, c)
	b.inbound(s, c, !known && s.recorded.Load() != 0)
	s.relearnLocked()
	s.weighLocked()
	b.count(s, c)
	if c.Port != nil {
		return
	}
	if !known {
		s.detached = r.now() - c.Away
		s.recordLocked(Change{Kind: Detached, Clock: s.detached})
		if c.Will != nil {
			s.setWillLocked(c.Will)
			s.willDue = r.now() + c.WillIn
			s.recordLocked(Change{Kind: WillWaits, Will: s.will, Clock: s.willDue})
		}
	}
	s.startTimersLocked()
}

// queues puts the window and what follows it in memory together of what the
// store has brought and of what it has not.
func (b *resumer) queues(s *Session, c *CarriedSession) {
	stored := make(map[uint64]delivery)
	for i := range s.window.n {
		e := s.window.at(i)
		stored[e.seq] = e.delivery
		s.window.release(e)
	}
	for s.queue.len() > 0 {
		d := s.queue.pop()
		stored[d.seq] = d
	}
	s.window, s.queue = window{}, queue{}
	current := 0
	for i := range c.Window {
		w := &c.Window[i]
		state := exchange(w.State)
		d, ok := b.delivery(s, w, stored, state)
		if !ok || state < awaitPuback || state > awaitPubcomp || w.PacketID == 0 {
			continue
		}
		e := s.window.addAs(&d, state, w.PacketID)
		if d.kept && d.msg == nil {
			e.level = s.relay.store.Level("")
		}
		if i < c.Current {
			current++
		}
	}
	if c.Port != nil {
		s.window.current = current
	}
	for i := range c.Queue {
		if d, ok := b.delivery(s, &c.Queue[i], stored, 0); ok {
			s.queue.push(d)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(stored)) { // there should be none
		if d := stored[seq]; d.msg != nil {
			s.queue.push(d)
		}
	}
}

// delivery makes a delivery of w: one of stored, which it takes out there, or
// one of its own. ok is false if there is none.
func (b *resumer) delivery(s *Session, w *CarriedDelivery, stored map[uint64]delivery, state exchange) (d delivery, ok bool) {
	r := s.relay
	if w.Stored {
		if d, ok = stored[w.Seq]; ok {
			delete(stored, w.Seq)
		}
		if state == awaitPubcomp {
			if d.msg != nil { // the record of that has been lost
				r.queuedBytes.Add(-d.msg.size())
				s.unkeep(&d)
			}
			return delivery{seq: w.Seq, qos: 2, kept: r.store != nil && s.recorded.Load() != 0}, true
		}
		return d, ok // what is not there is in a chunk
	}
	d = delivery{seq: w.Seq, qos: min(w.QoS, 2), retain: w.Retain, ids: w.IDs}
	if state == awaitPubcomp {
		return d, true
	}
	if d.msg = b.message(w.Message); d.msg == nil {
		return d, false
	}
	if sub := s.subs[w.Share]; sub != nil {
		d.group = sub.group
	}
	if w.Latest {
		d.marks = markLatest
	}
	if w.Left > 0 {
		d.until = untilOf(r.now() + w.Left)
	}
	r.queuedBytes.Add(d.msg.size())
	if s.keepsLocked(&d) { // what is stored now was not before
		s.keepLocked(&d)
		if state != 0 {
			s.recordLocked(Change{Kind: Sent, Seq: d.seq})
			if w.PacketID != packetID(d.seq) {
				s.recordLocked(Change{Kind: Renumbered, Seq: d.seq, PacketID: w.PacketID})
			}
		}
	}
	return d, true
}

// inbound notes the identifiers received at QoS 2. store says that they are to be
// stored from now on.
func (b *resumer) inbound(s *Session, c *CarriedSession, store bool) {
	for _, in := range c.Inbound {
		if s.inbound == nil {
			s.inbound = make(map[uint16]inbound)
		}
		was, known := s.inbound[in.ID]
		if !known {
			b.relay.shed.ids.Add(1)
		}
		if store {
			was.logged, was.level = true, b.relay.store.Level("")
		}
		if in.Own {
			was.serial = s.opened + 1 // that of the Port which Reopen will make
		}
		s.inbound[in.ID] = was
	}
}

// count has the session's counts go on, and none of the relay's: those are of
// one process. Sums may wrap on the way.
func (b *resumer) count(s *Session, c *CarriedSession) {
	r := b.relay
	s.received.resume(c.Received)
	s.sent.resume(c.Sent)
	r.retired.received.subtract(c.Received)
	r.retired.sent.subtract(c.Sent)
	s.dropped.Store(c.Dropped)
	n, _ := s.waitingLocked()
	books := s.books.seldom()
	books.recovered[once] = uint64(s.queue.n0)
	books.recovered[acked] = uint64(n - s.queue.n0 + s.window.open)
}

func (t *traffic) resume(from Traffic) {
	for q := range from.QoS {
		t.messages[q].Store(from.QoS[q])
	}
	t.bytes.Store(from.Bytes)
}

func (t *Traffic) subtract(o Traffic) {
	for q := range t.QoS {
		t.QoS[q] -= o.QoS[q]
	}
	t.Bytes -= o.Bytes
}

// ErrNotCarried: the session is not one whose connection goes on.
var ErrNotCarried = errors.New("no connection of this client is to go on")

// Reopen makes a Port for a connection that goes on after Resume. For its client
// nothing has happened: nothing that was sent is sent again, and Attach sends
// only what was yet to be sent.
func (r *Relay) Reopen(c Connect) (*Port, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[c.ClientID]
	if s == nil {
		return nil, ErrNotCarried
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.carried
	if k == nil || s.port != nil || s.ended.Load() {
		return nil, ErrNotCarried
	}
	s.carried = nil
	c.Expiry = s.expiry.Load()
	told := *r.conf()
	told.ReceiveMaximum, told.MaxTopicAlias = k.ReceiveMaximum, k.TopicAliasMaximum
	p := &Port{connect: c, told: &told, present: true}
	p.publisher = publisher{relay: r, session: s, id: c.ClientID, source: newSource(c.ClientID, c.Username, c.Remote), version: c.Version, access: access{c.Access}}
	s.stopTimersLocked()
	s.port = p
	s.opened++
	p.serial = s.opened
	for _, in := range s.inbound {
		if in.serial == p.serial {
			p.open++
		}
	}
	p.takeAliases(k)
	if s.setAccessLocked(c.Access) {
		r.subs.moved()
	}
	s.weighLocked()
	s.queued0.Store(int32(s.queue.n0))
	if s.recorded.Load() != 0 {
		s.recordLocked(Change{Kind: Attached})
	}
	s.scanLocked()
	r.ports[p] = struct{}{}
	return p, nil
}

// takeAliases makes the aliases of the connection those of p.
func (p *Port) takeAliases(k *CarriedPort) {
	p.aliasesSent = k.SentAliases
	for alias, topic := range k.Aliases {
		if alias == 0 || alias > k.TopicAliasMaximum {
			continue
		}
		if p.aliases == nil {
			p.aliases = make([][]byte, int(k.TopicAliasMaximum)+1)
		}
		p.aliases[alias] = []byte(topic)
		p.aliased += len(topic)
	}
}

// CarriedTerms are those of a session that waits for Reopen; the zero Terms if it
// does not.
func (r *Relay) CarriedTerms(client string) Terms {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[client]
	if s == nil {
		return Terms{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.carried == nil {
		return Terms{}
	}
	return s.termLocked()
}
