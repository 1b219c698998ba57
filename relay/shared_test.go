package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

const share = "$share/g/t"

func TestSharedSubscriptionIsFair(t *testing.T) {
	for qos := range byte(3) {
		b := newBroker(t, nil)
		pub := b.connect("pub")
		var members []*client
		for i := range 4 {
			c := b.connect(fmt.Sprint("m", i))
			c.sub(qos, share)
			members = append(members, c)
		}
		other := b.connect("other")
		other.sub(qos, "$share/h/#")
		pub.pub(qos, numbered("t", 0, 40)...)
		for _, c := range members {
			if n := len(c.settle()); n != 10 {
				t.Errorf("QoS %d: %s got %d of 40; want a quarter", qos, c.id, n)
			}
		}
		if n := len(other.settle()); n != 40 {
			t.Errorf("QoS %d: the only member of another group got %d of 40", qos, n)
		}
		b.empty()
		b.drops()
	}
}

func TestSharedSubscriptionPrefersThoseWhoKeepUp(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 4096 })
	slow, fast, pub := b.connect("slow"), b.connect("fast"), b.connect("pub")
	slow.sub(0, share, "fill")
	fast.sub(0, share)
	slow.link.stall(0)
	pub.pub(0, "fill="+strings.Repeat("x", 3000))
	pub.pub(0, numbered("t", 0, 10)...)
	if got := payloads(fast.take()); got != "0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("the one who keeps up got %q; want all", got)
	}
}

func TestSharedSubscriptionWithMembersOffline(t *testing.T) {
	b := newBroker(t, nil)
	pub, away, here := b.connect("pub"), b.connect("away", kept), b.connect("here")
	away.sub(1, share)
	here.sub(1, share)
	away.end()
	pub.pub(1, "t=1", "t=2")
	if got := payloads(here.settle()); got != "1 2" {
		t.Errorf("the member that is connected got %q; want all", got)
	}
	here.end()
	pub.pub(0, "t=lost")
	pub.pub(1, "t=3")
	away = b.connect("away", kept)
	if got := payloads(away.settle()); got != "3" {
		t.Errorf("the kept session got %q; want \"3\"", got)
	}
	b.empty()
	b.drops("qos0_msg 1")
}

// A session that ends gives to others what it has not been sent, and QoS 1
// that it has not acknowledged, but no QoS 2 that it has been sent.
// [MQTT-4.8.2-5]
func TestSharedSubscriptionWhenASessionEnds(t *testing.T) {
	b := newBroker(t, nil)
	pub, first := b.connect("pub"), b.connect("first", kept, receiveMaximum(2))
	first.sub(2, share)
	pub.pub(1, "t=one")
	pub.pub(2, "t=two", "t=three")
	if got := payloads(first.take()); got != "one two" {
		t.Fatalf("got %q; want what Receive Maximum allows", got)
	}
	second := b.connect("second")
	second.sub(2, share)
	first.end()
	b.Discard("first")
	if got := payloads(second.settle()); got != "one three" {
		t.Errorf("the other member got %q; want \"one three\"", got)
	}
	b.empty()
	b.drops("discarded 1")
}

func TestSharedSubscriptionRefused(t *testing.T) {
	b := newBroker(t, nil)
	pub, first, second := b.connect("pub"), b.connect("first"), b.connect("second")
	first.sub(1, share)
	pub.pub(1, "t=x")
	second.sub(1, share)
	got := first.take()
	first.send(first.ack(wire.PUBACK, got[0].id, wire.QuotaExceeded))
	first.end()
	second.wants() // [MQTT-4.8.2-6]
	b.empty()
	b.drops("refused_by_client 1")
}

func TestSharedSubscriptionGetsNothingRetained(t *testing.T) {
	b := newBroker(t, nil)
	b.connect("pub").publish(message{topic: "t", payload: "x", retain: true})
	c := b.connect("c")
	c.sub(1, share)
	c.wants()
}

func TestSharedSubscriptionAndMemberships(t *testing.T) {
	b := newBroker(t, nil)
	a, c, pub := b.connect("a"), b.connect("c"), b.connect("pub")
	a.subscribe(relay.Subscription{Filter: share, QoS: 1, ID: 3})
	c.subscribe(relay.Subscription{Filter: share, QoS: 0, ID: 4})
	if n := b.Totals(); n.Subs != 2 || n.Shared != 2 {
		t.Errorf("%d subscriptions, %d shared; want 2 and 2", n.Subs, n.Shared)
	}
	a.subscribe(relay.Subscription{Filter: share, QoS: 0, ID: 5}) // replaces
	pub.pub(1, "t=1", "t=2")
	a.wants("PUBLISH q0 t=1 ids[5]")
	c.wants("PUBLISH q0 t=2 ids[4]")
	a.unsub(share)
	pub.pub(1, "t=3", "t=4")
	a.wants()
	c.wants("PUBLISH q0 t=3 ids[4]", "PUBLISH q0 t=4 ids[4]")
	c.unsub(share)
	pub.pub(1, "t=5")
	if n := b.Totals(); n.Subs != 0 || n.Shared != 0 || n.Dropped["no_subscribers"] != 1 {
		t.Errorf("%d subscriptions, %d shared, drops %v; want none, none, one without subscribers", n.Subs, n.Shared, n.Dropped)
	}
}
