package relay_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

func TestOutboundExchanges(t *testing.T) {
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			b := newBroker(t, nil)
			sub, pub := b.connect("sub", version(v)), b.connect("pub")
			sub.sub(2, "t")
			pub.pub(0, "t=0")
			pub.pub(1, "t=1")
			pub.pub(2, "t=2")
			sub.wants("PUBLISH q0 t=0", "PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2")
			sub.send(sub.ack(wire.PUBACK, 2, 0), sub.ack(wire.PUBREC, 3, 0))
			sub.wants("PUBREL #3")
			sub.send(sub.ack(wire.PUBREC, 3, 0)) // the client has not seen it yet
			sub.wants("PUBREL #3")
			if n := b.Totals(); n.Inflight != 1 || n.QueuedB != 0 {
				t.Errorf("%d in flight, %d bytes; want one exchange without its message", n.Inflight, n.QueuedB)
			}
			sub.send(sub.ack(wire.PUBCOMP, 3, 0))
			b.empty()
		})
	}
}

func TestAcknowledgementsThatDoNotFit(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub"), b.connect("pub")
	sub.sub(2, "t")
	pub.pub(1, "t=1")
	pub.pub(2, "t=2")
	sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2")
	sub.send(sub.ack(wire.PUBACK, 3, 0), sub.ack(wire.PUBCOMP, 3, 0), sub.ack(wire.PUBCOMP, 2, 0),
		sub.ack(wire.PUBREC, 2, 0), sub.ack(wire.PUBACK, 77, 0), sub.ack(wire.PUBCOMP, 77, 0))
	sub.wants()
	if n := b.Totals().Inflight; n != 2 {
		t.Errorf("%d in flight; want both still", n)
	}
	sub.send(sub.ack(wire.PUBREC, 77, 0), sub.ack(wire.PUBREC, 78, wire.UnspecifiedError))
	sub.wants("PUBREL #77 packet identifier not found") // 78 is over for the client
	sub.send(sub.ack(wire.PUBACK, 2, 0), sub.ack(wire.PUBREC, 3, 0), sub.ack(wire.PUBCOMP, 3, wire.PacketIDNotFound))
	b.empty()
	b.drops()
}

func TestRefusedByTheReceiver(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub", receiveMaximum(1), kept), b.connect("pub")
	sub.sub(2, "t")
	pub.pub(1, "t=1")
	pub.pub(2, "t=2")
	pub.pub(1, "t=3")
	sub.wants("PUBLISH q1 #2 t=1")
	sub.send(sub.ack(wire.PUBACK, 2, wire.QuotaExceeded))
	sub.wants("PUBLISH q2 #3 t=2")
	sub.send(sub.ack(wire.PUBREC, 3, wire.UnspecifiedError)) // [MQTT-4.3.3-4]: no PUBREL
	sub.wants("PUBLISH q1 #4 t=3")
	sub.send(sub.ack(wire.PUBACK, 4, wire.NoMatchingSubscribers)) // below 0x80: accepted
	b.drops("refused_by_client 2")
	b.empty()
	sub.end()
	b.connect("sub", kept).wants()
}

func TestInboundExchanges(t *testing.T) {
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			b := newBroker(t, nil)
			sub, pub := b.connect("sub"), b.connect("pub", version(v))
			sub.sub(2, "t")
			pub.publish(message{topic: "t", payload: "0"}, message{topic: "t", payload: "1", qos: 1, id: 9},
				message{topic: "t", payload: "2", qos: 2, id: 9}, message{topic: "t", payload: "3", qos: 1, id: 10})
			pub.wants("PUBACK #9", "PUBREC #9", "PUBACK #10")
			pub.send(pub.ack(wire.PUBREL, 9, 0))
			pub.wants("PUBCOMP #9")
			if got := payloads(sub.settle()); got != "0 1 2 3" {
				t.Errorf("got %q", got)
			}
			pub.send(pub.ack(wire.PUBREL, 9, 0))
			if v == wire.V5 {
				pub.wants("PUBCOMP #9 packet identifier not found")
			} else {
				pub.wants("PUBCOMP #9")
			}
		})
	}
}

func TestQoS2IsPublishedOnce(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub"), b.connect("pub", kept)
	sub.sub(0, "t")
	m := message{topic: "t", payload: "x", qos: 2, id: 5}
	again := m
	again.dup = true
	pub.publish(m, again)
	pub.publish(again, m)
	pub.wants("PUBREC #5", "PUBREC #5", "PUBREC #5", "PUBREC #5")
	pub.end()
	pub = b.connect("pub", kept)
	pub.publish(again)
	pub.wants("PUBREC #5")
	pub.send(pub.ack(wire.PUBREL, 5, 0))
	sub.wants("PUBLISH q0 t=x")
	pub.publish(m) // the identifier is free
	pub.send(pub.ack(wire.PUBREL, 5, 0))
	sub.wants("PUBLISH q0 t=x")
	pub.publish(m)
	pub.end()
	pub = b.connect("pub") // a clean start forgets it
	pub.publish(m)
	sub.wants("PUBLISH q0 t=x", "PUBLISH q0 t=x")
	if n := b.Totals().Received.QoS[2]; n != 4 {
		t.Errorf("counted %d; want 4", n)
	}
}

// A client's PUBLISH with the identifier of a delivery to it leaves that alone.
func TestPacketIdentifierSpacesAreSeparate(t *testing.T) {
	b := newBroker(t, nil)
	c, pub := b.connect("c"), b.connect("pub")
	c.sub(2, "in/#")
	pub.pub(1, "in/1=1")
	pub.pub(2, "in/2=2")
	c.wants("PUBLISH q1 #2 in/1=1", "PUBLISH q2 #3 in/2=2")
	c.publish(message{topic: "out", qos: 1, id: 2}, message{topic: "out", qos: 2, id: 3})
	c.send(c.ack(wire.PUBREL, 3, 0))
	c.wants("PUBACK #2 no matching subscribers", "PUBREC #3 no matching subscribers", "PUBCOMP #3")
	if n := b.Totals().Inflight; n != 2 {
		t.Fatalf("%d in flight; want both deliveries", n)
	}
	c.send(c.ack(wire.PUBACK, 2, 0), c.ack(wire.PUBREC, 3, 0), c.ack(wire.PUBCOMP, 3, 0))
	b.empty()
}

func TestResend(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub", kept, receiveMaximum(4)), b.connect("pub")
	sub.sub(2, "t")
	pub.pub(1, "t=a")
	pub.pub(2, "t=b", "t=c")
	pub.pub(1, "t=d", "t=e")
	pub.pub(2, "t=f")
	sub.wants("PUBLISH q1 #2 t=a", "PUBLISH q2 #3 t=b", "PUBLISH q2 #4 t=c", "PUBLISH q1 #5 t=d")
	sub.send(sub.ack(wire.PUBREC, 3, 0))
	sub.wants("PUBREL #3")
	sub.end()
	pub.pub(1, "t=g")

	sub = b.connect("sub", kept, receiveMaximum(3)) // fewer than before
	sub.wants("PUBLISH q1 #2 dup t=a", "PUBREL #3", "PUBLISH q2 #4 dup t=c")
	// What was not sent again on this connection cannot be acknowledged on it.
	sub.send(sub.ack(wire.PUBACK, 5, 0), sub.ack(wire.PUBREC, 5, 0))
	sub.wants()
	sub.send(sub.ack(wire.PUBCOMP, 3, 0))
	sub.wants("PUBLISH q1 #5 dup t=d")
	sub.send(sub.ack(wire.PUBACK, 2, 0), sub.ack(wire.PUBACK, 5, 0))
	sub.wants("PUBLISH q1 #6 t=e", "PUBLISH q2 #7 t=f")
	sub.end()
	sub = b.connect("sub", kept)
	sub.wants("PUBLISH q2 #4 dup t=c", "PUBLISH q1 #6 dup t=e", "PUBLISH q2 #7 dup t=f", "PUBLISH q1 #8 t=g")
	sub.disconnect()
	b.Discard("sub")
	b.empty()
	b.drops("discarded 4")
}

// Never more than Receive Maximum are unacknowledged, whatever the order of
// acknowledgements, and everything arrives, in order. [MQTT-3.3.4-9]
func TestReceiveMaximum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := openBroker(t, func(c *relay.Config) { c.MaxInflight = 50 }, nil)
		defer b.Close()
		limit := rapid.IntRange(1, 60).Draw(t, "receive maximum")
		sub, pub := b.connect("sub", receiveMaximum(uint16(limit))), b.connect("pub")
		limit = min(limit, 50)
		sub.sub(2, "t")
		open := map[uint16]wire.Type{} // identifier: what the client owes
		var got [3][]string
		var sent [3][]string
		look := func() {
			for _, p := range sub.take() {
				switch {
				case p.kind == wire.PUBREL:
					open[p.id] = wire.PUBCOMP
					continue
				case p.qos == 1:
					open[p.id] = wire.PUBACK
				case p.qos == 2:
					open[p.id] = wire.PUBREC
				}
				got[p.qos] = append(got[p.qos], p.payload)
			}
			if len(open) > limit {
				t.Fatalf("%d are unacknowledged; the limit is %d", len(open), limit)
			}
		}
		acknowledge := func(t *rapid.T) {
			ids := rapid.Permutation(slices.Sorted(maps.Keys(open))).Draw(t, "order")
			n := rapid.IntRange(1, len(ids)).Draw(t, "acknowledged")
			var frames [][]byte
			for _, id := range ids[:n] {
				kind := open[id]
				if kind == wire.PUBREC {
					open[id] = 0 // until PUBREL comes it owes nothing
				} else {
					delete(open, id)
				}
				if kind != 0 {
					frames = append(frames, sub.ack(kind, id, 0))
				}
			}
			sub.send(frames...)
			look()
		}
		for i := range rapid.IntRange(1, 20).Draw(t, "rounds") {
			var ms []message
			for j := range rapid.IntRange(0, 30).Draw(t, "messages") {
				qos := rapid.ByteRange(0, 2).Draw(t, "qos")
				m := message{topic: "t", payload: fmt.Sprint(i, ".", j), qos: qos}
				sent[qos] = append(sent[qos], m.payload)
				ms = append(ms, m)
			}
			pub.publish(ms...)
			look()
			if len(open) > 0 && rapid.Bool().Draw(t, "acknowledge") {
				acknowledge(t)
			}
		}
		for len(open) > 0 {
			acknowledge(t)
		}
		for q := range got {
			if g, w := strings.Join(got[q], " "), strings.Join(sent[q], " "); g != w {
				t.Fatalf("QoS %d: got %q; want %q", q, g, w)
			}
		}
		b.empty()
	})
}

func TestInboundReceiveMaximum(t *testing.T) {
	four := func(c *relay.Config) { c.ReceiveMaximum = 4 }
	fill := func(c *client, from uint16) {
		for i := range uint16(4) {
			c.publish(message{topic: "t", qos: 2, id: from + i})
		}
	}
	t.Run("v5 is held to it", func(t *testing.T) {
		c := newBroker(t, four).connect("c")
		fill(c, 1)
		c.publish(message{topic: "t", qos: 2, id: 4, dup: true}) // not one more
		c.send(c.ack(wire.PUBREL, 2, 0))
		c.publish(message{topic: "t", qos: 2, id: 20})
		if r := c.rejected(c.frame(message{topic: "t", qos: 2, id: 21})); r != wire.ReceiveMaximumExceeded {
			t.Errorf("reason is %v", r)
		}
	})
	t.Run("3.x knows none", func(t *testing.T) {
		c := newBroker(t, four).connect("c", v3)
		fill(c, 1)
		fill(c, 5)
	})
	t.Run("it starts anew with each connection", func(t *testing.T) {
		b := newBroker(t, four)
		c := b.connect("c", kept)
		fill(c, 1)
		c.end()
		c = b.connect("c", kept)
		fill(c, 5) // before PUBREL for the earlier ones: allowed by section 4.9
		c.send(c.ack(wire.PUBREL, 1, 0))
		if r := c.rejected(c.frame(message{topic: "t", qos: 2, id: 20})); r != wire.ReceiveMaximumExceeded {
			t.Errorf("reason is %v", r)
		}
	})
	t.Run("what was refused does not count", func(t *testing.T) {
		c := newBroker(t, four).connect("c")
		for i := range uint16(10) {
			c.publish(message{topic: "$SYS/x", qos: 2, id: 1 + i})
		}
		fill(c, 20)
	})
}
