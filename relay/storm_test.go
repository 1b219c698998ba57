package relay_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// storm is many publishers and subscribers at once, each with a goroutine of
// its own, over links that take what they like when they like it. Message k of
// a publisher has QoS k%3.
type storm struct {
	*broker
	publishers, messages int // messages of each publisher
}

// publish sends messages in batches and does the publisher's part of the
// exchanges.
func (s *storm) publish(n int, c *client) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for k := 0; k < s.messages; {
		var batch []message
		for range min(s.messages-k, 1+r.IntN(20)) {
			m := message{topic: fmt.Sprint("t/", n), payload: fmt.Sprint(n, " ", k), qos: byte(k % 3), retain: r.IntN(20) == 0}
			if r.IntN(30) == 0 {
				m.payload += strings.Repeat(" ", 5000)
			}
			k++
			batch = append(batch, m)
		}
		c.publish(batch...)
		for got := c.take(); len(got) > 0; got = c.take() {
			for _, p := range got {
				if p.kind == wire.PUBREC {
					c.send(c.ack(wire.PUBREL, p.id, 0))
				}
			}
		}
	}
	c.disconnect()
}

// subscribe reads, with many stops, until it has everything of QoS 1 and 2.
func (s *storm) subscribe(n int, c *client) {
	r := rand.New(rand.NewPCG(uint64(n), 2))
	next := make([][3]int, s.publishers) // by publisher and QoS
	for q := range 3 {
		for i := range next {
			next[i][q] = q
		}
	}
	complete := func() bool {
		for _, n := range next {
			if n[1] < s.messages || n[2] < s.messages {
				return false
			}
		}
		return true
	}
	for !complete() {
		if r.IntN(10) == 0 {
			for range r.IntN(2000) { // a moment of not reading
				runtime.Gosched()
			}
		}
		got := c.take()
		for _, p := range c.acknowledges(got) {
			var pub, k int
			if p.topic == "wills" {
				continue
			}
			if _, err := fmt.Sscan(p.payload, &pub, &k); err != nil {
				s.Errorf("payload %q: %v", p.payload, err)
				return
			}
			if want := next[pub][k%3]; k < want || k%3 > 0 && k > want {
				s.Errorf("%s: QoS %d of publisher %d: got number %d; want %d", c.id, k%3, pub, k, want)
				return
			}
			next[pub][k%3] = k + 3
		}
		switch {
		case len(got) > 0:
		case c.link.starves():
			c.link.grant(1 + r.IntN(10_000))
		default:
			select {
			case <-c.link.arrived:
			case <-time.After(patience):
				info, _, _ := s.Session(c.id)
				s.Errorf("%s waits in vain: it has %v of %d; %d bytes in the link, which it reads; %+v",
					c.id, next, s.messages, c.link.Pending(), info)
				return
			}
		}
	}
	c.link.grant(-1)
	c.disconnect()
}

// TestStorm looks for lost wake-ups, lost, repeated and reordered messages.
func TestStorm(t *testing.T) {
	for _, outbound := range []int{2 << 10, 64 << 10} {
		t.Run(fmt.Sprint(outbound), func(t *testing.T) {
			s := &storm{publishers: 4, messages: 900}
			if testing.Short() {
				s.messages = 300
			}
			s.broker = newBroker(t, func(c *relay.Config) { c.MaxOutbound = outbound })
			var wg, readers sync.WaitGroup
			options := []relay.Subscription{
				{Filter: "t/+", QoS: 2}, {Filter: "#", QoS: 2, ID: 3}, {Filter: "t/#", QoS: 2, NoLocal: true}, {Filter: "+/+", QoS: 2},
			}
			for i := range 6 {
				c := s.open(fmt.Sprint("sub", i), version([]wire.Version{wire.V5, wire.V5, wire.V311}[i%3]), receiveMaximum(uint16(1+7*i)))
				c.link.concurrent, c.link.arrived = true, make(chan struct{}, 1)
				c.attach()
				c.subscribe(options[i%len(options)])
				c.link.stall(0)
				readers.Go(func() { s.subscribe(i, c) })
			}
			done := make(chan struct{})
			wg.Go(func() { s.churn(done) })
			wg.Go(func() { s.monitor(done) })
			for i := range s.publishers {
				c := s.connect(fmt.Sprint("pub", i), version([]wire.Version{wire.V5, wire.V311}[i%2]))
				readers.Go(func() { s.publish(i, c) })
			}
			readers.Wait()
			close(done)
			wg.Wait()
			b := s.Totals()
			if b.Sessions != 0 || b.Dropped["queue_full"] > 0 {
				t.Errorf("%d sessions are left, drops are %v", b.Sessions, b.Dropped)
			}
			s.empty()
		})
	}
}

// churn comes and goes, subscribes and leaves, alone and in groups, so that
// routes, groups and sessions change under the publishers.
func (s *storm) churn(done chan struct{}) {
	r := rand.New(rand.NewPCG(3, 3))
	for i := 0; ; i++ {
		select {
		case <-done:
			s.Discard("churn0")
			s.Discard("churn1")
			s.Discard("churn2")
			return
		default:
		}
		c := s.connect(fmt.Sprint("churn", r.IntN(3)), []option{clean, kept}[r.IntN(2)],
			lastWill(wire.Will{Topic: "wills", QoS: 1, Payload: []byte("w")}))
		c.subscribe(relay.Subscription{Filter: []string{"t/0", "t/#", "$share/g/t/1", "$share/g/#"}[r.IntN(4)], QoS: byte(r.IntN(3))})
		if r.IntN(2) == 0 {
			c.settle()
			c.unsub("t/0", "t/#")
		}
		c.take()
		if r.IntN(3) == 0 {
			c.disconnect()
		} else {
			c.end()
		}
		if r.IntN(5) == 0 {
			s.Discard(c.id)
		}
	}
}

// monitor checks that totals never go backwards.
func (s *storm) monitor(done chan struct{}) {
	var before relay.Totals
	for {
		select {
		case <-done:
			return
		default:
		}
		now := s.Totals()
		for q := range 3 {
			if now.Received.QoS[q] < before.Received.QoS[q] || now.Sent.QoS[q] < before.Sent.QoS[q] || now.Own.QoS[q] < before.Own.QoS[q] {
				s.Errorf("totals went from %+v to %+v", before, now)
				return
			}
		}
		for _, info := range s.Sessions() {
			s.Session(info.ClientID)
		}
		s.balanced()
		before = now
		runtime.Gosched()
	}
}

// starves reports whether the peer takes nothing more for now.
func (l *link) starves() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room == 0
}
