package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// What Reconfigure changes counts for those who are there.
func TestReconfigure(t *testing.T) {
	change := func(b *broker, f func(*relay.Config)) {
		f(&b.cfg)
		b.Reconfigure(b.cfg)
	}
	none := wire.NoMatchingSubscribers.String()
	for name, f := range map[string]func(b *broker){
		"rate": func(b *broker) {
			sub, pub := b.connect("sub"), b.connect("pub")
			sub.sub(0, "t")
			took := func() time.Duration {
				began := time.Now()
				for range 100 {
					pub.pub(0, "t=x")
				}
				if n := len(sub.take()); n != 100 {
					b.Errorf("%d of 100 came", n)
				}
				return time.Since(began)
			}
			if d := took(); d != 0 {
				b.Errorf("took %v without a rate", d)
			}
			change(b, func(c *relay.Config) { c.Rate.Messages = 10 })
			if d := took(); d < 8*time.Second || d > 11*time.Second {
				b.Errorf("took %v at 10 per second", d)
			}
			change(b, func(c *relay.Config) { c.Rate = relay.Rate{} })
			if d := took(); d != 0 {
				b.Errorf("took %v when the rate was taken away", d)
			}
		},
		"queue": func(b *broker) {
			sub, pub := b.connect("sub", kept), b.connect("pub")
			sub.sub(1, "t")
			sub.end()
			pub.pub(1, numbered("t", 0, 10)...)
			change(b, func(c *relay.Config) { c.Queue.MaxQueued = 3 })
			b.drops() // what is there stays
			pub.pub(1, "t=10")
			b.drops("queue_full 8")
			change(b, func(c *relay.Config) { c.Queue.MaxQueued = 5 })
			pub.pub(1, "t=11", "t=12", "t=13")
			sub = b.connect("sub", kept)
			if got := payloads(sub.settle()); got != "9 10 11 12 13" {
				b.Errorf("came: %s", got)
			}
		},
		"retained": func(b *broker) {
			pub := b.connect("pub")
			change(b, func(c *relay.Config) { c.MaxRetained = 1 })
			pub.publish(message{topic: "a", payload: "x", qos: 1, retain: true}, message{topic: "b", payload: "x", qos: 1, retain: true})
			pub.wants("PUBACK #1 "+none, "PUBACK #2 "+wire.QuotaExceeded.String())
			change(b, func(c *relay.Config) { c.MaxRetained = 2 })
			pub.publish(message{topic: "b", payload: "x", qos: 1, retain: true})
			pub.wants("PUBACK #3 " + none)
		},
		"levels": func(b *broker) {
			pub := b.connect("pub")
			pub.pub(1, "a/b/c=x")
			change(b, func(c *relay.Config) { c.MaxTopicLevels = 2 })
			pub.take()
			pub.pub(1, "a/b/c=x", "a/b=x")
			pub.wants("PUBACK #2 "+wire.TopicNameInvalid.String(), "PUBACK #3 "+none)
			if codes := pub.subscribe(relay.Subscription{Filter: "a/b/c"}); codes[0] != wire.TopicFilterInvalid {
				b.Errorf("a filter with too many levels: %v", codes)
			}
		},
		"sessions": func(b *broker) {
			b.connect("a", kept)
			change(b, func(c *relay.Config) { c.MaxSessions = 1 })
			if b.open("b", kept).port != nil {
				b.Errorf("one session too many")
			}
			change(b, func(c *relay.Config) { c.MaxSessions = 2 })
			if b.open("b", kept).port == nil {
				b.Errorf("a session too few")
			}
		},
		// What CONNACK has said holds until the next one.
		"told": func(b *broker) {
			old := b.connect("old")
			old.publish(message{topic: "t", payload: "x", alias: 30})
			change(b, func(c *relay.Config) { c.ReceiveMaximum, c.MaxTopicAlias = 2, 5 })
			for range 4 {
				old.pub(2, "t=x")
			}
			old.publish(message{payload: "x", alias: 30})
			next := b.connect("new")
			next.pub(2, "t=x", "t=y")
			if r := next.rejected(next.frame(message{topic: "t", payload: "z", qos: 2})); r != wire.ReceiveMaximumExceeded {
				b.Errorf("more than the Receive Maximum: %v", r)
			}
			another := b.connect("another")
			if r := another.rejected(another.frame(message{topic: "t", payload: "x", alias: 6})); r != wire.TopicAliasInvalid {
				b.Errorf("an alias above the maximum: %v", r)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { in(t, nil, f) })
	}
}

// Sessions that may lose nothing become full, and have room again, by their
// rules alone.
func TestReconfigureFullSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := filling(t, relay.Refuse, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 10)...)
		pub.take()
		b.cfg.Queue.MaxQueued = 5
		b.Reconfigure(b.cfg)
		pub.pub(1, "t=10")
		pub.wants("PUBACK #11 " + wire.QuotaExceeded.String())
		b.cfg.Queue.MaxQueued = 11
		b.Reconfigure(b.cfg)
		pub.pub(1, "t=11")
		pub.wants("PUBACK #12")
	})
}
