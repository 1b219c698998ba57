package relay_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

// The Drain of the lowest rank counts, for what is retained as well, and what it
// leaves to others is neither sent nor counted.
func TestDrainNever(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	for _, topic := range []string{"a/x", "b/x"} {
		pub.publish(message{topic: topic, payload: "kept", retain: true})
	}
	sub := b.connect("sub")
	sub.subscribe(
		relay.Subscription{Filter: "#", QoS: 1, Drain: &relay.Drain{Rank: 2}},
		relay.Subscription{Filter: "a/#", QoS: 1, Drain: &relay.Drain{Rank: 1, Never: true}},
		relay.Subscription{Filter: "b/#", QoS: 1, RetainHandling: 2, Drain: &relay.Drain{Rank: 3, Never: true}})
	sub.wants("PUBLISH q0 retain b/x=kept")
	pub.pub(1, "a/x=1", "b/x=2", "a=3")
	if got := payloads(sub.settle()); got != "2" {
		t.Errorf("got %q; want 2", got)
	}
	b.drops("no_subscribers 4") // two of them retained
}

// Resubscribe leaves a session with nothing but what is wanted, and says what is
// new; a filter that is none, or a session that is another's, changes nothing.
func TestResubscribe(t *testing.T) {
	b := newBroker(t, nil)
	one, two, pub := b.open("one", kept), b.open("two", kept), b.connect("pub")
	set := func(subs ...[]relay.Subscription) [][]relay.Granted {
		t.Helper()
		granted, err := b.Resubscribe([]relay.Wanted{{Port: one.port, Subs: subs[0]}, {Port: two.port, Subs: subs[1]}})
		if err != nil {
			t.Fatal(err)
		}
		one.port.SendRetained(granted[0])
		two.port.SendRetained(granted[1])
		return granted
	}
	filters := func(list ...string) (subs []relay.Subscription) {
		for _, f := range list {
			subs = append(subs, relay.Subscription{Filter: f, QoS: 1})
		}
		return subs
	}
	set(filters("a", "b", "b"), filters("c"))
	if granted := set(filters("b", "d"), filters("a")); !granted[0][0].Existed || granted[0][1].Existed || granted[1][0].Existed {
		t.Errorf("got %+v", granted)
	}
	if _, err := b.Resubscribe([]relay.Wanted{{Port: one.port}, {Port: two.port, Subs: filters("x/#/y")}}); err == nil {
		t.Error("x/#/y is taken for a filter")
	}
	pub.pub(1, "a=1", "b=2", "c=3", "d=4")
	one.attach()
	two.attach()
	if a, b := payloads(one.settle()), payloads(two.settle()); a != "2 4" || b != "1" {
		t.Errorf("one got %q, two %q", a, b)
	}
	if n := b.Totals().Subs; n != 3 {
		t.Errorf("there are %d subscriptions; want 3", n)
	}
	earlier := two.port
	two.end()
	if _, err := b.Resubscribe([]relay.Wanted{{Port: one.port}, {Port: earlier}}); err == nil {
		t.Error("a session was changed by a port that has ended")
	}
	if _, subs, _ := b.Session("one"); len(subs) != 2 {
		t.Errorf("one has %v", subs)
	}
}

// No Local keeps from a part of the program what another part of it has
// published, and from others nothing.
func TestNoLocalOfKin(t *testing.T) {
	b := newBroker(t, nil)
	part := func(id string) *client {
		return b.connect(id, kept, func(c *relay.Connect) { c.Standing, c.Owner = true, "$bridge" })
	}
	up, lane, other := part("$bridge/up"), part("$bridge/up/lane"), part("$bridge/upper")
	for _, c := range []*client{up, lane, other} {
		c.subscribe(relay.Subscription{Filter: "#", QoS: 1, NoLocal: true})
	}
	up.pub(1, "t=from up")
	lane.pub(1, "t=from lane")
	other.pub(1, "t=from other")
	for _, c := range []struct {
		*client
		want string
	}{{up, "from other"}, {lane, "from other"}, {other, "from up from lane"}} {
		if got := payloads(c.settle()); got != c.want {
			t.Errorf("%s got %q; want %q", c.id, got, c.want)
		}
	}
}

func latestOf(filter string) relay.Subscription {
	return relay.Subscription{Filter: filter, QoS: 2, Drain: &relay.Drain{Rank: 1, Latest: true}}
}

// A message that could not be stored has not taken the place of the one before,
// which was.
func TestLatestIsStored(t *testing.T) {
	failure := errors.New("no disk")
	for _, c := range []struct {
		err   error
		early bool // the client comes before it is known what becomes of the newest
		want  string
	}{{nil, false, "3 2"}, {nil, true, "2 1 3 2"}, {failure, false, "2 1"}, {failure, true, "2 1"}} {
		b, s := newStored(t)
		sub, pub := b.connect("sub", kept), b.connect("pub", kept)
		sub.subscribe(latestOf("#"))
		sub.end()
		pub.pub(1, "t=1", "t=2", "u=1")
		s.hold = true
		pub.pub(2, "t=3")
		pub.publish(message{topic: "u", payload: "2", qos: 1, retain: true})
		if c.early {
			sub = b.connect("sub", kept)
		}
		s.release(c.err)
		if !c.early {
			sub = b.connect("sub", kept)
		}
		if got := payloads(sub.settle()); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
		b.empty()
	}
}

// What is superseded takes no room for long, and gives way before anything else
// when the queue is full.
func TestLatestTakesNoRoom(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued = 300 })
	sub, pub := b.connect("sub", kept), b.connect("pub")
	sub.subscribe(latestOf("last/#"), relay.Subscription{Filter: "all", QoS: 1})
	sub.end()
	pub.pub(1, "last/seldom=0")
	for i := range 1000 {
		pub.pub(1, fmt.Sprintf("last/%d=%d", i%2, i))
		if n := b.Totals().Queued; n > 200 {
			t.Fatalf("%d messages wait after %d", n, i)
		}
	}
	pub.pub(1, numbered("all", 0, 297)...)
	sub = b.connect("sub", kept)
	got := sub.settle()
	if p := payloads(got[:3]); len(got) != 300 || p != "0 998 999" {
		t.Errorf("got %d messages that begin with %s", len(got), p)
	}
	b.drops("superseded 998")
	b.empty()
}

// On more topics than are remembered all messages are sent, and none is lost.
func TestLatestOfManyTopics(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub", kept), b.connect("pub")
	sub.subscribe(latestOf("#"))
	sub.end()
	const topics = 21_000
	for round := range 2 {
		for i := range topics {
			pub.pub(1, fmt.Sprintf("t/%d=%d", i, round))
		}
	}
	last, sent := make(map[string]string), 0
	sub = b.connect("sub", kept)
	for _, p := range sub.settle() {
		last[p.topic], sent = p.payload, sent+1
	}
	for topic, payload := range last {
		if payload != "1" {
			t.Fatalf("the last on %s is %s", topic, payload)
		}
	}
	if len(last) != topics || sent < topics+500 || sent > topics+2000 {
		t.Errorf("%d messages on %d topics", sent, len(last))
	}
	b.empty()
}
