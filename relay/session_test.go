package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// [MQTT-4.1.0-2] [MQTT-3.1.2-23] [MQTT-3.2.2-3]
func TestSessionPresent(t *testing.T) {
	cases := []struct {
		name          string
		first, second []option
		wait          time.Duration
		want          bool
	}{
		{"kept", []option{kept}, []option{kept}, 0, true},
		{"kept until just before its expiry", []option{expiry(10)}, []option{kept}, 10*time.Second - 1, true},
		{"expired", []option{expiry(10)}, []option{kept}, 10*time.Second + 1, false},
		{"never expires", []option{expiry(0xFFFFFFFF)}, []option{kept}, 9 * 24 * time.Hour, true},
		{"without expiry", []option{expiry(0)}, []option{kept}, 0, false},
		{"a clean start with expiry is kept for the next", []option{kept, clean}, []option{kept}, 0, true},
		{"clean start", []option{kept}, []option{kept, clean}, 0, false},
		{"the cap", []option{expiry(0xFFFFFFFF)}, []option{kept}, 10*24*time.Hour + 1, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(c *relay.Config) { c.MaxSessionExpiry = 10 * 24 * time.Hour }, func(b *broker) {
				c, pub := b.connect("c", tc.first...), b.connect("pub")
				if c.port.SessionPresent() {
					t.Error("present at first")
				}
				c.sub(1, "t")
				c.end()
				pass(tc.wait)
				pub.pub(1, "t=x")
				c = b.connect("c", tc.second...)
				if got := c.port.SessionPresent(); got != tc.want {
					t.Errorf("session present is %v; want %v", got, tc.want)
				}
				if got := payloads(c.settle()); (got == "x") != tc.want {
					t.Errorf("got %q", got)
				}
				c.end()
				b.empty()
			})
		})
	}
}

// [MQTT-4.1.0-2]
func TestSessionExpiry(t *testing.T) {
	in(t, func(c *relay.Config) { c.MaxSessionExpiry = time.Hour }, func(b *broker) {
		c := b.connect("c", expiry(7200))
		if got := c.port.SessionExpiry(); got != 3600 {
			t.Errorf("expiry is %d; want the cap of 3600", got)
		}
		override := func(seconds uint32) {
			c.link.close()
			c.port.End(relay.End{Expiry: &seconds})
		}
		override(5)
		pass(6 * time.Second)
		if _, _, ok := b.Session("c"); ok {
			t.Error("DISCONNECT did not shorten the expiry")
		}
		c = b.connect("c", expiry(5))
		override(1 << 30)
		pass(time.Hour - time.Second)
		if info, _, ok := b.Session("c"); !ok || info.Expiry != 3600 || info.Connected {
			t.Errorf("DISCONNECT did not lengthen the expiry to the cap: %+v, %v", info, ok)
		}
		pass(2 * time.Second)
		if _, _, ok := b.Session("c"); ok {
			t.Error("the cap does not hold for DISCONNECT")
		}
		c = b.connect("c", kept)
		override(0)
		if _, _, ok := b.Session("c"); ok {
			t.Error("expiry 0 in DISCONNECT did not end the session")
		}
	})
}

// The timer of an earlier absence does not end a later one. [MQTT-4.1.0-1]
func TestSessionExpiryStartsAnew(t *testing.T) {
	in(t, nil, func(b *broker) {
		for range 5 {
			b.connect("c", expiry(10)).end()
			pass(7 * time.Second)
		}
		if _, _, ok := b.Session("c"); !ok {
			t.Error("the session has ended though its client was back every 7 of 10 s")
		}
		b.connect("c", expiry(10))
		pass(time.Hour)
		if _, _, ok := b.Session("c"); !ok {
			t.Error("the session of a connected client has ended")
		}
	})
}

func TestTakeover(t *testing.T) {
	b := newBroker(t, nil)
	pub, old := b.connect("pub"), b.connect("c", kept)
	old.sub(1, "t")
	pub.pub(1, "t=1")
	old.take()
	old.end()
	c := b.connect("c", kept)
	old.end() // late, and once more
	if s, _, _ := b.Session("c"); !s.Connected {
		t.Fatal("the end of the earlier connection has detached the later one")
	}
	old.send(old.ack(wire.PUBACK, 2, 0)) // nor do its acknowledgements count
	c.wants("PUBLISH q1 #2 dup t=1")
	pub.pub(1, "t=2")
	if got := payloads(c.take()); got != "2" {
		t.Errorf("got %q", got)
	}
	old.wants()
}

func TestDiscard(t *testing.T) {
	b := newBroker(t, nil)
	c := b.connect("c", kept)
	if b.Discard("c") || b.Discard("nobody") {
		t.Error("discarded a session that is connected, or none")
	}
	c.sub(1, "t")
	c.end()
	b.connect("pub").pub(1, "t=x")
	if !b.Discard("c") {
		t.Error("did not discard a session that is not connected")
	}
	b.drops("discarded 1")
	b.empty()
	if n := b.Totals(); n.Subs != 0 || n.Sessions != 1 {
		t.Errorf("%d subscriptions, %d sessions are left", n.Subs, n.Sessions)
	}
}

func TestSessionInfo(t *testing.T) {
	b := newBroker(t, nil)
	c, pub := b.connect("c", kept, v3, receiveMaximum(1), func(c *relay.Connect) { c.Username = "u" }), b.connect("pub")
	c.sub(1, "t", "u/+")
	pub.pub(1, "t=1", "t=22", "t=333")
	pub.pub(0, "t=4444")
	c.pub(2, "elsewhere=12345")
	info, filters, ok := b.Session("c")
	if !ok || info.ClientID != "c" || info.Username != "u" || !info.Connected || info.Version != wire.V311 || info.Expiry != 3600 ||
		info.Subscriptions != 2 || len(filters) != 2 || info.Queued != 2 || info.Inflight != 1 || info.QueuedBytes != 3*257+1+2+3 {
		t.Errorf("got %+v, %v, %v", info, filters, ok)
	}
	if info.Sent.QoS != [3]uint64{1, 1, 0} || info.Sent.Bytes != 5 || info.Received.QoS != [3]uint64{0, 0, 1} || info.Received.Bytes != 5 {
		t.Errorf("counted %+v", info)
	}
	if tr := c.port.Traffic(); tr.Sent != 2 || tr.Received != 1 {
		t.Errorf("the port counts %+v", tr)
	}
	if n := len(b.Sessions()); n != 2 {
		t.Errorf("%d sessions; want 2", n)
	}
	before := b.Totals()
	c.end()
	b.Discard("c")
	after := b.Totals()
	if before.Sent != after.Sent || before.Received != after.Received {
		t.Errorf("totals went from %+v to %+v when the session ended", before, after)
	}
}

// Nothing of an ended session is reachable by its timers.
func TestCloseStopsTimers(t *testing.T) {
	in(t, nil, func(b *broker) {
		b.connect("c", expiry(10), after(5, "w")).end()
		late, watch := b.connect("late", expiry(10), after(5, "w")), b.connect("watch")
		watch.sub(0, "w")
		b.Close()
		late.end()
		pass(time.Hour)
		watch.wants()
		for _, id := range []string{"c", "late"} {
			if _, _, ok := b.Session(id); !ok {
				t.Errorf("the session of %s has expired after Close", id)
			}
		}
	})
}

// A message to a session between Open and Attach waits for Attach.
func TestBeforeAttach(t *testing.T) {
	b := newBroker(t, nil)
	c, pub := b.connect("c", kept), b.connect("pub")
	c.sub(1, "t")
	c.end()
	c = b.open("c", kept)
	pub.pub(1, "t=1")
	c.wants()
	c.attach()
	c.wants("PUBLISH q1 #2 t=1")
	// A connection that ends before it was attached leaves the session alone.
	c.end()
	b.open("c", kept).end()
	b.connect("c", kept).wants("PUBLISH q1 #2 dup t=1")
}

// A SUBSCRIBE whose SendRetained never comes must not leave QoS 0 on a detour,
// nor let it overtake, on the next connection.
func TestSubscribeWithoutSendRetained(t *testing.T) {
	b := newBroker(t, nil)
	pub, c := b.connect("pub"), b.connect("c", kept)
	var done result
	c.port.Subscribe([]relay.Subscription{{Filter: "t"}}, &done)
	pub.pub(0, "t=0")
	if got := payloads(c.take()); got != "0" {
		t.Errorf("between Subscribe and SendRetained: got %q", got)
	}
	c.end()
	c = b.connect("c", kept)
	c.port.SendRetained(nil)
	for i := range 10 {
		pub.pub(0, fmt.Sprint("t=", i))
	}
	if got := payloads(c.take()); got != "0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("on the next connection: got %q", got)
	}
}
