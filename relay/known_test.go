package relay_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// What is retained at QoS 0 waits for a session that wants all of it, and
// nothing else at QoS 0 does.
func TestDrainKept(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	pub.publish(message{topic: "t/old", payload: "before", retain: true})
	keeps := relay.Subscription{Filter: "t/#", QoS: 1, RetainAsPublished: true, Drain: &relay.Drain{Rank: 1, Kept: true}}
	loses := relay.Subscription{Filter: "t/#", QoS: 1, RetainAsPublished: true, Drain: &relay.Drain{Rank: 1}}
	flat := relay.Subscription{Filter: "t/#", QoS: 1, RetainHandling: 2, Drain: &relay.Drain{Rank: 1, Kept: true}}
	for _, c := range []struct {
		id   string
		sub  relay.Subscription
		want string
	}{{"keeps", keeps, "before 1 2  before "}, {"loses", loses, ""}, {"flat", flat, ""}} {
		sub := b.connect(c.id, kept)
		sub.end()
		again := b.open(c.id, kept)
		_, granted := again.port.Subscribe([]relay.Subscription{c.sub}, &result{})
		again.port.SendRetained(granted)
		again.port.End(relay.End{})
		pub.publish(message{topic: "t/1", payload: "1", retain: true}, message{topic: "t/1", payload: "live"},
			message{topic: "t/2", payload: "2", retain: true}, message{topic: "t/2", retain: true})
		pub.publish(message{topic: "t/old", payload: "before", retain: true}, message{topic: "t/1", retain: true})
		if got := payloads(b.connect(c.id, kept).settle()); got != c.want {
			t.Errorf("%s got %q; want %q", c.id, got, c.want)
		}
	}
}

// Known tells what is retained, of whom, for how long, and for how much longer.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		pub := b.connect("pub")
		props := wire.AppendUserProperty(nil, wire.UserProperty{Key: "k", Value: "v"})
		pub.send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("a/b"), Payload: []byte("x"), Retain: true, HasExpiry: true, Expiry: 10, Props: props}, 0))
		pub.publish(message{topic: "a", payload: "y", retain: true})
		time.Sleep(4 * time.Second) // of the bubble's clock
		k, ok := b.Known("a/b")
		if !ok || string(k.Payload) != "x" || k.Publisher != "pub" || k.Expiry != 6 || k.Age.Round(time.Second) != 4*time.Second || string(k.Props) != string(props) {
			t.Errorf("got %+v, %v", k, ok)
		}
		topics := b.KnownTopics("a/#")
		slices.Sort(topics)
		if !slices.Equal(topics, []string{"a", "a/b"}) {
			t.Errorf("topics %q", topics)
		}
		for _, none := range []string{"a/b/c", "b", "a/", ""} {
			if k, ok := b.Known(none); ok {
				t.Errorf("%q has %+v", none, k)
			}
		}
		time.Sleep(6 * time.Second)
		if k, ok := b.Known("a/b"); ok {
			t.Errorf("it has expired and is %+v", k)
		}
		pub.publish(message{topic: "a", retain: true})
		if k, ok := b.Known("a"); ok {
			t.Errorf("it was removed and is %+v", k)
		}
	})
}
