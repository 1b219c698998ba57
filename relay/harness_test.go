package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// broker is a relay under test.
type broker struct {
	tb
	*relay.Relay
	cfg relay.Config
	bus *events.Bus
}

// newBroker starts a relay. change, if not nil, alters the default config.
func newBroker(t testing.TB, change func(*relay.Config)) *broker {
	b := openBroker(t, change, nil)
	t.Cleanup(b.finish)
	return b
}

func openBroker(t tb, change func(*relay.Config), store relay.Store) *broker {
	cfg := relay.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	bus := events.NewBus(nil, wire.MatchTopic)
	return &broker{tb: t, Relay: relay.New(cfg, store, bus, quiet), cfg: cfg, bus: bus}
}

// client is one connection of a client.
type client struct {
	tb
	b    *broker
	id   string
	v    wire.Version
	port *relay.Port
	link *link
	next uint16 // packet identifier of its last publish

	asked relay.Connect
}

// option alters a CONNECT.
type option func(*relay.Connect)

func kept(c *relay.Connect) { c.CleanStart, c.Expiry = false, 3600 }
func v3(c *relay.Connect)   { c.Version = wire.V311 }
func expiry(seconds uint32) option {
	return func(c *relay.Connect) { c.CleanStart, c.Expiry = false, seconds }
}
func clean(c *relay.Connect)         { c.CleanStart = true }
func receiveMaximum(n uint16) option { return func(c *relay.Connect) { c.ReceiveMaximum = n } }
func maxPacket(n uint32) option      { return func(c *relay.Connect) { c.MaxPacket = n } }
func lastWill(w wire.Will) option    { return func(c *relay.Connect) { c.Will = &w } }
func access(a relay.Access) option   { return func(c *relay.Connect) { c.Access = a } }
func aliases(n uint16) option        { return func(c *relay.Connect) { c.TopicAliasMaximum = n } }
func version(v wire.Version) option  { return func(c *relay.Connect) { c.Version = v } }

// open makes a port without attaching it. The default is MQTT 5 and a session
// that ends with the connection.
func (b *broker) open(id string, opts ...option) *client {
	c := relay.Connect{ClientID: id, Version: wire.V5, CleanStart: true}
	for _, o := range opts {
		o(&c)
	}
	l := newLink(b.cfg.MaxOutbound / 4)
	l.aliasMaximum = c.TopicAliasMaximum
	port, _ := b.Open(c) // nil if it is refused
	return &client{tb: b.tb, b: b, id: id, v: c.Version, port: port, link: l, asked: c}
}

func (b *broker) connect(id string, opts ...option) *client {
	c := b.open(id, opts...)
	c.attach()
	return c
}

func (c *client) attach() {
	c.link.mu.Lock()
	c.link.writable = c.port.Writable
	c.link.mu.Unlock()
	c.port.Attach(c.link)
	c.port.Flush()
}

// end ends the connection without DISCONNECT; disconnect with it.
func (c *client) end()        { c.link.close(); c.port.End(relay.End{Will: true}) }
func (c *client) disconnect() { c.link.close(); c.port.End(relay.End{}) }

// feed hands frames to the port, one after the other, from a buffer that is
// overwritten afterwards as a read buffer is.
func (c *client) feed(frames ...[]byte) error {
	for _, raw := range frames {
		buf := append([]byte(nil), raw...)
		f, n, err := wire.Scan(buf, 0)
		if err != nil || n != len(buf) {
			c.Fatalf("test feeds %x, not one frame: %v", raw, err)
		}
		err = c.port.Receive(f)
		for i := range buf {
			buf[i] = 0xAA
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send feeds frames and flushes.
func (c *client) send(frames ...[]byte) {
	c.Helper()
	if err := c.feed(frames...); err != nil {
		c.Fatalf("%s: receive: %v", c.id, err)
	}
	c.port.Flush()
}

// rejected feeds a frame that must end the connection.
func (c *client) rejected(frame []byte) wire.Reason {
	c.Helper()
	err := c.feed(frame)
	var we *wire.Error
	if !errors.As(err, &we) {
		c.Fatalf("%s: got error %v; want a *wire.Error", c.id, err)
		return 0
	}
	return we.Reason
}

// message is a PUBLISH to be sent by a client.
type message struct {
	topic, payload string
	qos            byte
	retain, dup    bool
	id             uint16 // 0: the next
	expiry         uint32 // 0: none
	alias          uint16
	props          []byte
}

func (c *client) frame(m message) []byte {
	if m.qos > 0 && m.id == 0 {
		c.next++
		m.id = c.next
	}
	return wire.AppendPublish(nil, &wire.Out{Version: c.v, QoS: m.qos, Dup: m.dup, Retain: m.retain, Topic: []byte(m.topic), Props: m.props,
		HasExpiry: m.expiry > 0, Expiry: m.expiry, Alias: m.alias, Payload: []byte(m.payload)}, m.id)
}

// publish sends messages in one batch of input.
func (c *client) publish(ms ...message) {
	c.Helper()
	frames := make([][]byte, len(ms))
	for i, m := range ms {
		frames[i] = c.frame(m)
	}
	c.send(frames...)
}

// pub publishes "topic=payload" words at one QoS.
func (c *client) pub(qos byte, words ...string) {
	c.Helper()
	for _, w := range words {
		topic, payload, _ := strings.Cut(w, "=")
		c.publish(message{topic: topic, payload: payload, qos: qos})
	}
}

func (c *client) ack(t wire.Type, id uint16, r wire.Reason) []byte {
	return wire.AppendAck(nil, t, c.v, id, r)
}

// subscribe does what SUBSCRIBE makes hooks do.
func (c *client) subscribe(subs ...relay.Subscription) []wire.Reason {
	c.Helper()
	var done result
	codes, granted := c.port.Subscribe(subs, &done)
	if done.n != 1 || done.err != nil {
		c.Fatalf("subscribe: done was told %d times, last %v", done.n, done.err)
	}
	c.port.SendRetained(granted)
	c.port.Flush()
	return codes
}

// sub subscribes to filters at one QoS.
func (c *client) sub(qos byte, filters ...string) {
	c.Helper()
	subs := make([]relay.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = relay.Subscription{Filter: f, QoS: qos}
	}
	for i, code := range c.subscribe(subs...) {
		if code != wire.Reason(qos) {
			c.Fatalf("subscribe to %q: got %v", filters[i], code)
		}
	}
}

func (c *client) unsub(filters ...string) []wire.Reason {
	c.Helper()
	var done result
	codes := c.port.Unsubscribe(filters, &done)
	if done.n != 1 {
		c.Fatalf("unsubscribe: done was told %d times", done.n)
	}
	c.port.Flush()
	return codes
}

// result is a Done that remembers.
type result struct {
	n   int
	err error
}

func (r *result) Committed(err error) { r.n++; r.err = err }

// take returns what the client has got since it last looked.
func (c *client) take() []packet {
	c.Helper()
	got, err := c.link.take(c.v)
	if err != nil {
		c.Fatalf("%s: %v", c.id, err)
	}
	return got
}

// wants takes, and compares with the words of packet.String.
func (c *client) wants(want ...string) []packet {
	c.Helper()
	got := c.take()
	if g, w := lines(got), strings.Join(want, "\n"); g != w {
		c.Fatalf("%s got\n%s\nwant\n%s", c.id, indent(g), indent(w))
	}
	return got
}

// acknowledges answers the packets as a good client does and returns the
// publishes among them.
func (c *client) acknowledges(ps []packet) []packet {
	c.Helper()
	var frames [][]byte
	var pubs []packet
	for _, p := range ps {
		switch {
		case p.kind == wire.PUBREL:
			frames = append(frames, c.ack(wire.PUBCOMP, p.id, 0))
		case p.kind != wire.PUBLISH:
		case p.qos == 1:
			frames = append(frames, c.ack(wire.PUBACK, p.id, 0))
		case p.qos == 2:
			frames = append(frames, c.ack(wire.PUBREC, p.id, 0))
		}
		if p.kind == wire.PUBLISH {
			pubs = append(pubs, p)
		}
	}
	if len(frames) > 0 {
		c.send(frames...)
	}
	return pubs
}

// settle takes and acknowledges until nothing comes any more, and returns all
// publishes.
func (c *client) settle() []packet {
	c.Helper()
	var pubs []packet
	for {
		got := c.take()
		if len(got) == 0 {
			return pubs
		}
		pubs = append(pubs, c.acknowledges(got)...)
	}
}

// payloads joins the payloads of publishes.
func payloads(ps []packet) string {
	var s []string
	for _, p := range ps {
		if p.kind == wire.PUBLISH {
			s = append(s, short(p.payload))
		}
	}
	return strings.Join(s, " ")
}

func lines(ps []packet) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = p.String()
	}
	return strings.Join(s, "\n")
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// empty checks that nothing is left that costs memory.
func (b *broker) empty() {
	b.Helper()
	t := b.Totals()
	if t.Queued != 0 || t.QueuedB != 0 || t.Inflight != 0 {
		b.Errorf("%d messages wait, %d in flight, accounted with %d bytes; want none", t.Queued, t.Inflight, t.QueuedB)
	}
	b.balanced()
}

// balanced checks that every message is accounted for. Clients must have
// flushed what they have fed.
func (b *broker) balanced() {
	b.Helper()
	for _, a := range b.Balance() {
		if d := a.Difference(); d != 0 {
			b.Errorf("%s: %d are missing: in %v, out %v", a.Name, d, a.In, a.Out)
		}
	}
}

// finish closes the books and the relay.
func (b *broker) finish() {
	b.balanced()
	b.weighs()
	b.Close()
}

// drops checks the drop counts: "reason n" words, in any order.
func (b *broker) drops(want ...string) {
	b.Helper()
	dropped := b.Totals().Dropped
	got := map[string]bool{}
	for reason, n := range dropped {
		got[fmt.Sprintf("%s %d", reason, n)] = true
	}
	for _, w := range want {
		if !got[w] {
			b.Errorf("drops are %v; want %q", dropped, want)
			return
		}
	}
	if len(got) != len(want) {
		b.Errorf("drops are %v; want %q", dropped, want)
	}
}

func numbered(topic string, from, to int) []string {
	var s []string
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprintf("%s=%d", topic, i))
	}
	return s
}
