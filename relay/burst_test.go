package relay_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// TestBursts looks for wake-ups that are lost when nothing comes afterwards to
// make up for them: publishers fill the link and the queue at once, the peer
// takes it in its own time and acknowledges nothing before it has everything.
func TestBursts(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 2048 })
	sub := b.open("sub")
	sub.link.concurrent, sub.link.arrived = true, make(chan struct{}, 1)
	sub.attach()
	sub.subscribe(relay.Subscription{Filter: "queued", QoS: 2, ID: 1}, relay.Subscription{Filter: "plain"})
	pubs := []*client{b.connect("a"), b.connect("b"), b.connect("c")}
	r := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		want := 0
		var wg sync.WaitGroup
		stalls := r.IntN(2) == 0
		if stalls {
			sub.link.stall(r.IntN(3000))
		} else {
			sub.link.grant(-1)
		}
		for _, p := range pubs {
			var batches [][]message
			for range 1 + r.IntN(3) {
				var batch []message
				for range 1 + r.IntN(10) {
					m := message{topic: "queued", payload: fmt.Sprint(round), qos: byte(1 + r.IntN(2))}
					switch r.IntN(3) {
					case 0: // fills the link, and may be dropped
						m = message{topic: "plain", payload: strings.Repeat("x", r.IntN(700))}
					case 1:
						m.payload += strings.Repeat(" ", r.IntN(700))
					}
					if m.topic == "queued" {
						want++
					}
					batch = append(batch, m)
				}
				batches = append(batches, batch)
			}
			wg.Go(func() {
				for _, batch := range batches {
					p.publish(batch...)
				}
			})
		}
		if stalls {
			wg.Go(func() {
				for range 5 {
					sub.link.grant(1000)
				}
				sub.link.grant(-1)
			})
		}
		var got []packet
		for n, timeout := 0, time.After(patience); n < want; {
			select {
			case <-sub.link.arrived:
			case <-timeout:
				info, _, _ := b.Session("sub")
				t.Fatalf("round %d: got %d of %d, and then nothing; %d bytes in the link, which is read; %+v",
					round, n, want, sub.link.Pending(), info)
			}
			for _, p := range sub.take() {
				if p.qos > 0 {
					n++
				}
				got = append(got, p)
			}
		}
		wg.Wait()
		sub.acknowledges(got)
		for timeout := time.After(patience); ; { // PUBREL comes in the link's own time, too
			sub.settle()
			info, _, _ := b.Session("sub")
			if info.Inflight == 0 && info.Queued == 0 {
				break
			}
			select {
			case <-sub.link.arrived:
			case <-timeout:
				t.Fatalf("round %d: never settled: %+v", round, info)
			}
		}
		for _, p := range pubs {
			for _, a := range p.take() {
				if a.kind == wire.PUBREC {
					p.send(p.ack(wire.PUBREL, a.id, 0))
				}
			}
			p.take()
		}
	}
	b.empty()
}
