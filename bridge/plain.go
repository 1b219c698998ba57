package bridge

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// plainFar is a broker that speaks MQTT 3.1.1. The connection is made of package
// wire: clients for 3.1.1 keep a session and packet identifiers of their own,
// and here those of the session in this broker are to be used.
type plainFar struct{ mqttFar }

// plainWindow is how many messages are on their way at once: 3.1.1 has no
// Receive Maximum.
const plainWindow = 100

func (f plainFar) run(ctx context.Context) {
	f.again(ctx, func() (connected bool, err error) {
		connected, err = f.session(ctx)
		return connected, cmp.Or(f.lineWhy(), err, errLost)
	}, error.Error)
}

// session is one connection, from the attempt to its end.
func (f plainFar) session(ctx context.Context) (connected bool, err error) {
	u := f.Uplink
	k, err := u.cfg.connect()
	if err != nil {
		return false, err
	}
	c, err := u.open(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = c.writeFrames(wire.AppendDisconnect(nil, wire.V311, wire.Success, "")) // who stops waits for that a while
		_ = c.Close()
	})
	defer stop()
	ack, err := f.login(c, &k)
	if err != nil {
		return false, err
	}
	u.connected()
	a := accepts{version: wire.V311, maxQoS: 2, retain: true}
	if err := u.exchange.begin(c, a, limits{anew: !ack.SessionPresent, receiveMaximum: plainWindow}); err != nil {
		return true, err
	}
	defer u.exchange.end()
	line := &plainLine{Uplink: u, c: c, box: u.exchange.current(), pinger: newPinger()}
	u.background(func() {
		if err := line.pinger.Run(ctx, c, u.cfg.keepAlive()); err != nil {
			c.fail(err)
		}
	})
	if err := line.subscribe(); err != nil {
		c.fail(err)
		return true, err
	}
	err = line.read()
	c.lost(err)
	return true, err
}

// login says CONNECT and waits for CONNACK.
func (f plainFar) login(c *conn, k *wire.Connect) (ack wire.Connack, err error) {
	if err = c.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return ack, err
	}
	if err = c.writeFrames(wire.AppendConnect(nil, k)); err != nil {
		return ack, err
	}
	frame, err := readFrame(c.in, f.cfg.MaxPacket)
	if err != nil {
		return ack, err
	}
	if ack, err = wire.DecodeConnack(frame, wire.V311); err != nil {
		return ack, fmt.Errorf("the far side breaks the protocol: %w", err)
	}
	if ack.Reason != wire.Success {
		f.turnedDown(ack.Reason)
		return ack, errors.New("the far side refuses the connection: " + ack.Reason.String())
	}
	return ack, c.SetReadDeadline(time.Time{})
}

// plainLine is a connection that has been let in.
type plainLine struct {
	*Uplink
	c      *conn
	box    *outbox
	pinger *pinger
	asked  map[uint16][]wire.Filter // by SUBSCRIBE that has not been answered
}

// subscribe asks for what may come in. Only when that is answered is the uplink
// up.
func (l *plainLine) subscribe() error {
	var filters []wire.Filter
	for i := range l.cfg.Rules {
		r := &l.cfg.Rules[i]
		if r.Direction&In != 0 && !slices.ContainsFunc(filters, func(f wire.Filter) bool { return f.Filter == r.remote() }) {
			filters = append(filters, wire.Filter{Filter: r.remote(), QoS: r.QoS})
		}
	}
	if len(filters) == 0 {
		l.subscribed(l.c)
		return nil
	}
	l.asked = make(map[uint16][]wire.Filter)
	var b []byte
	for part := range slices.Chunk(filters, filtersAtOnce) {
		id, ok := l.box.freeID(func(id uint16) bool { return l.asked[id] == nil })
		if !ok {
			return errors.New("there is no packet identifier left for SUBSCRIBE")
		}
		l.asked[id] = part
		b = wire.AppendSubscribe(b, wire.V311, &wire.Subscribe{PacketID: id, Filters: part})
	}
	return l.c.writeFrames(b)
}

// read takes what comes until the connection ends.
func (l *plainLine) read() error {
	for n := 1; ; n++ {
		if n%maxFrames == 0 || !whole(l.c.in) {
			l.near.flush()
		}
		f, err := readFrame(l.c.in, l.cfg.MaxPacket)
		if err != nil {
			return err
		}
		l.pinger.PacketReceived()
		if err := l.take(f); err != nil {
			return fmt.Errorf("the far side breaks the protocol: %w", err)
		}
	}
}

// whole reports whether the next frame is there already.
func whole(in *bufio.Reader) bool {
	head, err := in.Peek(min(in.Buffered(), 5))
	if err != nil {
		return false
	}
	size, ok := wire.FrameSize(head)
	return ok && size <= in.Buffered()
}

func (l *plainLine) take(f wire.Frame) error {
	switch f.Type {
	case wire.PUBACK, wire.PUBREC, wire.PUBCOMP:
		id, _, err := wire.DecodeAck(f, wire.V311)
		if err != nil {
			return err
		}
		return l.exchange.acked(frame{kind: f.Type, id: id})
	case wire.PUBREL:
		id, _, err := wire.DecodeAck(f, wire.V311)
		if err != nil {
			return err
		}
		return l.near.receive(l.box, wire.AppendAck(nil, wire.PUBREL, wire.V5, id, wire.Success))
	case wire.PUBLISH:
		p, err := wire.DecodePublish(f, wire.V311)
		if err != nil {
			return err
		}
		return l.came(&p)
	case wire.SUBACK:
		return l.granted(f)
	case wire.PINGRESP:
		l.c.ponged()
		return nil
	default:
		return fmt.Errorf("%v is not for a client", f.Type)
	}
}

func (l *plainLine) granted(f wire.Frame) error {
	id, codes, err := wire.DecodeSuback(f, wire.V311)
	switch {
	case err != nil:
		return err
	case len(codes) == 0 || len(codes) != len(l.asked[id]):
		return errors.New("SUBACK for nothing that was asked")
	}
	for i, code := range codes {
		if code >= wire.UnspecifiedError {
			l.c.fail(fmt.Errorf("the far side refuses the subscription to %q", l.asked[id][i].Filter))
			return nil
		}
	}
	l.heard()
	if delete(l.asked, id); len(l.asked) == 0 {
		l.subscribed(l.c)
	}
	return nil
}

// came takes in a publish of the far side.
func (l *plainLine) came(p *wire.Publish) error {
	l.heard()
	l.counts.received.Add(1)
	l.counts.receivedBytes.Add(uint64(len(p.Payload)))
	if p.Dup {
		l.counts.repeated.Add(1)
	}
	topic, rule := l.rules().in(string(p.Topic))
	reason := wire.Success
	switch {
	case rule == nil: // the far side still has a subscription that was given up
		reason = wire.NotAuthorized
	case len(topic) > maxTopic:
		reason = wire.TopicNameInvalid
	case p.Retain && !rule.Retain: // comes again with each subscription
	default:
		out := wire.Out{Version: wire.V5, QoS: p.QoS, Dup: p.Dup, Retain: p.Retain, Topic: []byte(topic), Payload: p.Payload}
		return l.near.receive(l.box, wire.AppendPublish(nil, &out, p.PacketID))
	}
	if p.QoS > 0 {
		l.box.Send(wire.AppendAck(nil, ackOf(p.QoS), wire.V5, p.PacketID, reason))
		l.box.Flush()
	}
	return nil
}

// version is what is spoken on the connection.
func (o *outbox) version() wire.Version { return cmp.Or(o.accepts.version, wire.V5) }

// answerLocked adds f, an acknowledgement that this broker makes. In 3.1.1 it
// has no reason: what may be taken later must not seem to be taken now.
func (o *outbox) answerLocked(f wire.Frame) {
	if o.version() == wire.V5 {
		o.buf = append(o.buf, f.Raw...)
		return
	}
	id, r, err := wire.DecodeAck(f, wire.V5)
	switch {
	case err != nil:
	case r >= wire.UnspecifiedError && transient(r):
		o.up.fault("this broker does not take a message for now: " + r.String())
	default:
		o.buf = wire.AppendAck(o.buf, f.Type, o.version(), id, wire.Success)
	}
}
