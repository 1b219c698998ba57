package relay_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// program makes a connection a part of the program.
func program(c *relay.Connect) { c.Standing, c.Owner, c.Expiry = true, "$bridge", 0xFFFFFFFF }

// aside lets what up gets go aside to live, or not.
func (b *broker) aside(on bool, room int) {
	b.Helper()
	up, live := b.open("$bridge/up", kept, program), b.open("$bridge/up/live", kept, program)
	defer up.port.End(relay.End{})
	defer live.port.End(relay.End{})
	list := []relay.Wanted{{Port: up.port, Subs: []relay.Subscription{{Filter: "#", QoS: 2, NoLocal: true, RetainAsPublished: true}}}, {Port: live.port}}
	if on {
		list[0].Aside = &relay.Aside{Port: live.port, Messages: room, Bytes: 1 << 20}
	}
	granted, err := b.Resubscribe(list)
	if err != nil {
		b.Fatalf("%v", err)
	}
	up.port.SendRetained(granted[0])
	live.port.SendRetained(granted[1])
}

// A session that is full and may lose nothing refuses what it would have itself,
// and not what goes aside.
func TestAsideRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := filling(t, relay.Refuse, func(c *relay.Config) { c.Queue.MaxQueued = 2 })
		b.aside(true, 1)
		pub := b.connect("pub")
		quota := " " + wire.QuotaExceeded.String()
		pub.pub(1, "t=1", "t=2", "t=3")
		pub.wants("PUBACK #1", "PUBACK #2", "PUBACK #3"+quota)
		live := b.connect("$bridge/up/live", kept, program, receiveMaximum(1))
		pub.pub(1, "t=4", "t=5", "t=6") // one on its way, one waits
		pub.wants("PUBACK #4", "PUBACK #5", "PUBACK #6"+quota)
		live.acknowledges(live.wants("PUBLISH q1 #2 t=4"))
		live.acknowledges(live.wants("PUBLISH q1 #3 t=5"))
		pub.publish(message{topic: "r", payload: "7", qos: 1, retain: true})
		pub.pub(1, "t=8")
		pub.wants("PUBACK #7"+quota, "PUBACK #8")
		live.acknowledges(live.wants("PUBLISH q1 #4 t=8"))
		up := b.connect("$bridge/up", kept, program)
		if got := payloads(up.settle()); got != "1 2" {
			t.Errorf("got %q", got)
		}
		b.empty()
	})
}

// QoS 0 goes aside as well, and is lost where nobody is connected. What cannot
// wait aside within the bounds of the session there goes the other way.
func TestAsideBounds(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) {
		all := c.Queue
		c.QueueFor = func(id, _ string) *relay.QueueRules {
			if strings.HasSuffix(id, "/live") {
				return &relay.QueueRules{MaxQueued: 1, MaxQueuedBytes: 1 << 20}
			}
			return &all
		}
	})
	b.aside(true, 100)
	live, pub := b.connect("$bridge/up/live", kept, program, receiveMaximum(1)), b.connect("pub")
	pub.pub(0, "t=0")
	pub.pub(1, "t=1", "t=2", "t=3", "t=4")
	if got := payloads(live.take()); got != "0 1" {
		t.Errorf("aside came %q", got)
	}
	live.end()
	pub.pub(0, "t=5")
	up := b.connect("$bridge/up", kept, program)
	pub.pub(0, "t=6")
	if got := payloads(up.settle()); got != "3 4 6" {
		t.Errorf("got %q", got)
	}
	live = b.connect("$bridge/up/live", kept, program)
	if got := payloads(live.settle()); got != "1 2" {
		t.Errorf("aside came %q", got)
	}
	b.drops("qos0_msg 1")
	b.empty()
}

// While the store is full nothing goes aside, so that it is the oldest in the
// other session that gives way, and not what has just come.
func TestAsideFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := filling(t, relay.DropOldest, nil)
		b.aside(true, 10)
		pub := b.connect("pub")
		pub.pub(1, "t=1", "t=2", "t=3", "t=4")
		live := b.connect("$bridge/up/live", kept, program)
		s.setRoom(relay.Full)
		pub.pub(1, "t=5")
		s.setRoom(relay.Ample)
		pub.pub(1, "t=6")
		if got := payloads(live.settle()); got != "6" {
			t.Errorf("aside came %q", got)
		}
		up := b.connect("$bridge/up", kept, program)
		if got := payloads(up.settle()); got != "3 4 5" {
			t.Errorf("got %q", got)
		}
		b.empty()
	})
}

// An Aside that leads nowhere, or on, changes nothing.
func TestAsideInvalid(t *testing.T) {
	b := newBroker(t, nil)
	one, two, three := b.open("one", kept), b.open("two", kept), b.open("three", kept)
	to := func(c *client) *relay.Aside { return &relay.Aside{Port: c.port, Messages: 1, Bytes: 1} }
	for _, list := range [][]relay.Wanted{
		{{Port: one.port, Aside: to(two)}},
		{{Port: one.port, Aside: to(one)}},
		{{Port: one.port, Aside: to(two)}, {Port: two.port, Aside: to(three)}, {Port: three.port}},
	} {
		if _, err := b.Resubscribe(list); err == nil {
			t.Errorf("%d sessions are taken for a session and an aside of it", len(list))
		}
	}
}

// Publishers go on while an Aside comes and goes, and connections with it: each
// message is in one of the sessions, in the order of its publisher there.
func TestAsideWhilePublishing(t *testing.T) {
	b := newBroker(t, nil)
	b.aside(true, 5)
	const publishers, each = 3, 2000
	var publishing sync.WaitGroup
	for p := range publishers {
		pub := b.connect(fmt.Sprint("pub", p))
		publishing.Go(func() {
			for i := range each {
				pub.pub(1, fmt.Sprintf("t/%d=%d", p, i))
				pub.take()
			}
		})
	}
	over := make(chan struct{})
	go func() { publishing.Wait(); close(over) }()
	got := make(map[string]int)
	collect := func(id string) {
		c := b.connect(id, kept, program, receiveMaximum(20))
		last := make(map[string]int)
		for _, p := range c.settle() {
			var n int
			if _, err := fmt.Sscan(p.payload, &n); err != nil {
				t.Fatal(err)
			}
			if before, seen := last[p.topic]; seen && n <= before {
				t.Errorf("%s got %d of %s after %d", id, n, p.topic, before)
			}
			last[p.topic] = n
			got[fmt.Sprint(p.topic, "=", n)]++
		}
		c.end()
	}
	for i := 0; ; i++ {
		select {
		case <-over:
			collect("$bridge/up")
			collect("$bridge/up/live")
			for what, n := range got {
				if n != 1 {
					t.Errorf("%s came %d times", what, n)
				}
			}
			if len(got) != publishers*each {
				t.Errorf("%d came; want %d", len(got), publishers*each)
			}
			b.balanced()
			return
		default:
		}
		collect("$bridge/up/live")
		b.aside(i%3 != 0, 5)
		collect("$bridge/up")
	}
}
