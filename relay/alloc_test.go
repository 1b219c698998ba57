package relay_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// sink is a Link that throws away what it gets.
type sink struct{ bytes int }

func (s *sink) Send(frames []byte) int           { s.bytes += len(frames); return 1 }
func (s *sink) SendShared(head, body []byte) int { s.bytes += len(head) + len(body); return 1 }
func (s *sink) Pending() int                     { return 0 }
func (s *sink) Flush()                           {}
func (s *sink) Ended() bool                      { return false }
func (s *sink) Kick(wire.Reason, string)         {}

// pair is a publisher and its subscribers, over links that cost nothing.
type pair struct {
	tb    testing.TB
	pub   *relay.Port
	subs  []*relay.Port
	frame wire.Frame
	acks  []wire.Frame // PUBACK for each identifier, if QoS is 1
	next  int
	sink  *sink
}

func newPair(t testing.TB, qos byte, targets, payload int) *pair {
	b := openBroker(t, nil, nil)
	t.Cleanup(b.finish)
	p := &pair{tb: t, sink: &sink{}, next: 1}
	for i := range targets {
		c := b.open(fmt.Sprint("sub", i))
		c.port.Attach(p.sink)
		c.sub(qos, "plant/+/temperature")
		p.subs = append(p.subs, c.port)
	}
	pub := b.open("pub")
	pub.port.Attach(&sink{})
	p.pub = pub.port
	p.frame = scan(t, pub.frame(message{topic: "plant/7/temperature", payload: strings.Repeat("x", payload), qos: qos}))
	for i := range 65_535 {
		p.acks = append(p.acks, scan(t, wire.AppendAck(nil, wire.PUBACK, wire.V5, uint16(i+1), 0)))
		if qos == 0 {
			break
		}
	}
	return p
}

func scan(t testing.TB, raw []byte) wire.Frame {
	f, n, err := wire.Scan(raw, 0)
	if err != nil || n != len(raw) {
		t.Fatalf("%x is not one frame: %v", raw, err)
	}
	return f
}

// run publishes n messages in one batch, and acknowledges them if they have
// QoS 1.
func (p *pair) run(n int, qos byte) {
	for range n {
		if err := p.pub.Receive(p.frame); err != nil {
			p.tb.Fatal(err)
		}
	}
	p.pub.Flush()
	if qos == 0 {
		return
	}
	for _, s := range p.subs {
		for i := range n {
			if err := s.Receive(p.acks[(p.next+i)%65_535]); err != nil {
				p.tb.Fatal(err)
			}
		}
		s.Flush()
	}
	p.next += n
}

func TestAllocations(t *testing.T) {
	cases := []struct {
		name    string
		qos     byte
		targets int
		batch   int
		most    float64 // per batch
	}{
		{"QoS 0, one by one", 0, 1, 1, 0},
		{"QoS 0, in batches", 0, 1, 100, 0},
		{"QoS 0, to many", 0, 50, 10, 0},
		// The message and its payload, shared by all who get it.
		{"QoS 1, one by one", 1, 1, 1, 2},
		{"QoS 1, in batches", 1, 1, 50, 2 * 50},
		{"QoS 1, to many", 1, 50, 10, 2 * 10},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, tc.qos, tc.targets, 64)
			for range 300 { // buffers grow to their size
				p.run(tc.batch, tc.qos)
			}
			if raceDetector {
				t.Skip("the race detector makes pools forget")
			}
			got := testing.AllocsPerRun(300, func() { p.run(tc.batch, tc.qos) })
			if got > tc.most {
				t.Errorf("%v allocations for %d messages; want at most %v", got, tc.batch, tc.most)
			}
			if p.sink.bytes < 600*tc.batch*tc.targets*64 {
				t.Errorf("the subscribers got %d bytes: less than was sent", p.sink.bytes)
			}
		})
	}
}

func bench(b *testing.B, qos byte, targets, payload int) {
	p := newPair(b, qos, targets, payload)
	const batch = 32
	b.ReportAllocs()
	b.SetBytes(int64(payload))
	for n := 0; n < b.N; n += batch {
		p.run(min(batch, b.N-n), qos)
	}
	_, _ = fmt.Fprint(io.Discard, p.sink.bytes)
}

func BenchmarkQoS0Pair(b *testing.B)  { bench(b, 0, 1, 64) }
func BenchmarkFanOut100(b *testing.B) { bench(b, 0, 100, 64) }
func BenchmarkQoS1Pair(b *testing.B)  { bench(b, 1, 1, 64) }

// BenchmarkRouteChurn publishes on many topics while subscriptions come and
// go, so that every route is stale every time.
func BenchmarkRouteChurn(b *testing.B) {
	k := newBroker(b, nil)
	sub, pub := k.open("sub"), k.open("pub")
	sub.port.Attach(&sink{})
	pub.port.Attach(&sink{})
	for i := range 10_000 {
		sub.sub(0, fmt.Sprint("plant/", i, "/+/x"))
	}
	var frames []wire.Frame
	for i := range 1000 {
		frames = append(frames, scan(b, pub.frame(message{topic: fmt.Sprint("plant/", i, "/a/x"), payload: "x"})))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sub.sub(0, "churn")
		if err := pub.port.Receive(frames[i%len(frames)]); err != nil {
			b.Fatal(err)
		}
		pub.port.Flush()
	}
}

// benchTopics publishes at QoS 0 on so many topics in turn, to one subscriber.
func benchTopics(b *testing.B, topics int) {
	k := openBroker(b, nil, nil)
	b.Cleanup(k.finish)
	sub, pub := k.open("sub"), k.open("pub")
	sub.port.Attach(&sink{})
	pub.port.Attach(&sink{})
	sub.sub(0, "plant/#")
	var frames []wire.Frame
	for i := range topics {
		frames = append(frames, scan(b, pub.frame(message{topic: fmt.Sprint("plant/", i%31, "/pump/", i), payload: strings.Repeat("x", 64)})))
	}
	b.ReportAllocs()
	for n := range b.N {
		if err := pub.port.Receive(frames[n%len(frames)]); err != nil {
			b.Fatal(err)
		}
		if n%32 == 31 {
			pub.port.Flush()
		}
	}
	pub.port.Flush()
}

func BenchmarkTwoTopics(b *testing.B)      { benchTopics(b, 2) }
func BenchmarkThousandTopics(b *testing.B) { benchTopics(b, 1000) }
func BenchmarkTooManyTopics(b *testing.B)  { benchTopics(b, 20_000) } // for the cache of routes
