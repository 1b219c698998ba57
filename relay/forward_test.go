package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// user properties b=1, a=2 around a content type: their order must be kept.
var props = []byte{0x26, 0, 1, 'b', 0, 1, '1', 0x03, 0, 1, 'j', 0x26, 0, 1, 'a', 0, 1, '2'}

// Every publisher's message reaches every subscriber, whatever they speak and
// however large it is, with its properties if both speak 5.
func TestMixedVersions(t *testing.T) {
	versions := []wire.Version{wire.V31, wire.V311, wire.V5}
	for _, size := range []int{0, 10, 4095, 4096, 100_000} {
		for qos := range byte(3) {
			for _, from := range versions {
				b := newBroker(t, nil)
				pub := b.connect("pub", version(from))
				var subs []*client
				for _, to := range versions {
					c := b.connect("sub"+to.String(), version(to))
					c.sub(2, "a/+")
					subs = append(subs, c)
				}
				payload := strings.Repeat("p", size)
				pub.publish(message{topic: "a/b", payload: payload, qos: qos, props: props, expiry: 30},
					message{topic: "a/b", payload: payload + "2", qos: qos})
				for _, c := range subs {
					got := c.settle()
					if len(got) != 2 || got[0].payload != payload || got[1].payload != payload+"2" || got[0].qos != qos {
						t.Fatalf("%v to %s, QoS %d, %d bytes: got %v", from, c.id, qos, size, got)
					}
					want := ""
					if from == wire.V5 && c.v == wire.V5 {
						want = string(props)
					}
					if got[0].props != want || got[0].hasExpiry != (want != "") {
						t.Errorf("%v to %s: properties %x, expiry %v; want %x", from, c.id, got[0].props, got[0].hasExpiry, want)
					}
				}
				b.empty()
			}
		}
	}
}

func TestLargePayloadsAreShared(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub"), b.connect("pub")
	sub.sub(1, "t")
	for qos := range byte(2) {
		pub.pub(qos, "t="+strings.Repeat("x", 4096))
	}
	if sub.link.shared != 2 {
		t.Errorf("%d payloads went by reference; want 2", sub.link.shared)
	}
	for _, p := range sub.take() {
		if p.payload != strings.Repeat("x", 4096) { // feed overwrites its buffer
			t.Error("a payload was referenced that its owner has changed")
		}
	}
}

func TestTopicAlias(t *testing.T) {
	for qos := range byte(3) {
		b := newBroker(t, func(c *relay.Config) { c.MaxTopicAlias = 2 })
		five, three, pub := b.connect("five"), b.connect("three", v3), b.connect("pub")
		five.sub(0, "#")
		three.sub(0, "#")
		pub.publish(message{topic: "a", payload: "1", alias: 1, qos: qos, props: props}, message{alias: 1, payload: "2", qos: qos},
			message{topic: "b", payload: "3", alias: 2, qos: qos}, message{alias: 1, payload: "4", qos: qos, expiry: 9},
			message{alias: 2, payload: "5", qos: qos}, message{topic: "c", alias: 1, payload: "6", qos: qos},
			message{alias: 1, payload: "7", qos: qos}, message{topic: "a", payload: "8", qos: qos})
		five.wants(fmt.Sprintf("PUBLISH q0 a=1 props %x", props), "PUBLISH q0 a=2", "PUBLISH q0 b=3", "PUBLISH q0 a=4 expiry 9",
			"PUBLISH q0 b=5", "PUBLISH q0 c=6", "PUBLISH q0 c=7", "PUBLISH q0 a=8")
		three.wants("PUBLISH q0 a=1", "PUBLISH q0 a=2", "PUBLISH q0 b=3", "PUBLISH q0 a=4",
			"PUBLISH q0 b=5", "PUBLISH q0 c=6", "PUBLISH q0 c=7", "PUBLISH q0 a=8")
		if r := pub.rejected(pub.frame(message{topic: "a", alias: 3})); r != wire.TopicAliasInvalid {
			t.Errorf("above the maximum: %v", r)
		}
		pub = b.connect("pub") // aliases belong to the connection
		if r := pub.rejected(pub.frame(message{alias: 1})); r != wire.ProtocolError {
			t.Errorf("not set: %v", r)
		}
	}
	none := newBroker(t, func(c *relay.Config) { c.MaxTopicAlias = 0 }).connect("c")
	if r := none.rejected(none.frame(message{topic: "a", alias: 1})); r != wire.TopicAliasInvalid {
		t.Errorf("without aliases: %v", r)
	}
}

// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
func TestMessageExpiry(t *testing.T) {
	in(t, nil, func(b *broker) {
		sub, pub := b.connect("sub", kept, receiveMaximum(1)), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.publish(message{topic: "t", payload: "1", qos: 1, expiry: 60}, message{topic: "t", payload: "2", qos: 1, expiry: 10},
			message{topic: "t", payload: "3", qos: 1}, message{topic: "t", payload: "4", qos: 1, expiry: 30})
		pass(12500 * time.Millisecond)
		sub = b.connect("sub", kept, receiveMaximum(1))
		first := sub.wants("PUBLISH q1 #2 t=1 expiry 48") // rounded up
		pass(10 * time.Second)
		sub.acknowledges(first)
		third := sub.wants("PUBLISH q1 #4 t=3")
		pass(10 * time.Second)
		sub.acknowledges(third)
		sub.wants() // its time passed while it waited
		b.drops("expired 2")
		b.empty()
	})
}

// A delivery that has begun is completed, even when the time has passed.
// [MQTT-4.3.3-7] [MQTT-4.3.3-13]
func TestMessageExpiryOfAnExchange(t *testing.T) {
	in(t, nil, func(b *broker) {
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(2, "t")
		pub.publish(message{topic: "t", payload: "x", qos: 2, expiry: 5})
		sub.wants("PUBLISH q2 #2 t=x expiry 5")
		sub.end()
		pass(time.Minute)
		sub = b.connect("sub", kept)
		sub.wants("PUBLISH q2 #2 dup t=x expiry 1")
		sub.send(sub.ack(wire.PUBREC, 2, 0), sub.ack(wire.PUBCOMP, 2, 0))
		b.empty()
	})
}

func TestSubscriptionIdentifiers(t *testing.T) {
	b := newBroker(t, nil)
	sub, old, pub := b.connect("sub"), b.connect("old", v3), b.connect("pub")
	sub.subscribe(relay.Subscription{Filter: "a/#", ID: 1}, relay.Subscription{Filter: "a/+", QoS: 1, ID: 268_435_455}, relay.Subscription{Filter: "+/b", QoS: 2})
	old.sub(0, "a/#")
	old.sub(1, "a/b")
	pub.pub(2, "a/b=x")
	got := sub.take()
	if len(got) != 1 || got[0].qos != 2 || len(got[0].ids) != 2 || got[0].ids[0]+got[0].ids[1] != 268_435_456 {
		t.Errorf("got %v; want one copy at the highest QoS with both identifiers", got)
	}
	old.wants("PUBLISH q1 #2 a/b=x")
	pub.pub(0, "a=y")
	sub.wants("PUBLISH q0 a=y ids[1]")

	pub.publish(message{topic: "r", payload: "kept", retain: true})
	sub.subscribe(relay.Subscription{Filter: "r", ID: 7}, relay.Subscription{Filter: "r/#", ID: 8})
	sub.wants("PUBLISH q0 retain r=kept ids[7]", "PUBLISH q0 retain r=kept ids[8]")
	sub.subscribe(relay.Subscription{Filter: "r", ID: 9}) // replaces
	sub.wants("PUBLISH q0 retain r=kept ids[9]")
	sub.unsub("r/#")
	pub.pub(0, "r=live")
	sub.wants("PUBLISH q0 r=live ids[9]")
}

func TestNoLocal(t *testing.T) {
	b := newBroker(t, nil)
	c, other := b.connect("c"), b.connect("other")
	c.subscribe(relay.Subscription{Filter: "t/#", QoS: 2, NoLocal: true, ID: 1})
	for qos := range byte(3) {
		c.pub(qos, "t=own")
		other.pub(qos, "t=foreign")
	}
	if got := payloads(c.settle()); got != "foreign foreign foreign" {
		t.Errorf("got %q; want nothing of its own", got)
	}
	c.subscribe(relay.Subscription{Filter: "t", QoS: 1, ID: 2})
	c.pub(2, "t=own")
	got := c.settle()
	if lines(got[:1]) != "PUBLISH q1 #4 t=own ids[2]" || len(got) != 1 {
		t.Errorf("got %v; want one copy for the subscription without No Local", got)
	}
}

func TestRetainFlag(t *testing.T) {
	b := newBroker(t, nil)
	plain, asPublished, pub := b.connect("plain"), b.connect("asPublished"), b.connect("pub")
	plain.sub(1, "t")
	asPublished.subscribe(relay.Subscription{Filter: "t", QoS: 1, RetainAsPublished: true})
	pub.publish(message{topic: "t", payload: "1", retain: true}, message{topic: "t", payload: "2"}, message{topic: "t", retain: true})
	plain.wants("PUBLISH q0 t=1", "PUBLISH q0 t=2", "PUBLISH q0 t=")
	asPublished.wants("PUBLISH q0 retain t=1", "PUBLISH q0 t=2", "PUBLISH q0 retain t=")
}

func TestRetainHandling(t *testing.T) {
	b := newBroker(t, nil)
	pub, c := b.connect("pub"), b.connect("c", kept)
	pub.publish(message{topic: "t", payload: "x", retain: true, qos: 2})
	subscribe := func(handling byte, want ...string) {
		t.Helper()
		c.subscribe(relay.Subscription{Filter: "t", QoS: 1, RetainHandling: handling})
		c.acknowledges(c.wants(want...))
	}
	subscribe(2)
	subscribe(1)
	subscribe(0, "PUBLISH q1 #2 retain t=x")
	c.unsub("t")
	subscribe(1, "PUBLISH q1 #3 retain t=x")
	c.end()
	c = b.connect("c", kept)
	subscribe(1)
	subscribe(0, "PUBLISH q1 #4 retain t=x")
	pub.publish(message{topic: "t", retain: true})
	c.take()
	subscribe(0)
}

func TestRetainedMessagesOfThousandsOfTopics(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 8 << 10 })
	pub, c := b.connect("pub"), b.connect("c", receiveMaximum(10))
	for i := range 2000 {
		pub.publish(message{topic: fmt.Sprint("t/", i), payload: "x", retain: true, qos: byte(i % 3)})
	}
	c.sub(2, "t/#")
	if n := len(c.settle()); n != 2000 {
		t.Errorf("got %d; want 2000", n)
	}
	b.empty()
	b.drops("no_subscribers 2000")
}

func TestRetainedExpiry(t *testing.T) {
	in(t, nil, func(b *broker) {
		pub := b.connect("pub")
		pub.publish(message{topic: "t", payload: "x", retain: true, expiry: 100})
		pass(30 * time.Second)
		b.connect("early").sub(0, "t")
		c := b.connect("c")
		c.sub(0, "t")
		c.wants("PUBLISH q0 retain t=x expiry 70")
		pass(70 * time.Second)
		c.sub(0, "t")
		c.wants()
		pass(time.Minute) // it is swept away
		if n := b.Totals(); n.Retained != 0 || n.RetainedB != 0 {
			t.Errorf("%d messages, %d bytes are left", n.Retained, n.RetainedB)
		}
	})
}

func TestWhatAClientMayNotPublish(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxTopicLevels, c.MaxRetained = 3, 1 })
	watch := b.connect("watch")
	watch.sub(0, "#", "$SYS/#")
	pub := b.connect("pub", access(denies("denied")))
	pub.publish(message{topic: "full", payload: "x", retain: true})
	watch.wants("PUBLISH q0 full=x")
	cases := []struct {
		m      message
		reason string
	}{
		{message{topic: "$SYS/x"}, "not authorized"},
		{message{topic: "denied"}, "not authorized"},
		{message{topic: "1/2/3/4"}, "topic name invalid"},
		{message{topic: "new", payload: "x", retain: true}, "quota exceeded"},
	}
	refused := uint64(0)
	for _, tc := range cases {
		old := b.connect("old", v3, access(denies("denied")))
		for range 2 { // what is remembered must say the same
			for qos := range byte(3) {
				tc.m.qos, tc.m.id = qos, 7
				refused += 2
				pub.publish(tc.m)
				old.publish(tc.m)
				switch qos {
				case 1:
					pub.wants("PUBACK #7 " + tc.reason)
					old.wants("PUBACK #7")
				case 2:
					pub.wants("PUBREC #7 " + tc.reason)
					old.wants("PUBREC #7")
					old.send(old.ack(wire.PUBREL, 7, 0))
					old.wants("PUBCOMP #7")
				}
			}
		}
	}
	watch.wants()
	if n := b.Totals().Refused; n != refused {
		t.Errorf("refused %d; want %d", n, refused)
	}
}

func TestNoMatchingSubscribers(t *testing.T) {
	b := newBroker(t, nil)
	pub, old := b.connect("pub"), b.connect("old", v3)
	pub.pub(1, "t=x")
	pub.pub(2, "t=x")
	old.pub(1, "t=x")
	pub.wants("PUBACK #1 no matching subscribers", "PUBREC #2 no matching subscribers")
	old.wants("PUBACK #1")
	b.drops("no_subscribers 3")
	b.connect("c", kept).sub(0, "t")
	pub.pub(1, "t=x")
	pub.wants("PUBACK #3")
}

func TestTheBrokerPublishes(t *testing.T) {
	b := newBroker(t, nil)
	c, old := b.connect("c"), b.connect("old", v3)
	c.sub(2, "$SYS/#", "t")
	old.sub(0, "#", "$SYS/#")
	for _, o := range []relay.Outgoing{{Topic: "$SYS/x", Payload: []byte("1"), Retain: true}, {Topic: "t", QoS: 2, Expiry: 7, Props: props}} {
		if err := b.Publish(o, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.wants("PUBLISH q0 $SYS/x=1", fmt.Sprintf("PUBLISH q2 #2 t= expiry 7 props %x", props))
	old.wants("PUBLISH q0 $SYS/x=1", "PUBLISH q0 t=")
	for _, o := range []relay.Outgoing{{Topic: ""}, {Topic: "a/+"}, {Topic: "t", QoS: 3}} {
		if b.Publish(o, nil) == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if n := b.Totals(); n.Own.Messages() != 2 || n.Received.Messages() != 0 {
		t.Errorf("counted %+v as own, %+v as received", n.Own, n.Received)
	}
}

func TestSubscribeAnswers(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxTopicLevels = 3 })
	c := b.connect("c")
	codes := c.subscribe(relay.Subscription{Filter: "a", QoS: 1}, relay.Subscription{Filter: "a#"}, relay.Subscription{Filter: "1/2/3/4"},
		relay.Subscription{Filter: "$share/g/1/2/3", QoS: 2}, relay.Subscription{Filter: "$share/g/1/2/3/4"}, relay.Subscription{Filter: "1/2/+"},
		relay.Subscription{Filter: ""}, relay.Subscription{Filter: "1/2/3/#"})
	want := []wire.Reason{1, wire.TopicFilterInvalid, wire.TopicFilterInvalid, 2, wire.TopicFilterInvalid, 0, wire.TopicFilterInvalid, 0}
	if fmt.Sprint(codes) != fmt.Sprint(want) {
		t.Errorf("codes are %v; want %v", codes, want)
	}
	if codes := c.unsub("a", "a", "$share/g/1/2/3", "1/2/+", "1/2/3/#"); fmt.Sprint(codes) != fmt.Sprint([]wire.Reason{0, wire.NoSubscriptionExisted, 0, 0, 0}) {
		t.Errorf("codes are %v", codes)
	}
	if n := b.Totals(); n.Subs != 0 || n.Shared != 0 {
		t.Errorf("%d subscriptions are left, %d shared", n.Subs, n.Shared)
	}
}
