package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// outbound returns how often an alias stood for the topic.
func outbound(ps []packet) (n int) {
	for _, p := range ps {
		if p.aliased {
			n++
		}
	}
	return n
}

func TestOutboundAliases(t *testing.T) {
	t.Run("a topic is spelt out once", func(t *testing.T) {
		b := newBroker(t, nil)
		sub, pub := b.connect("s", aliases(2)), b.connect("p")
		sub.sub(2, "#")
		for qos := range byte(3) {
			pub.pub(qos, "one/topic=a", "two/topic=b", "three/topic=c")
		}
		got := sub.settle()
		if want := "a b c a b c a b c"; payloads(got) != want {
			t.Errorf("got %s, want %s", payloads(got), want)
		}
		for _, p := range got {
			if p.qos == 2 && p.alias != 0 {
				t.Errorf("%v has alias %d; MQTT.js would lose its topic", p, p.alias)
			}
		}
		if n := outbound(got); n != 2 { // of two topics, at QoS 1
			t.Errorf("%d messages with an alias for a topic, want 2", n)
		}
	})
	t.Run("no more than the broker's own maximum", func(t *testing.T) {
		b := newBroker(t, func(c *relay.Config) { c.MaxTopicAlias = 1 })
		sub, pub := b.connect("s", aliases(1000)), b.connect("p")
		sub.sub(0, "#")
		pub.pub(0, "one/topic=a", "two/topic=b", "one/topic=c", "two/topic=d")
		if n := outbound(sub.wants("PUBLISH q0 one/topic=a", "PUBLISH q0 two/topic=b", "PUBLISH q0 one/topic=c", "PUBLISH q0 two/topic=d")); n != 1 {
			t.Errorf("%d messages with an alias for a topic, want 1", n)
		}
	})
	t.Run("a short topic is not worth one", func(t *testing.T) {
		b := newBroker(t, nil)
		sub, pub := b.connect("s", aliases(9)), b.connect("p")
		sub.sub(0, "#")
		pub.pub(0, "ab=1", "ab=2")
		if n := outbound(sub.wants("PUBLISH q0 ab=1", "PUBLISH q0 ab=2")); n != 0 {
			t.Errorf("%d messages with an alias that takes more than the topic", n)
		}
	})
	t.Run("none for a client that takes none, or speaks 3.1.1", func(t *testing.T) {
		b := newBroker(t, nil)
		five, three, pub := b.connect("five"), b.connect("three", v3, aliases(9)), b.connect("p")
		five.sub(1, "#")
		three.sub(1, "#")
		pub.pub(1, "some/topic=a", "some/topic=b")
		for _, c := range []*client{five, three} {
			if n := outbound(c.settle()); n != 0 {
				t.Errorf("%s: %d aliases", c.id, n)
			}
		}
	})
	t.Run("redelivery on a new connection begins anew", func(t *testing.T) {
		b := newBroker(t, nil)
		sub, pub := b.connect("s", kept, aliases(5)), b.connect("p")
		sub.sub(1, "#")
		pub.pub(1, "some/topic=a", "some/topic=b")
		if n := outbound(sub.take()); n != 1 {
			t.Fatalf("%d aliases", n)
		}
		sub.end()
		again := b.connect("s", kept, aliases(5)) // whose link knows no alias yet
		again.wants("PUBLISH q1 #2 dup some/topic=a", "PUBLISH q1 #3 dup some/topic=b")
	})
	t.Run("a packet at the client's limit gets none", func(t *testing.T) {
		b := newBroker(t, nil)
		topic, payload := "a/topic/of/some/length", strings.Repeat("x", 50)
		size := wire.PublishSize(&wire.Out{Version: wire.V5, Topic: []byte(topic), Payload: []byte(payload)})
		for slack := range 6 {
			sub, pub := b.connect(fmt.Sprint("s", slack), aliases(5), maxPacket(uint32(size+slack))), b.connect("p")
			sub.sub(0, topic)
			pub.pub(0, topic+"="+payload, topic+"="+payload)
			got := sub.settle()
			if len(got) != 2 {
				t.Errorf("limit %d: %d of 2 messages of %d bytes", size+slack, len(got), size)
			}
			if want := min(1, max(0, slack-3)); outbound(got) != want {
				t.Errorf("limit %d: %d aliases, want %d", size+slack, outbound(got), want)
			}
			sub.end()
		}
	})
}
