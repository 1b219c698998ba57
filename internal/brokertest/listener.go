package brokertest

import (
	"context"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/synthetism/edgebroker/wire"
)

// listener is the connection of a monitor. start connects and subscribes;
// listen feeds the monitor until leave has been called, from any goroutine,
// and the broker has closed the connection.
type listener interface {
	start(ctx context.Context) error
	listen() error
	leave() error
}

func newListener(m *monitor, addr, root string) listener {
	if m.plan.paho {
		return &pahoListener{m: m, addr: addr, root: root, failed: make(chan error, 1)}
	}
	return &rawListener{m: m, addr: addr, root: root}
}

// rawListener reads frames itself.
type rawListener struct {
	m    *monitor
	addr string
	root string
	link *link
}

func (r *rawListener) start(context.Context) error {
	c := Clean(r.m.plan.version, r.m.id)
	l, _, err := openLink(r.addr, &c)
	if err != nil {
		return err
	}
	r.link = l
	l.autoAck = true
	l.patience = time.Hour // it may be long until there is something to hear
	codes, err := l.subscribe(r.m.filters(r.root)...)
	for _, c := range codes {
		if err == nil && c != wire.Reason(r.m.plan.qos) {
			err = fmt.Errorf("got code %#x instead of QoS %d", byte(c), r.m.plan.qos)
		}
	}
	if err != nil {
		l.conn.Close()
		return fmt.Errorf("%s: subscribe: %w", r.m.id, err)
	}
	return nil
}

func (r *rawListener) listen() error {
	defer r.link.conn.Close()
	for {
		f, err := r.link.next()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", r.m.id, err)
		case f.Type == wire.PINGRESP:
			return r.link.disconnect()
		case f.Type != wire.PUBLISH:
			return fmt.Errorf("%s: got %v instead of a message", r.m.id, f.Type)
		}
		d, err := wire.DecodeDelivery(f, r.link.version)
		if err != nil {
			return fmt.Errorf("%s: delivery: %w", r.m.id, err)
		}
		if err := r.m.take(string(d.Topic), d.QoS, d.Retain, d.Payload); err != nil {
			return err
		}
	}
}

// leave lets listen disconnect after one more round trip, in which QoS 2
// handshakes come to their end.
func (r *rawListener) leave() error {
	r.link.conn.SetReadDeadline(time.Now().Add(Patience))
	return r.link.send(wire.AppendPing(nil, wire.PINGREQ))
}

// pahoListener is a monitor as an application would write it.
type pahoListener struct {
	m      *monitor
	addr   string
	root   string
	client *paho.Client
	failed chan error
}

func (p *pahoListener) start(ctx context.Context) error {
	c, err := openPaho(ctx, p.addr, p.m.id, func(msg paho.PublishReceived) (bool, error) {
		pk := msg.Packet
		if err := p.m.take(pk.Topic, pk.QoS, pk.Retain, pk.Payload); err != nil {
			select {
			case p.failed <- err:
			default:
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	p.client = c
	s := &paho.Subscribe{}
	for _, f := range p.m.filters(p.root) {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f.Filter, QoS: f.QoS})
	}
	if _, err := c.Subscribe(ctx, s); err != nil {
		return fmt.Errorf("%s: subscribe: %w", p.m.id, err)
	}
	return nil
}

func (p *pahoListener) listen() error {
	select {
	case err := <-p.failed:
		return err
	case <-p.client.Done():
		return nil
	}
}

// leave makes a round trip first, so that the last acknowledgement is out.
func (p *pahoListener) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	u := &paho.Unsubscribe{}
	for _, f := range p.m.filters(p.root) {
		u.Topics = append(u.Topics, f.Filter)
	}
	if _, err := p.client.Unsubscribe(ctx, u); err != nil {
		p.client.Disconnect(&paho.Disconnect{})
		return fmt.Errorf("%s: unsubscribe: %w", p.m.id, err)
	}
	return p.client.Disconnect(&paho.Disconnect{ReasonCode: packets.DisconnectNormalDisconnection})
}

// openPaho connects an MQTT 5 client of eclipse/paho.golang.
func openPaho(ctx context.Context, addr, id string, handlers ...func(paho.PublishReceived) (bool, error)) (*paho.Client, error) {
	l, err := dialLink(addr, wire.V5)
	if err != nil {
		return nil, err
	}
	c := paho.NewClient(paho.ClientConfig{ClientID: id, Conn: l.conn, OnPublishReceived: handlers, PacketTimeout: Patience})
	ack, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60})
	if err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	if ack.ReasonCode != 0 {
		l.conn.Close()
		return nil, fmt.Errorf("connect %s: refused with code %#x", id, ack.ReasonCode)
	}
	return c, nil
}
