package relay_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// fill is a payload of n bytes.
func fill(n int) string { return strings.Repeat("x", n) }

// pour publishes n messages of a kilobyte, each in a batch of its own.
func (c *client) pour(qos byte, topic string, n int) {
	c.Helper()
	for range n {
		c.publish(message{topic: topic, payload: fill(1 << 10), qos: qos})
	}
}

// When memory for what waits to be sent is used up, QoS 0 is dropped for those
// who do not take it, under a name of its own, and nobody else misses any.
func TestOutboundRoom(t *testing.T) {
	var room atomic.Int64
	room.Store(1 << 40)
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 64 << 10; c.OutboundRoom = room.Load })
	stalled, good, pub := b.connect("stalled"), b.connect("good"), b.connect("pub")
	stalled.sub(0, "#")
	good.sub(0, "#")
	stalled.link.stall(0)
	pub.pour(0, "t", 30)
	b.drops()
	room.Store(20 << 10)
	pub.pour(0, "t", 10)
	b.drops("memory_pressure 10")
	room.Store(0)
	pub.pour(0, "t", 10)
	var frames [][]byte
	for i := range 100 { // of one batch, on many topics: nothing is flushed in between
		frames = append(frames, pub.frame(message{topic: fmt.Sprint("t/", i), payload: fill(1 << 10)}))
	}
	pub.send(frames...)
	b.drops("memory_pressure 120")
	if n := len(good.take()); n != 150 {
		t.Errorf("the good client has got %d messages of 150", n)
	}
	room.Store(1 << 40)
	pub.pour(0, "t", 100)
	if n := b.Totals().Dropped["slow_consumer"]; n == 0 {
		t.Error("the bound of the connection does not count any more")
	}
}

func TestShedQoS0(t *testing.T) {
	b := newBroker(t, nil)
	stalled, queued, good, pub := b.connect("stalled"), b.connect("queued"), b.connect("good"), b.connect("pub")
	stalled.sub(0, "t")
	queued.subscribe(relay.Subscription{Filter: "t", QoS: 0, ID: 7}) // goes through the queue
	good.sub(0, "t")
	stalled.link.stall(0)
	queued.link.stall(0)
	pub.pour(0, "t", 50)
	b.drops()
	b.SetPressure(relay.ShedQoS0)
	pub.pour(0, "t", 50)
	if n := b.Totals().Dropped["memory_pressure"]; n < 80 || n > 100 {
		t.Errorf("%d of 100 were dropped for the two that are stalled", n)
	}
	if n := len(good.take()); n != 100 {
		t.Errorf("the good client has got %d messages of 100", n)
	}
	b.SetPressure(relay.NoPressure)
	before := b.Totals().Dropped["memory_pressure"]
	pub.pour(0, "t", 50)
	if n := b.Totals().Dropped["memory_pressure"]; n != before {
		t.Errorf("%d were dropped after memory was there again", n-before)
	}
}

// Without a store, sessions that have much waiting make room for new messages
// under ShedQueues, and those that have little keep theirs.
func TestShedQueues(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 8 << 20 })
	hoarder, good, pub := b.connect("hoarder", kept), b.connect("good"), b.connect("pub")
	hoarder.sub(1, "h")
	hoarder.end()
	good.sub(1, "g")
	pub.pour(1, "h", 500)
	b.SetPressure(relay.ShedQoS0)
	pub.pour(1, "h", 100)
	b.drops()
	b.SetPressure(relay.ShedQueues)
	pub.pour(1, "h", 1)
	if n := b.Totals().Queued; n != 1 {
		t.Errorf("%d messages wait, one was to be left", n)
	}
	b.drops("queue_full 600")
	pub.pub(1, numbered("g", 0, 5)...)
	if got := payloads(good.settle()); got != counted(0, 5) {
		t.Errorf("the good client has got %s", got)
	}
}

// With one, they go there.
func TestShedQueuesToTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := spilling(t, func(c *relay.Config) { c.SpillBytes = 1 << 20 })
		away, pub := b.connect("away", kept), b.connect("pub")
		away.sub(1, "t")
		away.end()
		for i := range 300 {
			pub.publish(message{topic: "t", payload: fmt.Sprintf("%d", i), qos: 1})
		}
		before := b.Totals()
		b.SetPressure(relay.ShedQueues)
		synctest.Wait()
		after := b.Totals()
		if after.QueuedB > before.QueuedB/4 || after.Queued != 300 || after.ShedSpilled == 0 {
			t.Errorf("%d bytes are in memory, %d were before; %d messages wait, %d went to the store early", after.QueuedB, before.QueuedB, after.Queued, after.ShedSpilled)
		}
		for i := range 300 {
			pub.publish(message{topic: "t", payload: fmt.Sprintf("%d", 300+i), qos: 1})
		}
		b.SetPressure(relay.NoPressure)
		if got := payloads(b.connect("away", kept).drained()); got != counted(0, 600) {
			t.Errorf("got %s", got)
		}
		b.drops()
		b.empty()
	})
}

func TestShedRetained(t *testing.T) {
	b := newBroker(t, nil)
	pub := b.connect("pub")
	retain := func(topic, payload string) wire.Reason {
		pub.publish(message{topic: topic, payload: payload, qos: 1, retain: true})
		return pub.take()[0].reason
	}
	retain("old", "1")
	b.SetPressure(relay.ShedQueues)
	if got := retain("new", "1"); got != wire.QuotaExceeded {
		t.Errorf("a new topic: %v", got)
	}
	if got := retain("old", "2"); got >= wire.UnspecifiedError {
		t.Errorf("an old one: %v", got)
	}
	if got := retain("old", ""); got >= wire.UnspecifiedError {
		t.Errorf("one that goes: %v", got)
	}
	pub.publish(message{topic: "new", payload: "3", qos: 1}) // not retained
	if got := pub.take()[0].reason; got >= wire.UnspecifiedError {
		t.Errorf("a message that is not retained: %v", got)
	}
	b.SetPressure(relay.NoPressure)
	if got := retain("new", "1"); got >= wire.UnspecifiedError {
		t.Errorf("when memory is there again: %v", got)
	}
	if got := b.Totals(); got.ShedRetained != 1 || got.Retained != 1 {
		t.Errorf("%d were not retained, %d are", got.ShedRetained, got.Retained)
	}
}

// A client that is connected gets its few messages even when others have used
// up all that may be queued.
func TestSmallQueuesAlwaysFit(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 1 << 20; c.Queue.MaxQueuedBytes = 1 << 20 })
	pub := b.connect("pub")
	for i := range 8 {
		c := b.connect(fmt.Sprint("big", i))
		topic := fmt.Sprint("big", i)
		c.sub(1, topic)
		c.link.stall(0)
		pub.publish(message{topic: topic, payload: fill(900 << 10), qos: 1}) // each of them may have one message
	}
	good := b.connect("good")
	good.sub(1, "t")
	if b.Totals().QueuedB < 1<<20 {
		t.Fatal("the total is not used up")
	}
	pub.publish(message{topic: "t", payload: "0", qos: 1}, message{topic: "t", payload: "1", qos: 1}, message{topic: "t", payload: "2", qos: 1}, message{topic: "t", payload: "3", qos: 1})
	if got := payloads(good.settle()); got != counted(0, 4) {
		t.Errorf("got %s", got)
	}
	b.drops()
}

// Who takes messages and does not acknowledge them has only so many bytes of
// them held, and gets the rest when it does.
func TestBytesInFlight(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 8 << 20 })
	sub, pub := b.connect("sub"), b.connect("pub")
	sub.sub(1, "t")
	pub.pour(1, "t", 200)
	first := sub.take()
	if n := len(first); n < 64 || n > 64<<1 {
		t.Errorf("%d messages of 1 KiB are in flight", n)
	}
	got := len(sub.acknowledges(first)) + len(sub.settle())
	if got != 200 {
		t.Errorf("%d of 200 have come", got)
	}
	b.empty()
}

// What all subscriptions cost is bounded, accounted for exactly, and given back.
func TestTotalFilters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 20_000
		b := openBroker(t, func(c *relay.Config) { c.TotalFilterBytes = limit }, nil)
		defer b.Close()
		clients := map[string]*client{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client")
			c := clients[id]
			if c == nil {
				c = b.connect(id, kept)
				clients[id] = c
			}
			filter := rapid.StringMatching(`[a-z]{1,3}(/[a-z+]){0,9}`).Draw(t, "filter")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				c.unsub(filter)
			case 1:
				c.end()
				delete(clients, id)
			case 2:
				c.end()
				clients[id] = b.connect(id, clean)
			default:
				c.subscribe(relay.Subscription{Filter: filter})
			}
		}
		for id, c := range clients {
			c.end()
			_ = id
		}
		for _, id := range []string{"a", "b", "c"} {
			b.connect(id, clean).end()
			b.Discard(id)
		}
		// All is free again: as much as the limit allows fits.
		c, n := b.connect("d"), 0
		for ; n < 100; n++ {
			if c.subscribe(relay.Subscription{Filter: fmt.Sprintf("%03d", n)})[0] == wire.QuotaExceeded {
				break
			}
		}
		if cost := 506; n != limit/cost {
			t.Fatalf("%d subscriptions of %d bytes fit into %d", n, cost, limit)
		}
	})
}

// QoS 2 identifiers that are never released cost memory, too.
func TestIdentifiersAreBounded(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 1 << 20 })
	greedy := 0
	for i := 0; greedy < 100; i++ {
		c := b.connect(fmt.Sprint("greedy", i), v3)
		var err error
		n := 0
		for ; n < 60000 && err == nil; n++ {
			err = c.feed(c.frame(message{topic: "t", qos: 2}))
		}
		if c.port.Flush(); err != nil {
			if n > 30000 {
				t.Errorf("%d identifiers were taken", n)
			}
			if i > 3 {
				break
			}
		}
		greedy++
	}
	if greedy > 10 {
		t.Fatal("nobody was stopped")
	}
	good := b.connect("good", v3)
	good.pub(2, "t=1")
	good.wants("PUBREC #1")
}

func TestAliasesAreBounded(t *testing.T) {
	b := newBroker(t, nil)
	c := b.connect("c", aliases(32))
	long := strings.Repeat("t", 10_000)
	for i := range uint16(3) {
		c.publish(message{topic: long, alias: i%2 + 1}) // setting one anew costs nothing more
	}
	if got := c.rejected(c.frame(message{topic: long + long, alias: 3})); got != wire.QuotaExceeded {
		t.Errorf("got %v", got)
	}
	d := b.connect("d", aliases(32))
	d.sub(1, "#")
	b.connect("pub").publish(message{topic: strings.Repeat("u", 2000), qos: 1}, message{topic: strings.Repeat("v", 20), qos: 1})
	if got := d.take(); got[0].alias != 0 || got[1].alias == 0 {
		t.Errorf("aliases %d and %d", got[0].alias, got[1].alias)
	}
}

// A run to very many is flushed before it lies in memory once for each.
func TestFanOutIsFlushed(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.FlushBytes = 20 << 10 })
	var subs []*client
	for i := range 50 {
		c := b.connect(fmt.Sprint("sub", i))
		c.sub(0, "t")
		subs = append(subs, c)
	}
	pub := b.connect("pub")
	if err := pub.feed(pub.frame(message{topic: "t", payload: fill(1 << 10)}), pub.frame(message{topic: "other", payload: "x"})); err != nil {
		t.Fatal(err)
	}
	waiting, got := 0, 0
	for _, c := range subs {
		waiting += c.link.Pending()
		got += len(c.take())
	}
	if waiting > 22<<10 || got < 30 {
		t.Errorf("before the end of the batch %d bytes wait, %d of 50 have got the message", waiting, got)
	}
	pub.port.Flush()
	for _, c := range subs {
		got += len(c.take())
	}
	if got != 50 {
		t.Errorf("%d of 50 have got the message", got)
	}
}

// A 3.x client whose large message cannot be kept, and cannot be held back for
// lack of memory, is disconnected at once.
func TestNothingIsHeldBackWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := filling(t, relay.Refuse, func(c *relay.Config) { c.TotalQueuedBytes = 1 << 20 })
		sub := b.connect("sub", kept)
		sub.sub(1, "t")
		s.setRoom(relay.Full)
		kicked := 0
		for i := range 30 {
			c := b.connect(fmt.Sprint("c", i), v3)
			if err := c.feed(c.frame(message{topic: "t", payload: fill(100 << 10), qos: 1})); err != nil {
				t.Fatal(err)
			}
			if n, why := c.link.kickedBy(); n > 0 {
				kicked++
				if why != "store_full" {
					t.Errorf("kicked for %q", why)
				}
			}
			defer c.end()
		}
		if n := b.Totals().QueuedB; n > 1<<20+1<<18 || kicked != 30-12 {
			t.Errorf("%d bytes are held back, %d clients were disconnected", n, kicked)
		}
		small := b.connect("small", v3)
		defer small.end()
		small.pub(1, "t=1")
		if n, _ := small.link.kickedBy(); n > 0 {
			t.Error("a small message was not held back")
		}
	})
}

// Wills that wait are charged like what is queued. One that finds no room is
// published at once instead of being kept.
func TestWillsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, func(c *relay.Config) { c.TotalQueuedBytes = 1 << 20 })
		sub := b.connect("sub")
		sub.sub(0, "w")
		will := func(delay int) option { // one after the other: there is not room for all of them twice
			return lastWill(wire.Will{Topic: "w", Payload: []byte(fill(100 << 10)), Delay: uint32(delay)})
		}
		for i := range 15 {
			b.connect(fmt.Sprint("c", i), kept, will(60+i)).end()
		}
		if n := b.Totals().QueuedB; n > 1<<20 || n < 900<<10 {
			t.Errorf("%d bytes are held for wills", n)
		}
		if n := len(sub.take()); n != 5 {
			t.Errorf("%d wills were published at once", n)
		}
		b.connect("c0", kept, will(60)).disconnect() // is back in time
		b.connect("c1", clean)
		pass(80 * time.Second)
		if n := len(sub.take()); n != 9 { // c1's when its session ended, c0's not
			t.Errorf("%d wills were published in the end", n)
		}
		b.empty()
	})
}
