package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/relay"
)

// More is retained than a session's queue takes: who subscribes to it, and
// reads, gets all of it.
func TestRetainedBeyondTheQueue(t *testing.T) {
	const n = 300
	for name, change := range map[string]func(*relay.Config){
		"by bytes": func(c *relay.Config) { c.Queue.MaxQueuedBytes = 32 << 10 },
		"by count": func(c *relay.Config) { c.Queue.MaxQueued, c.Queue.MaxQueuedBytes = 10, 64<<10 },
		"in total": func(c *relay.Config) { c.TotalQueuedBytes = 200 << 10 },
		"refusing": func(c *relay.Config) { c.Queue.MaxQueued, c.Queue.WhenFull = 10, relay.Refuse },
	} {
		for qos := range byte(3) {
			for _, stored := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", QoS ", qos, ", stored ", stored), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := openBroker(t, change, nil)
						if stored {
							b = openBroker(t, change, &store{})
						}
						pub, sub := b.connect("pub"), b.connect("sub", kept)
						for i := range n {
							pub.publish(message{topic: fmt.Sprint("t/", i), payload: strings.Repeat("x", 1000), qos: qos, retain: true})
						}
						pub.drained()
						sub.subscribe(relay.Subscription{Filter: "t/#", QoS: 2, ID: 7})
						got := map[string]bool{}
						for _, p := range sub.drained() {
							if !p.retain || len(p.ids) != 1 || got[p.topic] {
								t.Fatalf("got %v", p)
							}
							got[p.topic] = true
						}
						if len(got) != n {
							t.Errorf("got %d of %d", len(got), n)
						}
						b.drops(fmt.Sprint("no_subscribers ", n))
						b.empty()
						b.finish()
					})
				})
			}
		}
	}
}

// What is published while that goes on is neither lost nor overtaken by
// something older, and what nobody wants any more does not come.
func TestRetainedBeyondTheQueueIsNeverOld(t *testing.T) {
	const n = 200
	in(t, func(c *relay.Config) { c.Queue.MaxQueuedBytes, c.MaxOutbound = 150<<10, 8<<10 }, func(b *broker) {
		pub, sub := b.connect("pub"), b.connect("sub", kept)
		big := strings.Repeat("x", 500)
		publish := func(i, v int) {
			pub.publish(message{topic: fmt.Sprint("t/", i), payload: fmt.Sprint(v, big), qos: 1, retain: true})
		}
		for i := range n {
			publish(i, 1)
			pub.publish(message{topic: fmt.Sprint("u/", i), payload: big, retain: true})
		}
		sub.link.stall(0)
		sub.sub(1, "t/#")
		sub.sub(0, "u/#")
		sub.unsub("u/#")
		for i := 0; i+1 < n; i += 3 {
			publish(i, 2)
			pub.publish(message{topic: fmt.Sprint("t/", i+1), qos: 1, retain: true}) // is removed
		}
		sub.link.grant(-1)
		last, others := map[string]string{}, 0
		for _, p := range sub.drained() {
			switch version := p.payload[:min(1, len(p.payload))]; {
			case strings.HasPrefix(p.topic, "u/"):
				others++ // was in the queue before UNSUBSCRIBE
			case version != "" && version < last[p.topic]:
				b.Fatalf("%s: %s after %s", p.topic, version, last[p.topic])
			default:
				last[p.topic] = version
			}
		}
		for i := range n {
			if got, want := last[fmt.Sprint("t/", i)], []string{"2", "", "1"}[i%3]; got != want && i+1 < n {
				b.Errorf("t/%d ended with %q; want %q", i, got, want)
			}
		}
		if others == n {
			b.Errorf("all came of what was unsubscribed from")
		}
		b.empty()
	})
}

// It costs memory only within bounds; what does not fit into those is a drop.
func TestRetainedBeyondTheQueueIsBounded(t *testing.T) {
	const n = 3000
	in(t, func(c *relay.Config) { c.Queue.MaxQueuedBytes = 32 << 10 }, func(b *broker) {
		pub, sub := b.connect("pub"), b.connect("sub", kept)
		for i := range n {
			pub.publish(message{topic: fmt.Sprint("t/", i, strings.Repeat("y", 40)), payload: strings.Repeat("x", 100), retain: true})
		}
		sub.link.stall(0)
		sub.sub(1, "t/#")
		if q := b.Totals().QueuedB; q > 64<<10 {
			b.Errorf("%d bytes wait", q)
		}
		sub.link.grant(-1)
		got, lost := len(sub.drained()), b.Totals().Dropped["queue_full"]
		if got < 300 || got+int(lost) != n {
			b.Errorf("got %d of %d, dropped %d", got, n, lost)
		}
		b.empty()
	})
}

// The rest comes to a kept session that was away meanwhile, and to nobody when
// that has ended.
func TestRetainedBeyondTheQueueAfterReconnecting(t *testing.T) {
	const n = 200
	in(t, func(c *relay.Config) { c.Queue.MaxQueued = 20 }, func(b *broker) {
		pub, sub := b.connect("pub"), b.connect("sub", kept, receiveMaximum(5))
		for i := range n {
			pub.publish(message{topic: fmt.Sprint("t/", i), payload: "x", qos: 1, retain: true})
		}
		pub.drained()
		sub.sub(1, "t/#")
		got := map[string]bool{}
		for _, p := range sub.acknowledges(sub.take()) {
			got[p.topic] = true
		}
		sub.end()
		sub = b.connect("sub", kept)
		for _, p := range sub.drained() {
			got[p.topic] = true
		}
		if len(got) != n {
			b.Errorf("got %d of %d", len(got), n)
		}
		b.drops(fmt.Sprint("no_subscribers ", n))

		other := b.connect("other", receiveMaximum(5))
		other.sub(1, "t/#")
		other.end()
		synctest.Wait()
		b.empty()
	})
}

// Who takes over is not told what is owed: it is counted as lost.
func TestRetainedBeyondTheQueueAtAHandover(t *testing.T) {
	const n = 200
	in(t, func(c *relay.Config) { c.Queue.MaxQueued = 20 }, func(b *broker) {
		pub, sub := b.connect("pub"), b.connect("sub", receiveMaximum(5))
		for i := range n {
			pub.publish(message{topic: fmt.Sprint("t/", i), payload: "x", qos: 1, retain: true})
		}
		pub.drained()
		sub.sub(1, "t/#")
		if _, err := b.Carry(func() error { return nil }); err != nil {
			b.Fatalf("carry: %v", err)
		}
		got, lost := len(sub.drained()), b.Totals().Dropped["queue_full"]
		if lost == 0 || got+int(lost) != n {
			b.Errorf("got %d of %d, dropped %d", got, n, lost)
		}
		b.empty()
	})
}
