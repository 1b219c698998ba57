package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"

	"github.com/synthetism/edgebroker/wire"
)

// exchange is the session state of the client that autopaho runs: it keeps none
// of its own, but lets the session in this broker be that of the connection.
// What paho has sent by itself is what has no message in it.
type exchange struct {
	up *Uplink

	mu    sync.Mutex
	box   *outbox                                 // nil while there is no connection
	asked map[uint16]chan<- packets.ControlPacket // SUBSCRIBE and UNSUBSCRIBE, by packet identifier
}

var _ session.SessionManager = (*exchange)(nil)

// ConAckReceived begins a connection.
func (x *exchange) ConAckReceived(w io.Writer, _ *packets.Connect, ack *packets.Connack) error {
	a, l := accepts{maxQoS: 2, retain: true}, limits{anew: !ack.SessionPresent}
	if p := ack.Properties; p != nil {
		if p.MaximumQOS != nil {
			a.maxQoS = min(2, *p.MaximumQOS)
		}
		if p.RetainAvailable != nil {
			a.retain = *p.RetainAvailable != 0
		}
		if p.MaximumPacketSize != nil {
			a.maxPacket = int(min(*p.MaximumPacketSize, wire.MaxFrameSize))
		}
		if p.ReceiveMaximum != nil {
			l.receiveMaximum = *p.ReceiveMaximum
		}
	}
	c, ok := w.(*conn)
	if !ok {
		return fmt.Errorf("unexpected connection %T", w)
	}
	return x.begin(c, a, l)
}

func (x *exchange) begin(c *conn, a accepts, l limits) error {
	box := newOutbox(x.up, a)
	box.line = c
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.box != nil {
		return errors.New("the connection before it has not ended")
	}
	alone := l
	t := x.up.suspect.tries()
	if t != nil {
		box.trial.Store(t)
		alone.receiveMaximum = 1
		x.up.log.Warn("uplink: the far side has ended connections at one message; it is tried alone", "bridge", x.up.cfg.Name)
	}
	if err := x.up.near.attach(box, alone); err != nil {
		return err
	}
	x.box = box
	x.up.background(func() { box.run(c.writeFrames) })
	x.up.background(func() { x.watch(box, c, l) })
	if t != nil {
		x.up.background(func() { x.try(box, c, t, l) })
	}
	box.Flush()
	return nil
}

// ConnectionLost ends the connection; it may be called again. d is what the far
// side has said, if it has.
func (x *exchange) ConnectionLost(d *packets.Disconnect) error {
	if box := x.current(); d != nil && box != nil {
		why := ""
		if d.Properties != nil {
			why = d.Properties.ReasonString
		}
		box.line.dismissed(wire.Reason(d.ReasonCode), why)
	}
	x.end()
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, ch := range x.asked {
		ch <- packets.ControlPacket{}
		delete(x.asked, id)
	}
	return nil
}

func (x *exchange) end() {
	x.mu.Lock()
	box := x.box
	x.box = nil
	x.mu.Unlock()
	if box != nil {
		x.up.suspectEnded(box)
		x.up.canaryEnded(box, box.flies() && box.line.hungUp())
		box.end()
		x.up.near.detach()
	}
}

// current is the outbox of the connection, nil if there is none.
func (x *exchange) current() *outbox {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.box
}

// AddToSession gives a packet identifier to what paho sends itself, one that no
// message on its way has.
func (x *exchange) AddToSession(_ context.Context, p session.Packet, resp chan<- packets.ControlPacket) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.box == nil {
		return session.ErrNoConnection
	}
	if t := p.Type(); t != packets.SUBSCRIBE && t != packets.UNSUBSCRIBE {
		return fmt.Errorf("packet type %d is not for paho to send", t)
	}
	id, ok := x.box.freeID(func(id uint16) bool { return x.asked[id] == nil })
	if !ok {
		return session.ErrPacketIdentifiersExhausted
	}
	p.SetIdentifier(id)
	x.asked[id] = resp
	return nil
}

// PacketReceived takes what the far side has sent.
func (x *exchange) PacketReceived(p *packets.ControlPacket, _ chan<- *packets.Publish) error {
	err := x.take(p)
	if err != nil { // paho does not look at it
		x.up.fault("the far side breaks the protocol: " + err.Error())
	}
	return err
}

func (x *exchange) take(p *packets.ControlPacket) error {
	switch c := p.Content.(type) {
	case *packets.Puback:
		return x.acked(frame{kind: wire.PUBACK, id: c.PacketID, reason: wire.Reason(c.ReasonCode)})
	case *packets.Pubrec:
		return x.acked(frame{kind: wire.PUBREC, id: c.PacketID, reason: wire.Reason(c.ReasonCode)})
	case *packets.Pubcomp:
		return x.acked(frame{kind: wire.PUBCOMP, id: c.PacketID, reason: wire.Reason(c.ReasonCode)})
	case *packets.Pubrel:
		return x.up.near.receive(x.current(), wire.AppendAck(nil, wire.PUBREL, wire.V5, c.PacketID, wire.Reason(c.ReasonCode)))
	case *packets.Publish:
		return x.up.arrived(c)
	case *packets.Suback:
		x.answered(c.PacketID, p)
	case *packets.Unsuback:
		x.answered(c.PacketID, p)
	}
	return nil
}

func (x *exchange) answered(id uint16, p *packets.ControlPacket) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ch := x.asked[id]; ch != nil {
		delete(x.asked, id)
		ch <- *p
	}
}

func (x *exchange) acked(f frame) error {
	x.up.heard()
	box := x.current()
	if box == nil {
		return nil // it will be said again
	}
	tell := box.acked(f)
	if box.shown() {
		x.up.becomeOn(box.line, Up, "")
	}
	for _, f := range tell {
		if f.kind != wire.PUBREC && f.reason < wire.UnspecifiedError && !f.canary {
			x.up.counts.acked.Add(1)
		}
		if err := x.up.near.receive(box, wire.AppendAck(nil, f.kind, wire.V5, f.id, f.reason)); err != nil {
			return err
		}
	}
	return nil
}

// Ack, Close and the loggers are of no use here.
func (x *exchange) Ack(*packets.Publish) error    { return nil }
func (x *exchange) Close() error                  { return nil }
func (x *exchange) SetErrorLogger(paholog.Logger) {}
func (x *exchange) SetDebugLogger(paholog.Logger) {}
