package relay_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
)

// entries is the ledger as "client branch reason count" lines.
func entries(list []relay.Loss) map[string]uint64 {
	m := make(map[string]uint64)
	for _, l := range list {
		m[fmt.Sprintf("%s %s %s", l.Client, l.Branch, l.Reason)] += l.Count
	}
	return m
}

func TestLedger(t *testing.T) {
	in(t, func(c *relay.Config) { c.Queue.MaxQueued = 2 }, func(b *broker) {
		for _, id := range []string{"a", "b"} {
			c := b.connect(id, kept)
			c.sub(1, "plant/#", "x")
			c.end()
		}
		pub := b.connect("pub")
		pub.pub(1, "plant/1/temp=1", "plant/1/temp=2", "plant/1/temp=3", "plant/1/speed/rpm=4", "plant/2=5", "x=6", "nobody/here=7")
		want := map[string]uint64{}
		for _, id := range []string{"a", "b"} {
			want[id+" plant/1 queue_full"] = 4 // the oldest of seven go, of which two stay
		}
		got := entries(b.Losses())
		if !maps.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
		if got := entries(b.NewLosses()); !maps.Equal(got, want) {
			t.Errorf("new are %v", got)
		}
		if got := b.NewLosses(); len(got) != 0 {
			t.Errorf("new are %v, though nothing happened", got)
		}
		pass(time.Minute)
		pub.pub(1, "x=8")
		last := time.Now()
		pass(time.Second)
		if got := entries(b.NewLosses()); !maps.Equal(got, map[string]uint64{"a plant/2 queue_full": 1, "b plant/2 queue_full": 1}) {
			t.Errorf("new are %v", got)
		}
		for _, l := range b.Losses() {
			if old := l.Last.Before(last); old != (l.Branch == "plant/1") {
				t.Errorf("%+v: last", l)
			}
		}
		b.Discard("a")
		if got := entries(b.NewLosses())["a x discarded"]; got != 2 {
			t.Errorf("%d discarded", got)
		}
		var sum uint64
		for _, l := range b.Losses() {
			sum += l.Count
		}
		total := uint64(0)
		for reason, n := range b.Totals().Dropped {
			if reason != relay.DropNoSubscribers.String() {
				total += n
			}
		}
		if sum != total || sum == 0 {
			t.Errorf("the ledger has %d, the counters %d", sum, total)
		}
	})
}

// However many names there are, the ledger is bounded and its sum right.
func TestLedgerIsBounded(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued = 1 })
	c := b.connect("c", kept)
	c.sub(1, "#")
	c.end()
	pub := b.connect("pub")
	const n = 6000
	for i := range n {
		pub.pub(1, fmt.Sprintf("%d/%s/x=1", i, strings.Repeat("y", 300)))
	}
	list := b.Losses()
	var sum, others uint64
	for _, l := range list {
		sum += l.Count
		if l.Client == "" {
			others += l.Count
		}
		if len(l.Branch) > 128 {
			t.Fatalf("a branch of %d bytes", len(l.Branch))
		}
	}
	if len(list) != 4097 || sum != n-1 || others != n-1-4096 {
		t.Errorf("%d lines, %d lost, %d of these together", len(list), sum, others)
	}
}

// swamped is a Link that has more waiting than may be.
type swamped struct{ sink }

func (*swamped) Pending() int { return 1 << 30 }

// A session that loses without end allocates nothing for it.
func TestLedgerAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	b := newBroker(t, nil)
	c := b.open("c")
	c.port.Attach(&swamped{})
	c.sub(0, "plant/#")
	pub := b.open("pub")
	pub.port.Attach(&sink{})
	frame := scan(t, pub.frame(message{topic: "plant/7/temperature", payload: "x"}))
	send := func() {
		if err := pub.port.Receive(frame); err != nil {
			t.Fatal(err)
		}
		pub.port.Flush()
	}
	send()
	before := b.Losses()[0].Count
	allocs := testing.AllocsPerRun(200, send)
	if after := b.Losses()[0].Count; after < before+200 {
		t.Fatalf("%d were lost", after-before)
	}
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// docs/REFERENCE.md explains every reason.
func TestReasonsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	for r := relay.DropReason(0); r <= relay.DropSuperseded; r++ {
		reasons++
		if !strings.Contains(string(text), "| `"+r.String()+"` |") {
			t.Errorf("%s is not explained", r)
		}
	}
	if reasons < 14 {
		t.Errorf("%d reasons", reasons)
	}
}
