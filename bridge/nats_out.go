package bridge

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// natsOut is what is on its way from the session here to NATS: the relay.Taker
// of the session.
//
// A stream may refuse a message and take the next one, as when its leader
// changes. So messages go in lanes, each in order: a lane is a subject, and one
// message of it is on its way at a time; or, if nobody else writes to the stream,
// there is one lane for all, whose messages name the one before them, so that
// the stream refuses all that follow one which it has refused.
type natsOut struct {
	taker
	s *natsSession

	loose  []departure // go at once, in order
	lanes  map[string]*lane
	ready  []*lane            // those that may have something to send
	flying map[uint64]*parcel // sent and not answered, by their tokens
	token  uint64
	unsent int      // bytes of payloads that have not been sent
	last   string   // identifier of the message that was sent last, if nobody else writes
	stuck  int      // lanes that do not get on
	jobs   []func() // for the goroutine that may block
	early  int      // messages that have come while attaching; -1 afterwards

	prefix string // of the subjects that answers come on
}

// parcel is a message on its way.
type parcel struct {
	relay.Delivery
	lane    *lane  // nil if it has none
	topic   string // what the far side calls it, as a topic
	subject string
	id      string
	retain  bool
	sent    bool   // at least once in this session
	token   uint64 // 0 if it is not flying
	at      int64  // when it was sent last
	early   bool   // it may have been stored already by an earlier session
	doubt   bool   // the stream may not take its subject
}

// departure is a parcel that is to be sent.
type departure struct {
	*parcel
	token   uint64 // that the answer names; 0 if none comes
	after   string // identifier of the message before it, if nobody else writes
	again   bool   // it has been sent before
	refused bool   // it cannot be sent
}

// lane is messages that must not overtake each other.
type lane struct {
	key    string
	queue  []*parcel
	flying int
	ask    bool // when nothing is flying any more, the stream is to be asked what it has, before anything is sent
	rests  bool // nothing is to be done for now: it is being asked, or time has to pass
	stuck  bool // something was refused and nothing taken since
	listed bool // in ready
}

func newNatsOut(s *natsSession) *natsOut {
	o := &natsOut{s: s, lanes: make(map[string]*lane), flying: make(map[uint64]*parcel)}
	o.begin(s.up)
	return o
}

// listen makes the subscription on which answers come.
func (o *natsOut) listen() error {
	inbox := o.s.nc.NewInbox()
	o.prefix = inbox + "."
	_, err := o.s.nc.Subscribe(inbox+".*", o.replied)
	return err
}

// attached says that what the session had in flight has been taken.
func (o *natsOut) attached() {
	o.mu.Lock()
	o.early = -1
	o.mu.Unlock()
	o.Flush()
}

func (o *natsOut) stored() bool { return o.s.stream != nil }

// Take implements relay.Taker.
func (o *natsOut) Take(d relay.Delivery) {
	u := o.s.up
	topic, rule := u.out(d.Message.Topic)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.over:
		return
	case o.s.bucket != nil && d.Message.Topic == u.canary.local:
		o.settleLocked(d, wire.Success)
		o.s.bucket.overtaken(d.Message.Payload)
		return
	case rule == nil && u.rules().beside(d.Message.Topic):
		o.settleLocked(d, wire.Success)
		return
	case rule == nil: // the rules have changed since it was queued
		o.judgeLocked(d, wire.ImplementationError, "no rule lets it pass any more")
		return
	case u.cfg.seen(d.Message.Props):
		u.counts.loops.Add(1)
		o.settleLocked(d, wire.Success)
		return
	}
	if o.s.forBucket(d, rule) {
		o.unsent += len(d.Message.Payload)
		o.pace.spend(len(topic) + len(d.Message.Payload) + len(d.Message.Props))
		o.s.bucket.take(&parcel{Delivery: d, topic: topic}, rule)
		return
	}
	p := &parcel{Delivery: d, topic: topic, subject: o.s.cfg.Events.subject(topic), retain: d.Retain && rule.Retain}
	if d.QoS > 0 {
		p.id = messageID(u.cfg.ClientID, o.s.cfg.Epoch, u.cfg.Name, d)
		p.early = d.Dup || o.early >= 0 && o.early < o.s.cfg.window()
		if o.early >= 0 {
			o.early++
		}
	}
	o.unsent += len(d.Message.Payload)
	o.pace.spend(len(p.subject) + len(d.Message.Payload) + len(d.Message.Props))
	if !o.stored() || d.QoS == 0 && !o.s.cfg.OnlyWriter {
		o.loose = append(o.loose, departure{parcel: p})
		return
	}
	if d.QoS == 0 { // it must be known to those that follow
		p.id = "0/" + nats.NewInbox()
	}
	o.enterLocked(p)
}

// enterLocked puts p into its lane.
func (o *natsOut) enterLocked(p *parcel) {
	key := p.subject
	if o.s.cfg.OnlyWriter {
		key = ""
	}
	l := o.lanes[key]
	if l == nil {
		l = &lane{key: key, ask: p.early || o.s.cfg.OnlyWriter}
		o.lanes[key] = l
	}
	p.lane = l
	l.queue = append(l.queue, p)
	o.readyLocked(l)
}

func (o *natsOut) readyLocked(l *lane) {
	if !l.listed && !l.rests {
		l.listed = true
		o.ready = append(o.ready, l)
	}
}

// settleLocked says to the session here that d is done with.
func (o *natsOut) settleLocked(d relay.Delivery, r wire.Reason) {
	if d.QoS > 0 {
		o.verdict = append(o.verdict, frame{kind: ackOf(d.QoS), id: d.PacketID, reason: r})
	}
}

// Send implements relay.Link: PUBREL is answered here, and what answers
// messages that came in goes to them.
func (o *natsOut) Send(frames []byte) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := frames; len(rest) > 0 && !o.over; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil || n == 0 {
			break
		}
		rest = rest[n:]
		id, reason, err := wire.DecodeAck(f, wire.V5)
		switch {
		case err != nil:
		case f.Type == wire.PUBREL:
			o.verdict = append(o.verdict, frame{kind: wire.PUBCOMP, id: id})
		case f.Type == wire.PUBACK:
			o.jobs = append(o.jobs, func() { o.s.in.answered(id, reason) })
		}
	}
	return o.unsent
}

// SendShared implements relay.Link: what has a body is a message, which goes to
// Take.
func (o *natsOut) SendShared(head, _ []byte) int { return o.Send(head) }

// Pending implements relay.Link.
func (o *natsOut) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over && o.pace.over() {
		return brim
	}
	return o.unsent
}

// Kick implements relay.Link: the session here can not go on.
func (o *natsOut) Kick(_ wire.Reason, why string) {
	o.s.fail(errors.New("this broker cannot go on with it: " + why))
}

func (o *natsOut) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.over = true
		o.pace.stop()
		close(o.gone)
	}
}

// oldest is for how long the stream has not answered.
func (o *natsOut) oldest() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	var at int64
	for _, p := range o.flying {
		if at == 0 || p.at < at {
			at = p.at
		}
	}
	if at == 0 {
		return 0
	}
	return time.Duration(o.s.up.now() - at)
}

// run sends until the session ends.
func (o *natsOut) run() {
	limit := o.s.up.cfg.AckTimeout
	tick := time.NewTicker(limit / 8)
	defer tick.Stop()
	for {
		select {
		case <-o.gone:
			return
		case <-tick.C:
			if o.oldest() > limit {
				o.s.fail(errors.New("the far side has not answered about a message for " + limit.String()))
			}
			if o.s.up.renews() {
				o.s.fail(errRenewal)
			}
			o.s.prove()
		case <-o.wake:
			for o.step() {
			}
		}
	}
}

// step does what there is to do, and reports false if that was nothing.
func (o *natsOut) step() bool {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return false
	}
	verdict, jobs := o.verdict, o.jobs
	o.verdict, o.jobs = nil, nil
	batch, asks := o.nextLocked()
	o.mu.Unlock()

	o.pronounce(o, verdict, o.s.fail)
	for _, do := range jobs {
		do()
	}
	for _, l := range asks {
		o.s.tasks.Go(func() { o.question(l) })
	}
	o.publish(batch)
	return len(verdict)+len(jobs)+len(batch)+len(asks) > 0
}
