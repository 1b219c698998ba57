package e2e_test

import (
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// TestDeliveryHazards holds one subtest for each way in which the delivery of
// the MQTT server that we embed is known to go wrong. Each shows the right
// behaviour.
func TestDeliveryHazards(t *testing.T) {
	t.Run("a publish does not settle our delivery with the same id", func(t *testing.T) {
		b := start(t, nil)
		c := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "c"))
		c.Subscribe(1, "in")
		other := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "other"))
		other.Publish("in", "unacknowledged", 1, false)
		id := c.ExpectMessage("in", "unacknowledged").PacketID
		for _, qos := range []byte{1, 2} {
			c.PublishID(wire.Out{QoS: qos, Topic: []byte("elsewhere")}, id)
			if qos == 1 {
				c.ExpectAck(wire.PUBACK, id)
				continue
			}
			c.ExpectAck(wire.PUBREC, id)
			c.Ack(wire.PUBREL, id)
			c.ExpectAck(wire.PUBCOMP, id)
		}
		if n := mustClient(t, b, "c").Inflight; n != 1 {
			t.Errorf("%d messages are in flight, want 1", n)
		}
		c.Drop()
		c = brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "c"))
		if d := c.ExpectMessage("in", "unacknowledged"); !d.Dup || d.PacketID != id {
			t.Errorf("redelivered with dup %v and id %d, want id %d", d.Dup, d.PacketID, id)
		}
	})

	t.Run("SUBSCRIBE and UNSUBSCRIBE may have the id of a delivery", func(t *testing.T) {
		b := start(t, nil)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		c.Subscribe(1, "in")
		brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "other")).Publish("in", "x", 1, false)
		id := c.ExpectPublish().PacketID
		codes := c.SubscribeTo(wire.Subscribe{PacketID: id, Filters: []wire.Filter{{Filter: "more", QoS: 2}}})
		if codes[0] != wire.GrantedQoS2 {
			t.Errorf("SUBACK says %v", codes[0])
		}
		c.Send(wire.AppendUnsubscribe(nil, wire.V5, &wire.Unsubscribe{PacketID: id, Filters: []string{"more"}}))
		if _, codes, err := wire.DecodeUnsuback(c.Expect(wire.UNSUBACK), wire.V5); err != nil || codes[0] != wire.Success {
			t.Errorf("UNSUBACK says %v, %v", codes, err)
		}
	})

	for _, v := range []wire.Version{wire.V311, wire.V5} {
		t.Run("redelivery keeps the order and marks only what was sent, "+v.String(), func(t *testing.T) {
			redeliveryInOrder(t, v)
		})
	}
	t.Run("deliveries go on for ever within Receive Maximum", receiveMaximum)
	t.Run("redelivery has a topic although the client takes aliases", redeliveryTopic)
	t.Run("a message beyond Maximum Packet Size is dropped and the client can come back", oversized)
	t.Run("a stalled subscriber does not hold up its publisher", stalledSubscriber)
	t.Run("a retained message has Subscription Identifiers", func(t *testing.T) {
		b := start(t, nil)
		brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p")).Publish("r", "kept", 1, true)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		c.SubscribeTo(wire.Subscribe{SubscriptionID: 77, Filters: []wire.Filter{{Filter: "#", QoS: 1}}})
		if d := c.ExpectMessage("r", "kept"); len(d.SubIDs) != 1 || d.SubIDs[0] != 77 || !d.Retain {
			t.Errorf("identifiers %v, retain %v", d.SubIDs, d.Retain)
		}
	})
	t.Run("a retained message expires when its publisher says, or never", func(t *testing.T) {
		b := start(t, nil)
		p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
		const week = 7 * 24 * 3600
		p.Publish("never", "x", 1, true)
		p.PublishOut(wire.Out{QoS: 1, Retain: true, Topic: []byte("week"), Payload: []byte("x"), HasExpiry: true, Expiry: week})
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		c.Subscribe(0, "never")
		if d := c.ExpectMessage("never", "x"); d.HasExpiry {
			t.Errorf("an expiry of %d s came from nowhere", d.Expiry)
		}
		c.Subscribe(0, "week")
		if d := c.ExpectMessage("week", "x"); !d.HasExpiry || d.Expiry > week || d.Expiry < week-60 {
			t.Errorf("expiry %v %d s, want %d", d.HasExpiry, d.Expiry, week)
		}
	})
	t.Run("a/# finds a retained a, and +/# finds zz", func(t *testing.T) {
		b := start(t, nil)
		p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "p"))
		p.Publish("a", "1", 0, true)
		p.Publish("zz", "2", 1, true)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "c"))
		c.Subscribe(0, "a/#")
		c.ExpectMessage("a", "1")
		c.Unsubscribe("a/#")
		c.Subscribe(0, "+/#")
		got := map[string]bool{string(c.ExpectPublish().Topic): true, string(c.ExpectPublish().Topic): true}
		if !got["a"] || !got["zz"] {
			t.Errorf("got %v", got)
		}
		p.Publish("zz", "live", 0, false)
		c.ExpectMessage("zz", "live")
	})
	t.Run("filter a# is refused", func(t *testing.T) {
		b := start(t, nil)
		for v, want := range map[wire.Version]wire.Reason{wire.V311: 0x80, wire.V5: wire.TopicFilterInvalid} {
			c := brokertest.Dial(t, b.addr, brokertest.Clean(v, "c"))
			codes := c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: "a#"}, {Filter: "ok"}}})
			if codes[0] != want || codes[1] != wire.Success {
				t.Errorf("%v: got %v", v, codes)
			}
		}
	})
	t.Run("QoS 1 and 2 to $SYS is acknowledged and not published", func(t *testing.T) {
		b := start(t, nil)
		sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub"))
		sub.Subscribe(0, "$SYS/mine")
		for v, want := range map[wire.Version]wire.Reason{wire.V311: wire.Success, wire.V5: wire.NotAuthorized} {
			c := brokertest.Dial(t, b.addr, brokertest.Clean(v, "c"))
			for _, qos := range []byte{1, 2} {
				if got := c.PublishOut(wire.Out{QoS: qos, Topic: []byte("$SYS/mine")}); got != want {
					t.Errorf("%v, QoS %d: answered %v, want %v", v, qos, got, want)
				}
			}
		}
		sub.ExpectNothing()
	})
	t.Run("an unknown topic alias is a protocol error", func(t *testing.T) {
		b := start(t, nil)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		c.PublishID(wire.Out{QoS: 1, Alias: 3}, 1)
		if got := c.ExpectDisconnect(); got != wire.ProtocolError {
			t.Errorf("disconnected with %v", got)
		}
		c = brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		c.PublishID(wire.Out{QoS: 1, Topic: []byte("t"), Alias: c.Connack.TopicAliasMaximum + 1}, 1)
		if got := c.ExpectDisconnect(); got != wire.TopicAliasInvalid {
			t.Errorf("beyond the maximum: disconnected with %v", got)
		}
	})
	t.Run("permission is asked for the topic behind an alias", func(t *testing.T) {
		b := start(t, nil)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		for _, o := range []wire.Out{{Topic: []byte("$SYS/x"), Alias: 1}, {Alias: 1}} {
			o.QoS = 1
			if got := c.PublishOut(o); got != wire.NotAuthorized {
				t.Errorf("%q: %v", o.Topic, got)
			}
		}
		c.PublishOut(wire.Out{QoS: 1, Topic: []byte("free"), Alias: 1})
		sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub"))
		sub.Subscribe(0, "free")
		if got := c.PublishOut(wire.Out{QoS: 1, Alias: 1, Payload: []byte("x")}); got != wire.Success {
			t.Errorf("allowed topic: %v", got)
		}
		sub.ExpectMessage("free", "x")
	})
	t.Run("PUBACK carries no properties of the publish and a reason it has", func(t *testing.T) {
		b := start(t, nil)
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		props := []byte{0x26, 0, 1, 'k', 0, 1, 'v'} // a user property
		for _, want := range []wire.Reason{wire.NoMatchingSubscribers, wire.Success} {
			c.PublishID(wire.Out{QoS: 1, Topic: []byte("t"), Props: props}, 9)
			f := c.Expect(wire.PUBACK)
			if id, reason, err := wire.DecodeAck(f, wire.V5); err != nil || id != 9 || reason != want || len(f.Body) > 3 {
				t.Errorf("got % x, want id 9 and %v", f.Raw, want)
			}
			brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub")).Subscribe(0, "t")
		}
	})
	t.Run("a will may be empty", func(t *testing.T) {
		b := start(t, nil)
		sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub"))
		sub.Subscribe(1, "will")
		for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
			con := brokertest.Clean(v, "dying")
			con.Will = &wire.Will{Topic: "will", QoS: 1}
			brokertest.Dial(t, b.addr, con).Drop()
			sub.AutoAck().ExpectMessage("will", "")
		}
	})
}

func redeliveryInOrder(t *testing.T, v wire.Version) {
	const n, window = 200, 20
	// In 3.x the window is the broker's.
	b := start(t, inflight(window))
	kept := brokertest.Kept(v, "c")
	kept.ReceiveMaximum = window
	c := brokertest.Dial(t, b.addr, kept)
	c.Subscribe(2, "t/#")
	p := brokertest.Dial(t, b.addr, brokertest.Clean(v, "p"))
	for i := range n {
		p.Publish("t/x", fmt.Sprint(i), 1, false)
	}
	for i := range window {
		c.ExpectMessage("t/x", fmt.Sprint(i))
	}
	c.ExpectNothing()
	c.Drop()

	c = brokertest.Dial(t, b.addr, kept).AutoAck()
	if !c.Connack.SessionPresent {
		t.Error("the session is gone")
	}
	for i := range n {
		d := c.ExpectMessage("t/x", fmt.Sprint(i))
		if want := i < window; d.Dup != want {
			t.Errorf("message %d: dup is %v, want %v", i, d.Dup, want)
		}
	}
	c.ExpectNothing()
}

func receiveMaximum(t *testing.T) {
	const n, window = 500, 3
	b := start(t, nil)
	kept := brokertest.Kept(wire.V5, "c")
	kept.ReceiveMaximum = window
	c := brokertest.Dial(t, b.addr, kept)
	c.Subscribe(2, "t")
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	for i := range n {
		p.Publish("t", fmt.Sprint(i), byte(1+i%2), false)
	}
	for range window {
		c.ExpectPublish()
	}
	c.ExpectNothing()
	c.Drop()

	c = brokertest.Dial(t, b.addr, kept) // the resent ones count as well
	ids := make([]uint16, window)
	for i := range ids {
		ids[i] = c.ExpectMessage("t", fmt.Sprint(i)).PacketID
	}
	c.ExpectNothing()
	c.AutoAck()
	c.Ack(wire.PUBACK, ids[0]) // QoS 1, 2, 1
	c.Ack(wire.PUBREC, ids[1])
	c.Ack(wire.PUBACK, ids[2])
	for i := window; i < n; i++ {
		c.ExpectMessage("t", fmt.Sprint(i))
	}
}

func redeliveryTopic(t *testing.T) {
	b := start(t, nil)
	kept := brokertest.Kept(wire.V5, "c")
	kept.TopicAliasMaximum = 10
	c := brokertest.Dial(t, b.addr, kept)
	c.Subscribe(1, "t/#")
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	for range 3 {
		p.Publish("t/x", "same topic", 1, false)
		c.ExpectPublish() // perhaps with an alias from the second on
	}
	c.Drop()
	c = brokertest.Dial(t, b.addr, kept)
	for i := range 3 {
		if d := c.ExpectPublish(); i == 0 && string(d.Topic) != "t/x" || len(d.Topic) == 0 && d.Alias == 0 {
			t.Errorf("redelivery %d has topic %q and alias %d", i, d.Topic, d.Alias)
		}
	}
}

func oversized(t *testing.T) {
	b := start(t, nil)
	drops := b.watch("drop")
	kept := brokertest.Kept(wire.V5, "c")
	kept.MaximumPacketSize = 100
	c := brokertest.Dial(t, b.addr, kept)
	c.Subscribe(1, "t")
	c.Drop()
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	p.Publish("t", "before", 1, false)
	p.Publish("t", string(make([]byte, 1000)), 1, false)
	p.Publish("t", "after", 1, false)
	for range 2 {
		c = brokertest.Dial(t, b.addr, kept)
		c.ExpectMessage("t", "before")
		c.ExpectMessage("t", "after")
		c.ExpectNothing()
		c.Drop()
	}
	d := dropData(drops.await(t, 1)[0])
	if d.ClientID != "c" || d.Reason != "packet_too_large" || d.Publisher != "p" || d.Topic != "t" || d.Count != 1 {
		t.Errorf("reported as %+v", d)
	}
}

func stalledSubscriber(t *testing.T) {
	const n = 300
	b := start(t, nil)
	con := brokertest.Clean(wire.V5, "stalled")
	con.ReceiveMaximum = 65535
	stalled := brokertest.Dial(t, b.addr, con)
	stalled.Subscribe(1, "t")
	sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub")).AutoAck()
	sub.Subscribe(1, "t")
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	payload := string(make([]byte, 64<<10))
	for range n { // 19 MB: far more than sockets take
		p.Publish("t", payload, 1, false)
		sub.ExpectMessage("t", payload)
	}
	if c := mustClient(t, b, "stalled"); c.Sent.Messages == n {
		t.Error("everything fitted into the stalled client's socket; the test shows nothing")
	}
}
