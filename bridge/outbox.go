package bridge

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// accepts is what the far side has said in CONNACK that it takes.
type accepts struct {
	version   wire.Version // that is spoken; 0: 5
	maxPacket int          // bytes; 0: no limit
	maxQoS    byte         // [MQTT-3.2.2-11]
	retain    bool         // [MQTT-3.2.2-14]
}

// outbox is what is on its way from the session here to one connection of the
// far side: the relay.Taker of the session.
type outbox struct {
	taker
	accepts accepts
	line    *conn

	buf       []byte // frames to be written
	spare     []byte
	writing   int                   // bytes of the frames that are being written
	answers   int                   // of buf, bytes that the far side has made this one say
	held      bool                  // nothing more is sent, since something was refused for now
	flying    map[uint16]flight     // sent and not acknowledged, by packet identifier
	serial    uint64                // of the last flight
	unwritten []sent                // flights in buf
	pending   []sent                // flights that are being written
	headAt    int64                 // when the oldest of flying became that
	begunAt   int64                 // when the last write began
	order     []sent                // flights as they were sent; some may be acknowledged
	lowered   map[uint16]byte       // sent at a lower QoS than they have here, by packet identifier
	trial     atomic.Pointer[trial] // what is tried on this connection; nil: nothing is
	again     map[uint16]bool       // refused on this connection, and not to be called a duplicate
	canary    uint16                // packet identifier of a canary that flies; 0: none does
	open      bool                  // nothing has shown yet that the far side takes messages
}

// flight is a message that the far side is to answer about.
type flight struct {
	at  int64          // when it was written, in nanoseconds of the clock; 0: it has not been
	m   *relay.Message // nil after PUBREC
	seq uint64         // relay.Delivery.Seq

	serial uint64 // of the outbox, another for each flight
}

// sent names a flight.
type sent struct {
	id     uint16
	serial uint64
}

// frame is an acknowledgement that the uplink itself makes.
type frame struct {
	kind   wire.Type
	id     uint16
	reason wire.Reason
	dead   *relay.Message // to be kept as a dead letter before; nil: none
	why    string
	seq    uint64 // relay.Delivery.Seq of dead
	canary bool   // it is of no message
}

func newOutbox(up *Uplink, a accepts) *outbox {
	o := &outbox{accepts: a, flying: make(map[uint16]flight), lowered: make(map[uint16]byte), again: make(map[uint16]bool)}
	o.begin(up)
	return o
}

// maxTopic is how many bytes a topic may have. [MQTT-1.5.4]
const maxTopic = 65535

// Take implements relay.Taker.
func (o *outbox) Take(d relay.Delivery) {
	u := o.up
	if u.canary.local != "" && d.Message.Topic == u.canary.local {
		o.takeCanary(d)
		return
	}
	topic, rule := u.out(d.Message.Topic)
	switch {
	case rule == nil && u.rules().beside(d.Message.Topic):
		o.settle(d)
		return
	case rule == nil: // the rules have changed since it was queued
		o.judge(d, "no rule lets it pass any more")
		return
	case u.cfg.seen(d.Message.Props):
		u.counts.loops.Add(1)
		o.settle(d)
		return
	}
	if why := u.suspect.fate(d.Seq, topic); why != "" {
		o.judge(d, why)
		return
	}
	out := wire.Out{Version: o.version(), QoS: min(d.QoS, o.accepts.maxQoS), Dup: d.Dup, Retain: d.Retain && rule.Retain && o.accepts.retain,
		Topic: []byte(topic), Payload: d.Message.Payload, Props: u.cfg.mark(d.Message.Props), HasExpiry: d.Expiry > 0, Expiry: d.Expiry}
	if len(topic) > maxTopic {
		o.judge(d, "its topic is too long with the prefix of the far side")
		return
	}
	if size := wire.PublishSize(&out); o.accepts.maxPacket > 0 && size > o.accepts.maxPacket || size > wire.MaxFrameSize {
		o.judge(d, "it is larger than the far side takes")
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	delete(o.lowered, d.PacketID) // which may be of a message that had this identifier before
	if o.again[d.PacketID] {
		out.Dup = false
		delete(o.again, d.PacketID)
	}
	if out.Dup {
		u.counts.retried.Add(1)
	}
	if o.keepBackLocked(d, &out) {
		return
	}
	o.writeLocked(d, &out)
}

// writeLocked sends d as out.
func (o *outbox) writeLocked(d relay.Delivery, out *wire.Out) {
	u := o.up
	o.pace.spend(len(out.Topic) + len(out.Payload) + len(out.Props))
	o.buf = wire.AppendPublish(o.buf, out, d.PacketID)
	u.counts.sent.Add(1)
	u.counts.sentBytes.Add(uint64(len(d.Message.Payload)))
	if d.QoS == 0 {
		return
	}
	if out.QoS < d.QoS {
		o.lowered[d.PacketID] = d.QoS
	}
	if out.QoS == 0 { // nobody will acknowledge it
		o.verdict = append(o.verdict, frame{kind: ackOf(d.QoS), id: d.PacketID})
		return
	}
	o.flewLocked(d.PacketID, d.Message, d.Seq)
}

// flewLocked notes that the far side is to answer about a message as soon as it
// has been written; m is nil after PUBREC.
func (o *outbox) flewLocked(id uint16, m *relay.Message, seq uint64) {
	o.serial++
	o.flying[id] = flight{m: m, seq: seq, serial: o.serial}
	o.order = append(o.order, sent{id, o.serial})
	o.unwritten = append(o.unwritten, sent{id, o.serial})
}

// ackOf is the packet that acknowledges a PUBLISH.
func ackOf(qos byte) wire.Type {
	if qos == 2 {
		return wire.PUBREC
	}
	return wire.PUBACK
}

// settle says to the session here that d is done with.
func (o *outbox) settle(d relay.Delivery) {
	if d.QoS == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.verdict = append(o.verdict, frame{kind: ackOf(d.QoS), id: d.PacketID})
	if d.QoS == 2 {
		o.lowered[d.PacketID] = 2 // PUBREL, if one comes, is ours to answer
	}
}

// judge gives up d, which can never go.
func (o *outbox) judge(d relay.Delivery, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judgeLocked(d, wire.ImplementationError, why)
}

// Send implements relay.Link: what comes as frames answers the far side.
func (o *outbox) Send(frames []byte) int { return o.SendShared(frames, nil) }

// SendShared implements relay.Link.
func (o *outbox) SendShared(head, body []byte) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return 0
	}
	for rest := head; len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil || n == 0 {
			o.buf = append(o.buf, rest...) // the head of a frame whose body follows
			break
		}
		rest = rest[n:]
		if id, _, err := wire.DecodeAck(f, wire.V5); err == nil && f.Type == wire.PUBREL && o.lowered[id] > 0 {
			delete(o.lowered, id)
			o.verdict = append(o.verdict, frame{kind: wire.PUBCOMP, id: id})
			continue
		}
		if f.Type == wire.PUBREL { // PUBCOMP is due
			id, _, _ := wire.DecodeAck(f, wire.V5)
			o.flewLocked(id, nil, 0)
		}
		o.answerLocked(f)
	}
	o.buf = append(o.buf, body...)
	if o.answers += len(head) + len(body); o.answers > maxAnswers {
		o.answers = 0
		o.up.fault("the far side does not read what answers it")
	}
	return o.pendingLocked()
}

// maxAnswers is more than the answers to all that the far side may send before
// it has one, in bytes.
const maxAnswers = 1 << 20

// brim is more than any limit on what may wait.
const brim = 1 << 30

func (o *outbox) pendingLocked() int {
	if o.held || !o.over && o.pace.over() {
		return brim
	}
	return len(o.buf) + o.writing
}

// Pending implements relay.Link.
func (o *outbox) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pendingLocked()
}

// Kick implements relay.Link: the session here can not go on.
func (o *outbox) Kick(r wire.Reason, why string) {
	o.up.fault("this broker cannot go on with it: " + why)
}

func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.pace.stop()
	o.buf, o.spare = nil, nil
	close(o.gone)
}

// run writes to w until the connection ends.
func (o *outbox) run(w func([]byte) error) {
	for {
		select {
		case <-o.gone:
			return
		case <-o.wake:
		}
		for more := true; more; {
			var b []byte
			var verdict []frame
			if b, verdict, more = o.next(); !more {
				break
			}
			o.pronounce(o, verdict, func(err error) { o.up.fault(err.Error()) })
			if len(b) == 0 {
				continue
			}
			if err := w(b); err != nil {
				return // whoever reads the connection finds out as well
			}
			o.written(b)
			o.up.near.writable()
		}
	}
}

// next takes what there is to do; more is false if that is nothing.
func (o *outbox) next() (b []byte, verdict []frame, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || len(o.buf) == 0 && len(o.verdict) == 0 {
		return nil, nil, false
	}
	b, o.buf = o.buf, o.spare[:0]
	o.spare, o.answers = nil, 0
	o.writing = len(b)
	o.begunAt = o.up.now()
	o.unwritten, o.pending = o.pending[:0], o.unwritten
	verdict, o.verdict = o.verdict, nil
	return b, verdict, true
}

// keepBuffer is how large a buffer is kept that was written.
const keepBuffer = 64 << 10

func (o *outbox) written(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = 0
	now := o.up.now()
	for _, s := range o.pending {
		if f := o.flying[s.id]; f.serial == s.serial {
			f.at = now
			o.flying[s.id] = f
		}
	}
	if cap(b) <= keepBuffer && !o.over {
		o.spare = b
	}
}

// acked takes what the far side says of a message, and reports what the session
// here is to be told: nothing if the message is to be sent again later.
func (o *outbox) acked(f frame) (tell []frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	flown, known := o.flying[f.id]
	delete(o.flying, f.id) // after PUBREC it is there again with PUBREL
	o.oldestLocked()
	if known {
		o.up.tripped(cmp.Or(flown.at, o.begunAt))
	}
	if t := o.trial.Load(); t != nil && t.sent && known && len(o.flying) == 0 && (f.kind != wire.PUBREC || f.reason >= wire.UnspecifiedError) {
		defer t.finish()
	}
	if known && f.id == o.canary {
		o.canary = 0
		o.up.canaryAnswered(f.reason)
		return []frame{{kind: f.kind, id: f.id, canary: true}}
	}
	if f.reason >= wire.UnspecifiedError && known && transient(f.reason) {
		o.again[f.id] = true
		o.held = true
		return nil
	}
	if f.kind == wire.PUBACK && o.lowered[f.id] == 2 {
		f.kind = wire.PUBREC
	}
	if f.reason >= wire.UnspecifiedError && f.kind != wire.PUBCOMP && flown.m != nil {
		f.dead, f.seq, f.why = flown.m, flown.seq, "the far side refuses it: "+f.reason.String()
		o.verdict = append(o.verdict, f)
		o.up.refused(f)
		o.Flush()
		return nil
	}
	return []frame{f}
}

// transient reports whether the far side may take later what it has refused.
func transient(r wire.Reason) bool {
	return r == wire.QuotaExceeded || r == wire.UnspecifiedError || r == wire.ImplementationError
}

// drained reports whether something was refused for now and all else has been
// answered, so that the session may begin again.
func (o *outbox) drained() (refused int, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.again), o.held && len(o.flying) == 0
}

// release lets more be sent after something was refused for now.
func (o *outbox) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
}

// freeID returns a packet identifier that no message on its way has, and that
// free agrees to.
func (o *outbox) freeID(free func(uint16) bool) (uint16, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := uint16(65535); id > 0; id-- {
		if _, used := o.flying[id]; !used && free(id) {
			return id, true
		}
	}
	return 0, false
}

// oldest is for how long the far side has not answered, and how many messages
// wait for its answer.
func (o *outbox) oldest() (age time.Duration, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id, ok := o.oldestLocked(); ok && o.flying[id].at > 0 {
		age = time.Duration(o.up.now() - max(o.flying[id].at, o.headAt))
	}
	return age, len(o.flying)
}

// oldestLocked is the packet identifier of the oldest message without an answer.
func (o *outbox) oldestLocked() (id uint16, ok bool) {
	for len(o.order) > 0 && o.flying[o.order[0].id].serial != o.order[0].serial {
		o.order = o.order[1:]
		o.headAt = o.up.now()
	}
	if len(o.order) == 0 {
		return 0, false
	}
	return o.order[0].id, true
}
