package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"pgregory.net/rapid"
)

// measured writes DeliveryTimes as "count*time" words, each with the time below
// which its bucket ends.
func (b *broker) measured() string {
	var words []string
	for i, n := range b.Totals().Delivery.Buckets {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d<%v", n, time.Microsecond<<i))
		}
	}
	return strings.Join(words, " ")
}

func (b *broker) wantsMeasured(want string, total time.Duration) {
	b.Helper()
	if got := b.measured(); got != want {
		b.Errorf("measured %q; want %q", got, want)
	}
	if got := b.Totals().Delivery.Total; got != total {
		b.Errorf("that took %v; want %v", got, total)
	}
}

// deliveryCase is what happens to messages of pub, and what is measured of that.
type deliveryCase struct {
	name  string
	run   func(b *broker, pub *client)
	want  string
	total time.Duration
}

// deliveryCases are to be run in a bubble of synctest.
func deliveryCases() []deliveryCase {
	const fast, second = 1 * time.Microsecond, 1048576 * time.Microsecond
	return []deliveryCase{
		{"QoS 0, frames to many", func(b *broker, pub *client) {
			for i := range 70 {
				b.connect(fmt.Sprint(i)).sub(0, "t")
			}
			pub.pub(0, "t=1")
		}, fmt.Sprintf("70<%v", fast), 0},
		{"QoS 0, message by message", func(b *broker, pub *client) {
			b.connect("s").subscribe(relay.Subscription{Filter: "t", ID: 7})
			b.connect("m").sub(0, share)
			pub.publish(message{topic: "t", payload: "1"}, message{topic: "t", payload: "2"})
		}, fmt.Sprintf("2<%v", fast), 0},
		{"to nobody", func(_ *broker, pub *client) { pub.pub(1, "t=1"); pub.pub(0, "t=1") }, "", 0},
		{"what has no room waits", func(b *broker, pub *client) {
			sub := b.connect("s", receiveMaximum(1))
			sub.sub(1, "t")
			b.connect("other").pub(1, "t=1") // takes the only place
			time.Sleep(time.Second)
			pub.pub(1, "t=2")
			time.Sleep(time.Second)
			sub.settle()
		}, fmt.Sprintf("1<%v 1<%v", fast, second), time.Second},
		{"a kept session that is there", func(b *broker, pub *client) {
			b.connect("s", kept).sub(2, "t")
			pub.pub(2, "t=1")
		}, fmt.Sprintf("1<%v", fast), 0},
		{"the client was away", func(b *broker, pub *client) {
			sub := b.connect("s", kept)
			sub.sub(1, "t")
			sub.end()
			pub.pub(1, "t=1")
			time.Sleep(time.Second)
			if got := payloads(b.connect("s", kept).settle()); got != "1" {
				b.Errorf("got %q", got)
			}
		}, "", 0},
		{"sent again", func(b *broker, pub *client) {
			sub := b.connect("s", kept)
			sub.sub(1, "t")
			pub.pub(1, "t=1")
			sub.end()
			time.Sleep(time.Second)
			if got := payloads(b.connect("s", kept).settle()); got != "1" {
				b.Errorf("got %q", got)
			}
		}, fmt.Sprintf("1<%v", fast), 0},
		{"retained, to who subscribes later", func(b *broker, pub *client) {
			sub := b.connect("s")
			pub.publish(message{topic: "t", payload: "1", retain: true, qos: 1})
			time.Sleep(time.Second)
			sub.sub(1, "t")
			if got := payloads(sub.settle()); got != "1" {
				b.Errorf("got %q", got)
			}
		}, "", 0},
		{"retained, to who is there", func(b *broker, pub *client) {
			b.connect("s").subscribe(relay.Subscription{Filter: "t", QoS: 1, RetainAsPublished: true})
			pub.publish(message{topic: "t", payload: "1", retain: true, qos: 1})
		}, fmt.Sprintf("1<%v", fast), 0},
		{"handed on by a member that has gone", func(b *broker, pub *client) {
			gone, heir := b.connect("gone"), b.connect("heir")
			gone.sub(1, share)
			pub.pub(1, "t=1")
			heir.sub(1, share)
			time.Sleep(time.Second)
			gone.end()
			if got := payloads(heir.settle()); got != "1" {
				b.Errorf("got %q", got)
			}
		}, fmt.Sprintf("1<%v", fast), 0},
		{"what the broker says of itself", func(b *broker, _ *client) {
			b.connect("s").sub(0, "$SYS/#")
			b.says("$SYS/broker/uptime=1")
		}, "", 0},
		{"what the program publishes", func(b *broker, _ *client) {
			b.connect("s").sub(1, "t")
			for range 3 {
				if err := b.Publish(relay.Outgoing{Topic: "t", QoS: 1}, nil); err != nil {
					b.Fatalf("%v", err)
				}
			}
		}, fmt.Sprintf("3<%v", fast), 0},
		{"too large for the client", func(b *broker, pub *client) {
			b.connect("s", maxPacket(64)).sub(1, "t")
			pub.pub(1, "t="+strings.Repeat("x", 100))
		}, "", 0},
		{"longer than the longest bucket", func(b *broker, pub *client) {
			sub := b.connect("s", receiveMaximum(1))
			sub.sub(1, "t")
			b.connect("other").pub(1, "t=1")
			pub.pub(1, "t=2")
			time.Sleep(40 * 24 * time.Hour)
			sub.settle()
		}, fmt.Sprintf("1<%v 1<%v", fast, time.Microsecond<<25), 40 * 24 * time.Hour},
		{"few of many", func(b *broker, pub *client) {
			sub := b.connect("s")
			sub.sub(0, "t", "u")
			for range 34 { // of which the first and the 18th are measured
				pub.publish(message{topic: "t"}, message{topic: "t"}, message{topic: "u"}, message{topic: "t"})
			}
			if n := len(sub.take()); n != 4*34 {
				b.Errorf("%d came", n)
			}
		}, fmt.Sprintf("2<%v", fast), 0},
	}
}

// What a delivery takes is what keeps the broker from sending, and never that
// the client was away or that the message is older than its wish to have it.
func TestDeliveryTimes(t *testing.T) {
	for i, tc := range deliveryCases() {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := openBroker(t, func(c *relay.Config) { c.MaxSessionExpiry = 0 }, nil)
				defer b.Close()
				time.Sleep(time.Hour) // any time but the beginning
				deliveryCases()[i].run(b, b.connect("pub"))
				b.wantsMeasured(tc.want, tc.total)
			})
		})
	}
}

// What must be stored before it is sent counts with that wait.
func TestDeliveryWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		b := openBroker(t, nil, s)
		defer b.Close()
		sub, pub := b.connect("sub", kept), b.connect("pub", kept)
		sub.sub(2, "t")
		time.Sleep(time.Hour) // any time but the beginning
		s.hold = true
		pub.pub(2, "t=1")
		time.Sleep(time.Second)
		b.wantsMeasured("", 0)
		s.release(nil)
		sub.wants("PUBLISH q2 #2 t=1")
		b.wantsMeasured("1<1.048576s", time.Second)
	})
}

// What has left memory meanwhile does not count; the rest does.
func TestDeliveryOutOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, nil)
		sub := b.connect("sub", kept, receiveMaximum(1))
		sub.sub(1, "t")
		const all = 1000 // more than refills the memory of a client that is connected
		for i := range all {
			if err := b.Publish(relay.Outgoing{Topic: "t", Payload: fmt.Append(nil, i), QoS: 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := payloads(sub.drained()); got != counted(0, all) {
			t.Fatalf("got %s", got)
		}
		var n uint64
		for _, c := range b.Totals().Delivery.Buckets {
			n += c
		}
		if s.loads == 0 || n == 0 || n >= all {
			t.Errorf("%d of %d are measured, after %d loads", n, all, s.loads)
		}
	})
}

// Every message that is accepted of a client counts once, by its payload.
func TestSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := openBroker(t, nil, nil)
		defer b.Close()
		pubs := []*client{b.connect("a"), b.connect("b", v3)}
		b.connect("s").sub(1, "t/#")
		var want [13]uint64
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			pub := pubs[rapid.IntRange(0, 1).Draw(t, "publisher")]
			var batch []message
			for range rapid.IntRange(1, 5).Draw(t, "messages") {
				edge := 1 << rapid.IntRange(0, 17).Draw(t, "edge")
				n := max(0, edge+rapid.IntRange(-1, 1).Draw(t, "beside"))
				m := message{topic: rapid.SampledFrom([]string{"t/1", "t/2", "$no"}).Draw(t, "topic"), payload: strings.Repeat("x", n),
					qos: byte(rapid.IntRange(0, 1).Draw(t, "qos")), retain: rapid.Bool().Draw(t, "retain")}
				batch = append(batch, m)
				if m.topic[0] == '$' { // refused
					continue
				}
				at := 0
				for limit := 16; n > limit; limit *= 4 {
					at++
				}
				want[at]++
			}
			pub.publish(batch...)
			if err := b.Publish(relay.Outgoing{Topic: "t/3", Payload: []byte("own")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		totals := b.Totals()
		if totals.Sizes != want {
			t.Fatalf("sizes are %v; want %v", totals.Sizes, want)
		}
		var n uint64
		for _, c := range totals.Sizes {
			n += c
		}
		if n != totals.Received.Messages() {
			t.Fatalf("%d sizes of %d messages", n, totals.Received.Messages())
		}
	})
}
