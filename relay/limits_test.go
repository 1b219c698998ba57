package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func TestFullQueue(t *testing.T) {
	cases := []struct {
		policy relay.Policy
		want   string
	}{{relay.DropOldest, "4 5 6 7"}, {relay.DropNewest, "0 1 2 3"}}
	for _, tc := range cases {
		const each = 256 + 1 + 1 // overhead, topic, payload
		limits := map[string]func(*relay.Config){
			"messages":        func(c *relay.Config) { c.Queue.MaxQueued = 4 },
			"bytes":           func(c *relay.Config) { c.Queue.MaxQueuedBytes = 4 * each },
			"bytes, one less": func(c *relay.Config) { c.Queue.MaxQueuedBytes = 5*each - 1 },
			"bytes in total":  func(c *relay.Config) { c.TotalQueuedBytes = 4 * each * 4 / 3 },
		}
		for name, limit := range limits {
			t.Run(fmt.Sprint(name, tc.policy), func(t *testing.T) {
				b := newBroker(t, func(c *relay.Config) { c.Queue.WhenFull = tc.policy; limit(c) })
				sub, pub := b.connect("sub", kept), b.connect("pub")
				sub.sub(1, "t")
				sub.end()
				pub.pub(1, numbered("t", 0, 8)...)
				if got := payloads(b.connect("sub", kept).settle()); got != tc.want {
					t.Errorf("got %q; want %q", got, tc.want)
				}
				b.drops("queue_full 4")
				b.empty()
			})
		}
	}
}

// Sessions that hoard leave room for those that take little.
func TestHoardersLeaveRoom(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueuedBytes, c.TotalQueuedBytes = 32<<10, 64<<10 })
	pub := b.connect("pub")
	for i := range 4 {
		c := b.connect(fmt.Sprint("hoarder", i), kept)
		c.sub(1, "hoard")
		c.end()
	}
	for i := range 100 {
		pub.publish(message{topic: "hoard", payload: fmt.Sprintf("%500d", i), qos: 1})
	}
	if n := b.Totals().QueuedB; n > 48<<10 || n < 44<<10 {
		t.Fatalf("%d bytes are queued; want just under three quarters of the total", n)
	}
	c := b.connect("healthy")
	c.sub(1, "t")
	for _, w := range numbered("t", 0, 100) {
		pub.pub(1, w)
		if got := payloads(c.settle()); got != w[2:] {
			t.Fatalf("a client that keeps up got %q; want %q", got, w[2:])
		}
	}
}

// A message that alone is more than the share kept for healthy clients reaches
// them nonetheless while hoarders hold the rest.
func TestHoardersDoNotStopLargeMessages(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueuedBytes, c.TotalQueuedBytes = 32<<10, 64<<10 })
	pub := b.connect("pub")
	for i := range 4 {
		c := b.connect(fmt.Sprint("hoarder", i), kept)
		c.sub(1, "#")
		c.end()
	}
	c := b.connect("healthy")
	c.sub(2, "t")
	for i := range 40 {
		for qos := range byte(3) {
			want := fmt.Sprintf("%4000d", i) // larger ones would be charged once, whoever hoards them
			pub.publish(message{topic: "t", payload: want, qos: qos})
			got := c.settle()
			if len(got) == 0 || got[0].payload != want {
				t.Fatalf("round %d, QoS %d: a client that keeps up got %s", i, qos, payloads(got))
			}
		}
	}
	if n := b.Totals().QueuedB; n > 48<<10 {
		t.Errorf("%d bytes are queued; want at most three quarters of the total", n)
	}
	// One that does not read gets no more than that one message.
	c.link.stall(0)
	pub.publish(message{topic: "t", payload: "a" + strings.Repeat(" ", 4050), qos: 1})
	pub.publish(message{topic: "t", payload: "b" + strings.Repeat(" ", 4050), qos: 1})
	c.link.grant(-1)
	if got := c.settle(); len(got) != 1 || got[0].payload[0] != 'a' {
		t.Errorf("a client that does not read got %s", payloads(got))
	}
}

func TestTotalIsNeverExceeded(t *testing.T) {
	const total = 64 << 10
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = total })
	pub := b.connect("pub")
	for i := range 600 {
		c := b.connect(fmt.Sprint("c", i), kept)
		c.sub(1, "t")
		c.end()
	}
	pub.pub(1, numbered("t", 0, 10)...)
	if n := b.Totals().QueuedB; n > total {
		t.Errorf("%d bytes are queued; want at most %d", n, total)
	}
	for i := range 600 {
		b.Discard(fmt.Sprint("c", i))
	}
	b.empty()
}

// What was acknowledged to its publisher does not give way to what may be lost.
func TestQoS0DoesNotPushOutQoS1(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued, c.MaxOutbound = 4, 64<<10 })
	sub, pub := b.connect("sub", kept, receiveMaximum(1)), b.connect("pub")
	sub.subscribe(relay.Subscription{Filter: "t", QoS: 1, ID: 1}) // through the queue
	sub.link.stall(0)
	big := strings.Repeat("x", 40<<10)
	pub.pub(0, "t="+big) // is all that the link takes for now
	pub.pub(1, numbered("t", 0, 3)...)
	pub.pub(0, numbered("t", 10, 20)...)
	pub.pub(1, "t=4") // takes the place of the oldest
	sub.link.grant(-1)
	if got := payloads(sub.settle()); !strings.HasSuffix(got, "(40960) 1 10 2 4") {
		t.Errorf("got %q; want all but the oldest that waited, and the QoS 0 that fitted", got)
	}
	b.empty()
}

// Live QoS 0 to a client that does not read costs at most MaxOutbound in the
// link and as much in the queue, whatever the size of the messages.
func TestQoS0ToOneWhoDoesNotRead(t *testing.T) {
	for _, size := range []int{10, 1000, 5000, 20_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const limit = 64 << 10
			b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = limit })
			sub, fine, pub := b.connect("sub"), b.connect("fine"), b.connect("pub")
			sub.sub(0, "#")
			fine.sub(0, "#")
			sub.link.stall(0)
			n, got := 512<<10/size, 0
			for i := range n {
				pub.publish(message{topic: "t", payload: fmt.Sprintf("%*d", size, i)})
				if i%100 == 99 {
					got += len(fine.take())
				}
			}
			if got += len(fine.take()); got != n {
				t.Errorf("a client that reads got %d of %d", got, n)
			}
			if most := sub.link.most; most > limit+size+64 {
				t.Errorf("%d bytes waited in the link; want at most %d and a message", most, limit)
			}
			if q := b.Totals().QueuedB; q > limit {
				t.Errorf("%d bytes are queued; want at most %d", q, limit)
			}
			dropped := int(b.Totals().Dropped["slow_consumer"])
			sub.link.grant(-1)
			rest := sub.take()
			if len(rest)+dropped != n || len(rest) == 0 {
				t.Errorf("got %d, %d counted as dropped; want %d together", len(rest), dropped, n)
			}
			for i, p := range rest {
				if strings.TrimSpace(p.payload) != fmt.Sprint(i) {
					t.Fatalf("message %d is %q: order is lost", i, strings.TrimSpace(p.payload))
				}
			}
			pub.pub(0, "t=again")
			if got := payloads(sub.take()); got != "again" {
				t.Errorf("after it has caught up it got %q; want \"again\"", got)
			}
			b.empty()
		})
	}
}

func TestMaxPacketOfTheReceiver(t *testing.T) {
	b := newBroker(t, nil)
	sub, pub := b.connect("sub", maxPacket(40), kept), b.connect("pub")
	sub.sub(2, "t")
	for qos := range byte(3) {
		big := message{topic: "t", payload: strings.Repeat("x", 60), qos: qos}
		pub.publish(message{topic: "t", payload: "1", qos: qos}, big, message{topic: "t", payload: "2", qos: qos})
		if got := payloads(sub.settle()); got != "1 2" {
			t.Errorf("QoS %d: got %q; want \"1 2\"", qos, got)
		}
	}
	b.drops("packet_too_large 3")
	// A message that was sent to a connection which took it is not for the next.
	pub.pub(1, "t="+strings.Repeat("y", 20), "t=z")
	sub.take()
	sub.end()
	sub = b.connect("sub", maxPacket(20), kept)
	if got := payloads(sub.settle()); got != "z" {
		t.Errorf("after reconnecting with a lower limit: %q; want \"z\"", got)
	}
	b.drops("packet_too_large 4")
	b.empty()
}

func TestExactMaxPacketOfTheReceiver(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub", v3)
	frame := len(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("t"), Payload: []byte("12345")}, 0))
	for d := -1; d <= 1; d++ {
		c := b.connect(fmt.Sprint("c", d), maxPacket(uint32(frame+d)))
		c.sub(0, "t")
		pub.pub(0, "t=12345")
		if got, want := len(c.take()), map[bool]int{true: 1}[d >= 0]; got != want {
			t.Errorf("a frame of %d bytes and a maximum of %d: got %d; want %d", frame, frame+d, got, want)
		}
	}
}

func TestDropsCountPerSession(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	for i := range 3 {
		c := b.connect(fmt.Sprint("c", i), kept)
		c.sub(0, "t")
		c.end()
	}
	pub.pub(0, "t=x", "t=y", "nobody=z")
	b.drops("qos0_msg 6", "no_subscribers 1")
	if s, _, _ := b.Session("c0"); s.Dropped != 2 {
		t.Errorf("one session counts %d; want 2", s.Dropped)
	}
}

// What one SUBSCRIBE makes the broker look through is limited: the first
// filters are always served, too many that go through everything are not.
func TestRetainedForManyFilters(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	for i := range 20_000 {
		pub.publish(message{topic: fmt.Sprint("r", i), payload: "x", retain: true})
	}
	for n, want := range map[int]wire.Reason{8: wire.Success, 40: wire.Success, 100: wire.QuotaExceeded} {
		c := b.connect(fmt.Sprint("c", n))
		subs := make([]relay.Subscription, n)
		for i := range subs {
			subs[i].Filter = fmt.Sprint("+/", i)
		}
		subs[n-1].Filter = "r7"
		c.subscribe(subs...)
		if got := len(c.take()); got != map[bool]int{true: 1}[want == wire.Success] {
			t.Errorf("%d filters: got %d retained messages", n, got)
		}
		if c.link.kicked != want {
			t.Errorf("%d filters: ended with %v; want %v", n, c.link.kicked, want)
		}
		c.end()
	}
	b.empty()
}
