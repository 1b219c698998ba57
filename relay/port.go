package relay

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/synthetism/edgebroker/wire"
)

// Connect is what a CONNECT asks of the relay.
type Connect struct {
	ClientID       string
	Username       string
	Remote         string // the peer's address, for who looks for a publisher
	Version        wire.Version
	CleanStart     bool
	Expiry         uint32 // seconds; capped by Config.MaxSessionExpiry
	ReceiveMaximum uint16 // QoS>0 messages the client takes at once; 0 means 65,535
	MaxPacket      uint32 // largest packet the client takes, in bytes; 0 for no limit
	// TopicAliasMaximum is how many topic aliases the client takes. One that
	// takes any gets messages encoded for it alone, QoS 0 as well: it has asked
	// for fewer bytes, not for less work.
	TopicAliasMaximum uint16
	Will              *wire.Will

	// Standing is for a part of the program: the session is kept whatever
	// MaxSessionExpiry and MaxSessions say, and Rate does not count for it.
	Standing bool

	// Owner is who the client has proven to be, "" if nothing: no other owner
	// gets the session as long as it is there.
	Owner string
	// Access is what the client may do; nil allows everything.
	Access Access
	// Subject is kept with the session, for Config.AccessOf to make an Access
	// of after a restart.
	Subject string
}

// Port is one network connection's hold on a session: made by Relay.Open,
// attached to the connection's outbound half, ended when the connection is.
// Receive and Flush belong to the connection's reader goroutine; Writable and
// End may be called from any.
type Port struct {
	publisher
	link    Link
	connect Connect
	told    *Config // what was in force when CONNACK told the client about it
	present bool

	serial      uint64     // tells the Ports of a session apart
	open        int        // QoS 2 publishes received here and not released; the Session's mu guards it
	holding     int32      // what Subscribe has added to the Session's queued0
	waits       []received // QoS 2 received, to be recorded after what it causes
	settled     settled
	ids         []uint16     // QoS 2 identifiers recorded since the last commit
	uncommitted atomic.Int32 // commits that have not been told
	pub         wire.Publish // that is being received
	aliases     [][]byte     // inbound topic aliases, index 0 unused [MQTT-3.3.2-12]
	aliased     int          // bytes of topics in aliases
	answers     []byte       // acknowledgements to send once what they promise is stored
	acks        []ack        // acknowledgements received since the last Flush
	uncharged   int64        // bytes of messages that they have settled, to be taken off Relay.queuedBytes
	held        *held        // nil if nothing is held back
	pace        pace

	aliasesSent map[string]uint16 // of Reopen, for Attach
}

// ack is an acknowledgement received from the client.
type ack struct {
	kind   wire.Type
	id     uint16
	reason wire.Reason
}

// SessionPresent is the CONNACK flag. [MQTT-3.2.2-3]
func (p *Port) SessionPresent() bool { return p.present }

// SessionExpiry is the session expiry interval in force, in seconds.
func (p *Port) SessionExpiry() uint32 { return p.connect.Expiry }

// ReceiveMaximum is how many QoS>0 publishes the client may have open towards
// us, and TopicAliasMaximum how many aliases it may define: what CONNACK is to
// say, and what is enforced as long as the Port lives.
func (p *Port) ReceiveMaximum() uint16 { return p.told.ReceiveMaximum }

// TopicAliasMaximum: see ReceiveMaximum.
func (p *Port) TopicAliasMaximum() uint16 { return p.told.MaxTopicAlias }

// Attach makes link the session's connection and starts to send what waits
// for it. Call it once, after CONNACK.
func (p *Port) Attach(link Link) {
	s, r := p.session, p.relay
	s.mu.Lock()
	defer s.mu.Unlock()
	p.link = link
	if s.port != p || s.ended.Load() {
		return
	}
	window := r.conf().MaxInflight
	if n := int(p.connect.ReceiveMaximum); n > 0 && n < window {
		window = n // [MQTT-3.3.4-9]
	}
	l := &live{port: p, link: link, version: p.version, maxPacket: int(min(p.connect.MaxPacket, 1<<28)), window: window, since: r.now()}
	if n := min(p.connect.TopicAliasMaximum, p.told.MaxTopicAlias); n > 0 && p.version == wire.V5 {
		l.aliases = &aliases{limit: int(n), ids: p.aliasesSent}
		p.aliasesSent = nil
	}
	l.taker, _ = link.(Taker)
	l.simple = l.maxPacket == 0 && l.aliases == nil && l.taker == nil
	s.live.Store(l)
	s.pumpLocked()
}

// Receive takes one message frame, which is valid only during the call.
// Nothing is sent until Flush. An error is a *wire.Error: the connection must
// end, a v5 client being told its Reason.
func (p *Port) Receive(f wire.Frame) error {
	if f.Type == wire.PUBLISH && !p.connect.Standing && p.relay.conf().Rate.limits() {
		if err := p.keepPace(len(f.Raw)); err != nil {
			return err
		}
	}
	if h := p.held; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch {
		case h.over: // what it sends now must not come before what it will send again
			return nil
		case len(h.frames) == 0: // what was held back has been taken on
			p.held = nil
		}
	}
	err := p.receive(&f)
	if err != nil { // the end of the connection may take its time
		p.deliverAll()
		p.depart()
	}
	return err
}

func (p *Port) receive(f *wire.Frame) error {
	if f.Type == wire.PUBLISH {
		return p.receivePublish(f)
	}
	id, reason, err := wire.DecodeAck(*f, p.version)
	if err != nil {
		return err
	}
	if f.Type == wire.PUBREL {
		p.deliverAll()
		p.receivePubrel(id)
		return nil
	}
	p.acks = append(p.acks, ack{f.Type, id, reason})
	if len(p.acks) == cap(p.acks) && len(p.acks) >= 256 {
		p.settle()
	}
	return nil
}

func (p *Port) receivePublish(f *wire.Frame) error {
	pub := &p.pub
	same, err := pub.Decode(f, p.version, p.lastTopic())
	if err != nil {
		return err
	}
	raw := f.Raw
	if pub.Alias != 0 {
		if err := p.resolveAlias(pub); err != nil {
			return err
		}
		raw = nil
	}
	p.enter()
	p.tally.arrived[pub.QoS]++
	rt, allowed := p.route(pub.Topic, same)
	if p.goesOn(pub, rt, allowed, raw) {
		p.extend(raw, len(pub.Payload))
		return nil
	}
	if p.version != wire.V5 && pub.QoS > 0 && (p.held != nil || p.mustWait(pub, rt, allowed)) {
		return p.holdBack(f.Raw)
	}
	return p.accept(pub, rt, allowed, raw)
}

// accept takes pub on, or refuses it.
func (p *Port) accept(pub *wire.Publish, rt *route, allowed bool, raw []byte) error {
	if pub.QoS == 2 {
		known, err := p.receiveOnce(pub.PacketID)
		switch {
		case err != nil:
			p.tally.seldom().cut[2]++
			return err
		case known:
			p.tally.seldom().repeated[2]++
			return nil
		}
	}
	reason := p.relay.check(pub, rt, allowed)
	if reason == wire.Success && (p.version == wire.V5 || pub.QoS == 0) && p.cannotKeep(pub, rt) {
		reason = wire.QuotaExceeded
	}
	if reason != wire.Success {
		p.refuse(pub, reason)
		return nil
	}
	rt, m := p.publish(rt, pub, raw)
	p.answer(pub, rt, m)
	return nil
}

// AliasTopic is the topic for which the client has set an alias, empty if it
// has not. Only for the goroutine that calls Receive.
func (p *Port) AliasTopic(alias uint16) string {
	if int(alias) < len(p.aliases) {
		return string(p.aliases[alias])
	}
	return ""
}

// resolveAlias sets or reads the alias of pub. [MQTT-3.3.2-7]
func (p *Port) resolveAlias(pub *wire.Publish) error {
	limit := p.told.MaxTopicAlias
	if pub.Alias > limit {
		return &wire.Error{Reason: wire.TopicAliasInvalid, Rule: "[MQTT-3.3.2-9]",
			Detail: fmt.Sprintf("topic alias %d is above the Topic Alias Maximum of %d", pub.Alias, limit)}
	}
	if p.aliases == nil {
		p.aliases = make([][]byte, int(limit)+1)
	}
	if len(pub.Topic) > 0 {
		p.aliased += len(pub.Topic) - len(p.aliases[pub.Alias])
		if p.aliased > aliasMemory {
			return &wire.Error{Reason: wire.QuotaExceeded,
				Detail: fmt.Sprintf("topic aliases stand for more than %d bytes of topics", aliasMemory)}
		}
		p.aliases[pub.Alias] = bytes.Clone(pub.Topic)
		return nil
	}
	topic := p.aliases[pub.Alias]
	if len(topic) == 0 {
		return &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-3.3.2-7]",
			Detail: fmt.Sprintf("topic alias %d has not been set on this connection", pub.Alias)}
	}
	pub.Topic = topic
	return nil
}

// check says whether a client may publish pub. allowed is what Access says.
func (r *Relay) check(pub *wire.Publish, rt *route, allowed bool) wire.Reason {
	switch {
	case !allowed, pub.Topic[0] == '$':
		return wire.NotAuthorized
	case rt.levels > r.conf().MaxTopicLevels:
		return wire.TopicNameInvalid
	case pub.Retain && len(pub.Payload) > 0 && !r.mayRetain(pub):
		return wire.QuotaExceeded
	}
	return wire.Success
}

func levels(topic string) int { return strings.Count(topic, "/") + 1 }

// receiveOnce notes a QoS 2 identifier. known is true when the message has
// been received before: it is answered again and not published again.
// [MQTT-4.3.3-10]
func (p *Port) receiveOnce(id uint16) (known bool, err error) {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if in, known := s.inbound[id]; known {
		p.promised(in.level) // what an earlier connection recorded need not be stored yet
		p.answers = wire.AppendAck(p.answers, wire.PUBREC, p.version, id, wire.Success)
		return true, nil
	}
	if p.version == wire.V5 && p.open >= int(p.told.ReceiveMaximum) {
		return false, &wire.Error{Reason: wire.ReceiveMaximumExceeded, Rule: "[MQTT-3.3.4-7]",
			Detail: fmt.Sprintf("more than %d QoS 2 publishes without PUBREL", p.told.ReceiveMaximum)}
	}
	if p.relay.crowdedIDs(len(s.inbound)) {
		return false, &wire.Error{Reason: wire.QuotaExceeded,
			Detail: fmt.Sprintf("memory is short, and %d QoS 2 publishes are without PUBREL", len(s.inbound))}
	}
	if s.inbound == nil {
		s.inbound = make(map[uint16]inbound)
	}
	s.inbound[id] = inbound{serial: p.serial}
	if !s.ended.Load() {
		p.relay.shed.ids.Add(1)
	}
	p.open++
	return false, nil
}

// release forgets a QoS 2 identifier and reports whether it was known.
func (p *Port) release(id uint16) bool {
	in, known := p.forget(id)
	if in.logged {
		p.promised(in.level)
	}
	return known
}

// forget is release on any goroutine: nothing is promised for it.
func (p *Port) forget(id uint16) (in inbound, known bool) {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	in, known = s.inbound[id]
	delete(s.inbound, id)
	if known && !s.ended.Load() {
		p.relay.shed.ids.Add(-1)
	}
	if known && in.serial == p.serial {
		p.open--
	}
	if in.logged {
		s.recordLocked(Change{Kind: Released, PacketID: id})
	}
	return in, known
}

// received is a QoS 2 publish that was accepted.
type received struct {
	id    uint16
	level Level
	msg   *Message
}

// deliverAll delivers the run, and records what has been received at QoS 2.
// What that has caused counts from then on, and not before: if the client has
// to send it again, it must be as if it had not come.
func (p *Port) deliverAll() {
	p.finish()
	if len(p.waits) == 0 {
		return
	}
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	g := p.gate
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	for i, w := range p.waits {
		p.waits[i] = received{}
		if in, open := s.inbound[w.id]; open && s.recorded.Load() != 0 {
			in.level, in.logged = w.level, true
			s.inbound[w.id] = in
			s.recordLocked(Change{Kind: Received, PacketID: w.id, Ref: Ref(w.msg.ref.Load())})
			p.promised(w.level)
			p.ids = append(p.ids, w.id)
		}
	}
	p.waits = p.waits[:0]
	if g != nil {
		g.logged = true
		p.gate = nil // what comes now is not recorded yet
	}
}

// answer acknowledges a publish that has been accepted.
func (p *Port) answer(pub *wire.Publish, rt *route, m *Message) {
	reason := wire.Success
	if len(rt.targets) == 0 && len(rt.groups) == 0 {
		reason = wire.NoMatchingSubscribers
	}
	switch pub.QoS {
	case 1:
		p.answers = wire.AppendAck(p.answers, wire.PUBACK, p.version, pub.PacketID, reason)
	case 2:
		if m.level > Memory && p.session.recorded.Load() != 0 {
			p.waits = append(p.waits, received{pub.PacketID, m.level, m})
		}
		p.answers = wire.AppendAck(p.answers, wire.PUBREC, p.version, pub.PacketID, reason)
	}
}

// refuse answers a publish that is not accepted: with the reason in v5, in
// 3.x with a plain acknowledgement, since there is no other but to hang up.
// [MQTT3-3.3.5-2]
func (p *Port) refuse(pub *wire.Publish, reason wire.Reason) {
	p.relay.refused.Add(1)
	p.tally.seldom().refused[pub.QoS]++
	p.relay.reportRefusal(p.id, string(pub.Topic), reason)
	switch pub.QoS {
	case 1:
		p.answers = wire.AppendAck(p.answers, wire.PUBACK, p.version, pub.PacketID, reason)
	case 2:
		if p.version == wire.V5 { // the exchange ends here; 3.x goes on to PUBREL
			p.release(pub.PacketID)
		}
		p.answers = wire.AppendAck(p.answers, wire.PUBREC, p.version, pub.PacketID, reason)
	}
}

func (p *Port) receivePubrel(id uint16) {
	reason := wire.Success
	if !p.release(id) {
		reason = wire.PacketIDNotFound
		if p.session.recorded.Load() != 0 { // an earlier connection may have released it just now
			p.promised(p.relay.store.Level(""))
		}
	}
	p.answers = wire.AppendAck(p.answers, wire.PUBCOMP, p.version, id, reason)
}

// Flush delivers what has been received, lets acknowledgements go as soon as
// the store has what they promise, and writes everything out.
func (p *Port) Flush() {
	p.pub = wire.Publish{} // which refers to the input
	p.concludeHolding()
	if p.link != nil {
		p.session.dirty.Store(false)
		p.session.flush()
	}
	if p.relay.store != nil {
		p.relay.store.AwaitBacklog() // what a client sends is read no faster than it can be stored
	}
}

func (p *Port) concludeHolding() {
	if h := p.held; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	p.conclude()
}

func (p *Port) conclude() {
	p.deliverAll()
	p.depart()
	p.settle()
	p.acknowledge()
	p.flush()
}

// Writable continues sending after the link's backlog has shrunk.
func (p *Port) Writable() {
	if s := p.session; s.starved.Load() {
		s.flush()
	}
}

// settle processes the acknowledgements received, and sends what they have
// made room for.
func (p *Port) settle() {
	if len(p.acks) == 0 {
		return
	}
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port != p || s.ended.Load() {
		p.acks = p.acks[:0]
		return
	}
	for _, a := range p.acks {
		p.settleLocked(a)
	}
	p.acks = p.acks[:0]
	p.relay.queuedBytes.Add(-p.uncharged)
	p.uncharged = 0
	p.settledLocked()
	s.pumpLocked()
	s.weighLocked()
}

// settled is a stretch of entries whose end the store has not been told, and
// the messages to be given up when it has.
type settled struct {
	from, to uint64
	msgs     []*Message
}

// settleEntryLocked notes that the session does not need e any more.
func (p *Port) settleEntryLocked(e *sent) {
	if !e.kept {
		return
	}
	if p.settled.from == 0 || e.seq != p.settled.to+1 {
		p.settledLocked()
		p.settled.from = e.seq
	}
	p.settled.to = e.seq
	if e.msg != nil {
		p.settled.msgs = append(p.settled.msgs, e.msg)
	}
}

// settledLocked tells the store what has been noted.
func (p *Port) settledLocked() {
	if p.settled.from == 0 {
		return
	}
	p.session.recordLocked(Change{Kind: Settled, Seq: p.settled.from, Last: p.settled.to})
	for _, m := range p.settled.msgs {
		p.relay.unkeep(m)
	}
	clear(p.settled.msgs)
	p.settled = settled{msgs: p.settled.msgs[:0]}
}

func (p *Port) settleLocked(a ack) {
	s := p.session
	i, held := s.window.find(a.id)
	known := held && i < s.window.current // what has not been sent on this connection cannot be acknowledged on it
	var e *sent
	if known {
		e = s.window.at(i)
	}
	done := known && a.kind == wire.PUBACK && e.state == awaitPuback ||
		known && a.kind == wire.PUBCOMP && e.state == awaitPubcomp
	switch {
	case a.kind == wire.PUBREC && !known && (held || a.reason >= wire.UnspecifiedError):
		// It is yet to be sent again, or it is over for the client as well. [MQTT-4.3.3-4]
	case a.kind == wire.PUBREC && !known:
		p.answers = wire.AppendAck(p.answers, wire.PUBREL, p.version, a.id, wire.PacketIDNotFound)
	case a.kind == wire.PUBREC && a.reason >= wire.UnspecifiedError && e.state == awaitPubrec:
		done = true // [MQTT-4.3.3-4]
	case a.kind == wire.PUBREC && e.state != awaitPuback:
		if e.kept {
			p.promised(e.level)
		}
		if e.state == awaitPubrec {
			e.state = awaitPubcomp
			s.books.delivered++
			p.uncharged += e.size
			if e.kept {
				s.recordLocked(Change{Kind: HalfAcked, Seq: e.seq})
				s.unkeep(&e.delivery)
				e.kept = true // its identifier still is
			}
			s.window.release(e)
		}
		p.answers = wire.AppendAck(p.answers, wire.PUBREL, p.version, a.id, wire.Success)
	}
	if !done {
		return
	}
	if a.reason >= wire.UnspecifiedError && e.msg != nil {
		s.dropLocked(DropRefusedByClient, e.msg.origin(e.qos), 1)
	} else if e.msg != nil {
		s.books.delivered++
	}
	p.uncharged += e.size
	p.settleEntryLocked(e)
	s.window.remove(i)
}

// acknowledge sends the answers, through the store if what they promise, or
// something that was answered earlier, is not stored yet.
func (p *Port) acknowledge() {
	if p.need > Memory || len(p.gates) > 0 || p.uncommitted.Load() > 0 {
		p.commit()
		return
	}
	if len(p.answers) > 0 {
		p.link.Send(p.answers)
		p.answers = p.answers[:0]
	}
}

// PortTraffic is how many messages a session has received and been sent.
type PortTraffic struct{ Received, Sent uint64 }

// Traffic reads the session's counts.
func (p *Port) Traffic() PortTraffic {
	var in, out Traffic
	in.accumulate(&p.session.received)
	out.accumulate(&p.session.sent)
	return PortTraffic{in.Messages(), out.Messages()}
}
