package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

type denies string

func (d denies) CanPublish(topic string) bool { return topic != string(d) }
func (denies) CanReceive(string) bool         { return true }
func (d denies) Same(other relay.Access) bool { return d == other }

func after(seconds uint32, topic string) option {
	return lastWill(wire.Will{Topic: topic, Payload: []byte("gone"), Delay: seconds})
}

// in runs f in a bubble whose time the test moves.
func in(t *testing.T, change func(*relay.Config), f func(b *broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, change, nil)
		defer b.Close()
		f(b)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
func TestWill(t *testing.T) {
	cases := []struct {
		name string
		opts []option
		do   func(b *broker, c *client)
		now  string // what watchers get at once
		then string // what they get in the hour after that
	}{
		{"at once when the connection is lost", []option{after(0, "w")}, func(_ *broker, c *client) { c.end() }, "gone", ""},
		{"not after DISCONNECT", []option{after(0, "w")}, func(_ *broker, c *client) { c.disconnect() }, "", ""},
		{"at once when the session ends with the connection", []option{after(10, "w")}, func(_ *broker, c *client) { c.end() }, "gone", ""},
		{"after its delay", []option{after(10, "w"), kept}, func(_ *broker, c *client) { c.end() }, "", "gone"},
		{"once when delay and expiry are the same", []option{after(10, "w"), expiry(10)}, func(_ *broker, c *client) { c.end() }, "", "gone"},
		{"no later than the session ends", []option{after(7200, "w"), expiry(10)}, func(_ *broker, c *client) { c.end() }, "", "gone"},
		{"not when the client is back in time", []option{after(10, "w"), kept}, func(b *broker, c *client) {
			c.end()
			pass(9 * time.Second)
			b.connect("c", kept)
		}, "", ""},
		{"when the client is back too late", []option{after(10, "w"), kept}, func(b *broker, c *client) {
			c.end()
			pass(11 * time.Second)
			b.connect("c", kept)
		}, "gone", ""},
		{"when a clean start ends the session", []option{after(10, "w"), kept}, func(b *broker, c *client) {
			c.end()
			b.connect("c")
		}, "gone", ""},
		{"when the session is discarded", []option{after(10, "w"), kept}, func(b *broker, c *client) {
			c.end()
			if !b.Discard("c") {
				b.Errorf("nothing to discard")
			}
		}, "gone", ""},
		{"not twice when the port is ended twice", []option{after(0, "w")}, func(_ *broker, c *client) { c.end(); c.end() }, "gone", ""},
		{"not to a topic that is denied", []option{after(0, "w"), access(denies("w"))}, func(_ *broker, c *client) { c.end() }, "", ""},
		{"not to a topic that is denied, after its delay", []option{after(10, "w"), kept, access(denies("w"))},
			func(_ *broker, c *client) { c.end() }, "", ""},
		{"not to a topic that is denied, at the session's end", []option{after(10, "w"), kept, access(denies("w"))},
			func(b *broker, c *client) { c.end(); b.Discard("c") }, "", ""},
		{"not to the broker's own topics", []option{after(0, "$SYS/w")}, func(_ *broker, c *client) { c.end() }, "", ""},
		{"not deeper than allowed", []option{after(0, "w/2/3/4")}, func(_ *broker, c *client) { c.end() }, "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(c *relay.Config) { c.MaxTopicLevels = 3 }, func(b *broker) {
				watch := b.connect("watch")
				watch.sub(0, "w/#", "$SYS/w")
				tc.do(b, b.connect("c", tc.opts...))
				if got := payloads(watch.take()); got != tc.now {
					t.Errorf("at once: %q; want %q", got, tc.now)
				}
				pass(time.Hour)
				if got := payloads(watch.take()); got != tc.then {
					t.Errorf("later: %q; want %q", got, tc.then)
				}
			})
		})
	}
}

func TestWillIsForwardedWhole(t *testing.T) {
	in(t, nil, func(b *broker) {
		watch, late := b.connect("watch"), b.connect("late")
		watch.sub(1, "w")
		props := []byte{0x01, 1, 0x26, 0, 1, 'k', 0, 1, 'v'} // UTF-8 payload, user property
		c := b.connect("c", lastWill(wire.Will{Topic: "w", QoS: 1, Retain: true, Expiry: 60, HasExpiry: true, Props: props}))
		c.end()
		watch.wants("PUBLISH q1 #2 w= expiry 60 props 01012600016b000176")
		late.sub(1, "w")
		late.wants() // an empty payload removes, and is not retained
		c = b.connect("c", lastWill(wire.Will{Topic: "w", QoS: 1, Retain: true, Payload: []byte("x"), Expiry: 60, HasExpiry: true}))
		c.end()
		pass(20 * time.Second)
		b.connect("later").sub(1, "w")
		late.wants("PUBLISH q1 #2 w=x expiry 60")
	})
}

func TestWillIsNotLocal(t *testing.T) {
	b := newBroker(t, nil)
	c := b.connect("c", kept, lastWill(wire.Will{Topic: "w", QoS: 1, Payload: []byte("gone")}))
	c.subscribe(relay.Subscription{Filter: "w", QoS: 1, NoLocal: true})
	c.end()
	b.connect("c", kept).wants()
}

func TestRefusedWillIsCounted(t *testing.T) {
	b := newBroker(t, nil)
	b.connect("c", lastWill(wire.Will{Topic: "$SYS/broker/uptime", Payload: []byte("0"), Retain: true})).end()
	if n := b.Totals().Refused; n != 1 {
		t.Errorf("refused %d; want 1", n)
	}
	if n := b.Totals().Retained; n != 0 {
		t.Errorf("a client has set the broker's own topic")
	}
}
