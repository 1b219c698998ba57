package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
)

// weighs checks what is told of memory, and returns it.
func (b *broker) weighs() int64 {
	b.Helper()
	sum, told := b.Weigh()
	if sum != told {
		b.Errorf("%d bytes wait; the relay says %d", sum, told)
	}
	return told
}

// Large messages to many lie in memory once, and are charged so: they do not use
// up what all sessions may hold together.
func TestLargeBodiesAreChargedOnce(t *testing.T) {
	const clients, messages, size = 50, 20, 64 << 10
	for _, connected := range []bool{true, false} {
		t.Run(fmt.Sprintf("connected=%v", connected), func(t *testing.T) {
			b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 4 << 20 })
			var all []*client
			for i := range clients {
				c := b.connect(fmt.Sprint("c", i), kept, receiveMaximum(3))
				c.sub(1, "t")
				if c.link.stall(0); !connected {
					c.end()
				}
				all = append(all, c)
			}
			pub := b.connect("pub")
			for range messages {
				pub.publish(message{topic: "t", payload: strings.Repeat("x", size), qos: 1})
			}
			b.drops()
			if n := b.weighs(); n < messages*size || n > messages*size+clients*messages*300 {
				t.Errorf("%d bytes wait", n)
			}
			for i, c := range all {
				switch {
				case !connected:
					c = b.connect(c.id, kept, receiveMaximum(3))
				case i%2 == 0:
					c.link.grant(-1)
				default: // it is not to leave its share behind
					c.end()
					b.connect(c.id, clean).disconnect()
					continue
				}
				if n := len(c.settle()); n != messages {
					t.Errorf("%s has got %d of %d messages", c.id, n, messages)
				}
			}
			b.empty()
		})
	}
}

// What is different lies in memory more than once, and the bound of all is kept.
func TestLargeBodiesFillTheTotal(t *testing.T) {
	const size = 64 << 10
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 4 << 20 })
	pub := b.connect("pub")
	for i := range 50 {
		c := b.connect(fmt.Sprint("c", i), kept)
		c.sub(1, fmt.Sprint("t", i))
		c.end()
	}
	for i := range 1000 {
		pub.publish(message{topic: fmt.Sprint("t", i%50), payload: strings.Repeat("x", size), qos: 1})
	}
	if n := b.weighs(); n > 4<<20 || n < 2<<20 {
		t.Errorf("%d bytes wait; they may be 4 MiB", n)
	}
	if b.Totals().Dropped["queue_full"] == 0 {
		t.Error("nothing was dropped")
	}
}

// A chunk holds its messages until it is stable, and when it has been read again
// that is another copy.
func TestLargeBodiesInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, func(c *relay.Config) { c.SpillBytes = 20 << 10; c.TotalQueuedBytes = 1 << 20 })
		one, two, pub := b.connect("one", kept), b.connect("two", kept), b.connect("pub")
		one.sub(1, "t")
		two.sub(1, "t")
		one.end()
		two.end()
		s.hold = true
		for i := range 20 {
			pub.publish(message{topic: "t", payload: fmt.Sprintf("%d%s", i, large), qos: 1})
		}
		if n := b.weighs(); n < 20*4<<10 || n > 25*4<<10+40*300 {
			t.Errorf("%d bytes are in memory; want all, once", n)
		}
		s.release(nil)
		synctest.Wait()
		if n := b.weighs(); n > 50<<10 {
			t.Errorf("%d bytes are in memory, when chunks are stable", n)
		}
		one = b.connect("one", kept)
		got := one.drained()
		for i, p := range got {
			if n, _, _ := strings.Cut(p.payload, " "); n != fmt.Sprint(i) {
				t.Errorf("got message %s as number %d", n, i)
			}
		}
		if len(got) != 20 {
			t.Errorf("got %d messages of 20", len(got))
		}
		b.weighs()
		b.connect("two", clean)
		b.connect("one", clean)
		b.empty()
	})
}

// What the store has brought may be put in order anew by what another process has
// handed over.
func TestLargeBodiesAfterARestart(t *testing.T) {
	b, _ := newStored(t)
	m := relay.Stored("t", []byte(large), nil, "p", 1, false, 0, relay.Sync, 1)
	entry := relay.Entry{QoS: 1, Body: 1, Message: m}
	at := func(seq uint64) relay.Entry { e := entry; e.Seq = seq; return e }
	var sessions []*relay.SessionState
	carried := &relay.Carried{}
	for i := range 3 {
		terms := relay.Terms{ClientID: fmt.Sprint("s", i), Expiry: 60}
		sessions = append(sessions, &relay.SessionState{ID: uint64(i + 1), Terms: terms, NextSeq: 3, Sent: 2, Front: []relay.Entry{at(2), at(3)}})
		carried.Sessions = append(carried.Sessions, relay.CarriedSession{Terms: terms, Seq: 3, Seen: 2, Away: time.Second,
			Window: []relay.CarriedDelivery{{Seq: 2, Stored: true, Message: -1, State: 1, PacketID: 3, QoS: 1}},
			Queue:  []relay.CarriedDelivery{{Seq: 3, Stored: true, Message: -1, QoS: 1}}})
	}
	b.Restore(relay.Recovered{LastSession: 3, Sessions: sessions})
	b.Resume(carried)
	if n := b.weighs(); n > 4<<10+6*300 {
		t.Errorf("%d bytes wait; want one body", n)
	}
	for i := range 3 {
		if n := len(b.connect(fmt.Sprint("s", i), kept).settle()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	}
	b.empty()
}
