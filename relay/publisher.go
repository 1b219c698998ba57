package relay

import (
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// publisher routes the messages of one source, one after the other. It is
// not safe for concurrent use.
//
// Consecutive messages on one topic are gathered into a run, so that each
// target is locked, appended to and counted once for all of them. A run of
// QoS 0 is gathered as the frames to send; QoS 1 and 2 as messages, since
// they may have to wait.
type publisher struct {
	relay   *Relay
	session *Session // nil when the broker publishes
	id      string   // client identifier, "" for the broker
	source  *Source
	version wire.Version
	access  access

	recent  [4]recent // routes of the last topics, by hash
	last    *recent   // of the last of them
	once    *route    // of a topic that is not remembered; nil until there is one
	run     run
	touched []*Session // have something to flush
	turn    turn
	tally   tally

	unflushed int // bytes that these have got so far, of QoS 0

	unmeasured int    // flushes until a message is measured
	weight     int    // bytes of the last payload
	weights    uint64 // payloads of that size which are yet to be counted

	need  Level      // of what has been recorded since the last commit
	gate  *gate      // for messages that are held back until then; nil if there are none
	gates []*gate    // what that commit will lift, gate included
	batch []delivery // scratch of deliver
	props []byte     // scratch of gather
	slow  []*target  // scratch of finishFrames
}

type recent struct {
	rt      *route
	allowed bool
	load    uint64 // of this turn, to be added to its flow
}

// run is consecutive messages with one route.
type run struct {
	rt     *route
	frames []byte        // QoS 0 frames in the publisher's protocol version
	other  []byte        // the same for the other protocol versions, made when needed
	n      int           // messages in frames
	bytes  int           // their payload bytes
	widest int           // largest of frames
	taken  time.Duration // when the first of frames was taken on; 0 if that is not measured
	links  int           // that have got frames since the clock was read; counted if taken is not 0
	msgs   []*Message
}

const maxRun = 32 << 10 // bytes of frames gathered before they are handed on

// lastTopic is the topic of the route that was returned last, "" if it is not
// remembered.
func (p *publisher) lastTopic() string {
	if c := p.last; c != nil && c.rt != nil {
		return c.rt.topic
	}
	return ""
}

// route returns where topic leads, and whether the publisher may publish to
// it. topic may alias a read buffer. same says that it is lastTopic; false
// if that is not known.
func (p *publisher) route(topic []byte, same bool) (*route, bool) {
	if !same {
		p.last = &p.recent[slot(topic)]
		same = p.last.rt != nil && p.last.rt.topic == string(topic)
	}
	c := p.last
	if same {
		if p.relay.subs.stale(c.rt) || c.rt.flow.gone.Load() {
			p.unload(c)
			c.rt = p.relay.routes.lookup(topic)
			c.allowed = p.access.publish(c.rt.topic)
		}
		return c.rt, c.allowed
	}
	rt := p.find(topic)
	allowed := p.access.publish(rt.topic)
	if rt != p.once {
		p.unload(c)
		*c = recent{rt: rt, allowed: allowed}
	}
	return rt, allowed
}

// find returns the route of topic, which holds until the next find: if it is not
// worth remembering it is made in the memory of the one before.
func (p *publisher) find(topic []byte) *route {
	rt, keep := p.relay.routes.known(topic)
	if rt != nil {
		return rt
	}
	if keep {
		if rt = p.relay.routes.remember(topic); rt != nil {
			return rt
		}
	}
	if p.once == nil || cap(p.once.targets) > targetsPerRoute {
		p.once = &route{}
	} else if p.run.rt == p.once {
		p.finish()
	}
	p.relay.routes.resolveOnce(p.once, topic)
	return p.once
}

// slot is the place of a topic in publisher.recent.
func slot[T string | []byte](topic T) int {
	h := len(topic)
	if h > 0 {
		h += int(topic[h-1]) + int(topic[h/2])<<1
	}
	return h & 3
}

// publish hands on one message that has been checked. pub may alias the read
// buffer; raw is the whole frame if it can be sent on as it is.
func (p *publisher) publish(rt *route, pub *wire.Publish, raw []byte) (*route, *Message) {
	r := p.relay
	if r.bus.WantsMessages() {
		p.reportMessage(rt.topic, pub)
	}
	if p.session != nil {
		p.weigh(len(pub.Payload))
	}
	if pub.QoS == 0 && !pub.Retain && len(pub.Payload) < sharedBodyMin {
		p.gather(rt, pub, raw)
		return rt, nil
	}
	m := p.message(rt, pub)
	m.taken = p.takenOn()
	if m.level > Memory && (m.Retain || m.QoS == 2) {
		m.gate = p.commitGate()
	}
	if m.Retain {
		r.retained.set(m, r.setRetained)
		p.promised(m.level)
		// A session that subscribes now finds m among the retained messages
		// or in this, newer route; perhaps in both, never in neither.
		rt = p.find(pub.Topic)
	}
	if p.run.rt != rt || p.run.n > 0 || len(p.run.msgs) >= 256 {
		p.finish()
		p.run.rt = rt
	}
	p.run.msgs = append(p.run.msgs, m)
	return rt, m
}

// commitGate returns the gate for what must not be sent before the next commit.
func (p *publisher) commitGate() *gate {
	if p.gate == nil {
		p.gate = &gate{logged: p.session == nil || p.session.recorded.Load() == 0}
		p.gates = append(p.gates, p.gate)
	}
	return p.gate
}

// promised says that the answers from now on rely on something recorded.
func (p *publisher) promised(level Level) { p.need = max(p.need, level) }

// goesOn reports whether pub is one more of a run of QoS 0, so that all that there
// is to check has been checked for the one before. raw: see publish.
func (p *publisher) goesOn(pub *wire.Publish, rt *route, allowed bool, raw []byte) bool {
	run := &p.run
	return run.rt == rt && run.n > 0 && pub.QoS == 0 && !pub.Retain && allowed && raw != nil &&
		len(pub.Payload) < sharedBodyMin && len(run.frames) <= maxRun && !p.relay.bus.WantsMessages()
}

// extend adds the frame raw to the run, whose payload has size bytes.
func (p *publisher) extend(raw []byte, size int) {
	p.weigh(size)
	run := &p.run
	run.frames = append(run.frames, raw...)
	run.added(len(raw), size)
}

// added counts a frame, of that size and with a payload of so many bytes.
func (r *run) added(frame, payload int) {
	r.n++
	r.bytes += payload
	r.widest = max(r.widest, frame)
}

// gather adds a small QoS 0 message to the run.
func (p *publisher) gather(rt *route, pub *wire.Publish, raw []byte) {
	if p.run.rt != rt || len(p.run.msgs) > 0 || len(p.run.frames) > maxRun {
		p.finish()
		p.run.rt = rt
	}
	run, before := &p.run, len(p.run.frames)
	if run.n == 0 {
		run.taken = p.takenOn()
	}
	if raw != nil {
		run.frames = append(run.frames, raw...)
	} else {
		o := wire.Out{Version: p.version, Topic: rt.name, Payload: pub.Payload}
		if p.version == wire.V5 {
			p.props = wire.AppendForward(p.props[:0], pub)
			o.Props = p.props
			o.HasExpiry, o.Expiry = pub.HasExpiry, pub.Expiry
		}
		run.frames = wire.AppendPublish(run.frames, &o, 0)
	}
	run.added(len(run.frames)-before, len(pub.Payload))
}

// message makes a Message that owns its bytes.
func (p *publisher) message(rt *route, pub *wire.Publish) *Message {
	m := newMessage(pub.Payload)
	m.Topic, m.name, m.level = rt.topic, rt.name, rt.level
	m.Publisher, m.QoS, m.Retain, m.came = p.id, pub.QoS, pub.Retain, p.relay.coarse.Load()
	if len(pub.Props) > 0 {
		m.Props = wire.AppendForward(nil, pub)
	}
	if pub.HasExpiry {
		m.expires = p.relay.expiresAt(pub.Expiry)
	}
	p.relay.share(m)
	return m
}

// finish delivers the run.
func (p *publisher) finish() {
	run := &p.run
	if run.rt != nil {
		p.enter()
	}
	if run.n > 0 {
		p.finishFrames()
	}
	if len(run.msgs) > 0 {
		p.finishMessages(run.msgs)
		clear(run.msgs)
		run.msgs = run.msgs[:0]
	}
	if run.rt == p.once && run.rt != nil && cap(run.rt.targets) > targetsPerRoute {
		p.once = nil // too much to keep
	}
	run.rt = nil
}

func (p *publisher) count(rt *route, qos byte, n, bytes int) {
	if p.session != nil {
		p.session.received.add(qos, n, bytes)
	} else {
		p.relay.own.add(qos, n, bytes)
	}
	if !p.relay.forget {
		p.flowed(rt, qos, n, bytes)
	}
	if len(rt.targets) == 0 && len(rt.groups) == 0 {
		p.tally.seldom().unheard[qos] += uint64(n)
		p.relay.drop(DropNoSubscribers, origin{p.id, rt.topic, qos}, n)
	}
}

func (p *publisher) finishFrames() {
	run := &p.run
	p.count(run.rt, 0, run.n, run.bytes)
	p.slow = p.slow[:0]
	for i := range run.rt.targets {
		t := &run.rt.targets[i]
		l := t.session.live.Load()
		switch {
		case !t.plain || t.session.queued0.Load() > 0 || (l != nil && !l.plain(run.widest)):
			p.slow = append(p.slow, t)
		case l == nil:
			p.missed(t.session, DropQoS0)
		default:
			p.sendFrames(t.session, l)
		}
	}
	if run.links > 0 {
		p.readHanded()
	}
	p.tally.made[once] += uint64(run.n * (len(run.rt.targets) - len(p.slow)))
	if len(p.slow) > 0 || len(run.rt.groups) > 0 {
		p.slowFrames()
	}
	run.frames, run.other = run.frames[:0], run.other[:0]
	run.n, run.bytes, run.widest, run.taken = 0, 0, 0, 0
	if cap(run.frames) > 2*maxRun {
		run.frames, run.other = nil, nil
	}
}

// plain reports whether the connection takes frames of up to size bytes as
// they are. A 3.x frame gains a property length in v5, which may take another
// byte of remaining length.
func (l *live) plain(size int) bool {
	return l.aliases == nil && l.taker == nil && (l.maxPacket == 0 || size+2 <= l.maxPacket)
}

// sendFrames appends the run's frames to a connected session's link.
func (p *publisher) sendFrames(s *Session, l *live) {
	run := &p.run
	if why, is := p.relay.swamped(l.link); is {
		p.missed(s, why)
		return
	}
	frames := run.frames
	if (l.version == wire.V5) != (p.version == wire.V5) {
		if len(run.other) == 0 {
			run.other = convert(run.other, run.frames, p.version, l.version)
		}
		frames = run.other
	}
	if l.link.Send(frames) == 0 { // the connection has ended meanwhile
		p.missed(s, DropQoS0)
		return
	}
	s.sent.add(0, run.n, run.bytes)
	p.tally.sent += uint64(run.n)
	p.touch(s)
	p.fan(len(frames))
	if run.taken != 0 {
		p.handed()
	}
}

// convert writes the QoS 0 frames in the other family of protocol versions.
func convert(dst, frames []byte, from, to wire.Version) []byte {
	for len(frames) > 0 {
		f, n, err := wire.Scan(frames, 0)
		if err != nil || n == 0 {
			return dst // cannot be: the frames were scanned or made by us
		}
		if pub, err := wire.DecodePublish(f, from); err == nil {
			o := wire.Out{Version: to, Topic: pub.Topic, Payload: pub.Payload}
			dst = wire.AppendPublish(dst, &o, 0)
		}
		frames = frames[n:]
	}
	return dst
}

// slowFrames delivers a run of QoS 0 message by message: to shared
// subscriptions, and to the targets that need more than the bare frames.
func (p *publisher) slowFrames() {
	rt, msgs := p.run.rt, make([]*Message, 0, p.run.n)
	for rest := p.run.frames; len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil || n == 0 {
			break
		}
		if pub, err := wire.DecodePublish(f, p.version); err == nil {
			msgs = append(msgs, p.message(rt, &pub))
		}
		rest = rest[n:]
	}
	if len(msgs) > 0 {
		msgs[0].taken = p.run.taken
	}
	for _, t := range p.slow {
		p.deliver(t, msgs)
	}
	clear(p.slow)
	p.deliverGroups(rt, msgs)
}

// finishMessages delivers messages that may have to wait.
func (p *publisher) finishMessages(msgs []*Message) {
	rt := p.run.rt
	var n, bytes [3]int
	for _, m := range msgs {
		n[m.QoS]++
		bytes[m.QoS] += len(m.Payload)
	}
	for q := range n {
		if n[q] > 0 {
			p.count(rt, byte(q), n[q], bytes[q])
		}
	}
	for i := range rt.targets {
		p.deliver(&rt.targets[i], msgs)
	}
	p.deliverGroups(rt, msgs)
}

// deliver gives msgs to one target.
func (p *publisher) deliver(t *target, msgs []*Message) {
	own, ok := t.forPublisher(p.id)
	if !ok {
		return
	}
	p.batch = p.batch[:0]
	var made [classes]uint64
	for _, m := range msgs {
		d := delivery{msg: m, ids: own.ids, qos: min(m.QoS, own.qos), retain: m.Retain && own.retain}
		if m.taken != 0 {
			d.marks = markTimed
		}
		if own.drain != nil {
			own.drain.apply(&d, p.relay.now())
		}
		p.batch = append(p.batch, d)
		made[classOf(d.qos)]++
	}
	for c, n := range made {
		p.tally.made[c] += n
	}
	rest := p.batch
	if a := own.session.aside.Load(); a != nil {
		rest = p.pass(a, rest)
		made = [classes]uint64{}
		for i := range rest {
			made[classOf(rest[i].qos)]++
		}
	}
	if len(rest) == 0 || p.hand(own.session, rest) {
		return
	}
	for c, n := range made {
		if n > 0 {
			p.tally.seldom().late[c] += n
		}
	}
}

func (p *publisher) deliverGroups(rt *route, msgs []*Message) {
	for _, g := range rt.groups {
		for _, m := range msgs {
			for taken := false; !taken; { // a member picked may have ended since
				s := g.pick(m.Topic, m.QoS, nil)
				if s == nil {
					p.tally.made[classOf(m.QoS)]++
					p.tally.seldom().lost[DropQoS0][classOf(m.QoS)]++
					p.relay.drop(DropQoS0, m.origin(m.QoS), 1)
					break
				}
				taken = p.handShare(s, m)
			}
		}
	}
}

// handShare gives m to a member of a shared subscription. It reports false if
// that has ended.
func (p *publisher) handShare(sub *subscription, m *Message) bool {
	d := sub.share(m)
	if m.taken != 0 {
		d.marks = markTimed
	}
	p.batch = append(p.batch[:0], d)
	taken := p.hand(sub.session, p.batch)
	if taken {
		p.tally.made[classOf(d.qos)]++
	}
	return taken
}

// share is the delivery of m to a member of a shared subscription.
func (sub *subscription) share(m *Message) delivery {
	d := delivery{msg: m, group: sub.group, qos: min(m.QoS, sub.QoS), retain: m.Retain && sub.RetainAsPublished}
	if sub.ID != 0 {
		d.ids = []uint32{sub.ID}
	}
	return d
}

// hand enqueues ds for s and remembers what must be stored and flushed. It
// reports false if s has ended.
func (p *publisher) hand(s *Session, ds []delivery) bool {
	flush, taken := s.enqueue(ds)
	if flush {
		p.touch(s)
	}
	s.commitChunks()
	if taken && s.recorded.Load() != 0 {
		for i := range ds {
			if ds[i].qos > 0 {
				p.promised(ds[i].msg.level)
			}
		}
	}
	clear(ds)
	return taken
}

// touch remembers that s has something to flush. When another publisher has
// promised that already, its flush, still to come, covers ours.
func (p *publisher) touch(s *Session) {
	if s.dirty.CompareAndSwap(false, true) {
		p.touched = append(p.touched, s)
	}
}

// flush writes out what the messages since the last flush have caused.
func (p *publisher) flush() {
	p.weighed() // who gets the message finds it counted
	for i, s := range p.touched {
		s.dirty.Store(false)
		s.flush()
		p.touched[i] = nil
	}
	p.touched, p.unflushed = p.touched[:0], 0
	if p.unmeasured > 0 {
		p.unmeasured--
	}
}
