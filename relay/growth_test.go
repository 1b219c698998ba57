package relay_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// The benchmarks of this file show how costs grow with what is there already.
// scripts/growth.sh runs them and draws docs/growth; growth_visits_test.go holds
// the same to counts of what is looked at, which no clock decides.

// grown is the sizes that a benchmark goes through, up to most; EDGEBROKER_GROWTH
// set takes all of them, else those that are there in a moment.
func grown(most int) (sizes []int) {
	if os.Getenv("EDGEBROKER_GROWTH") == "" {
		most = min(most, 10_000)
	}
	for n := 10; n <= most; n *= 10 {
		sizes = append(sizes, n)
	}
	return sizes
}

// spending reports the processor time of an operation, when what it returns is
// called: what other programs do meanwhile does not count.
func spending(b *testing.B) func() {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	began := cpu()
	return func() { b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op") }
}

// roomy has no limits that growth meets.
func roomy(c *relay.Config) {
	c.MaxFilterBytes, c.TotalFilterBytes, c.MaxSessions = 1<<40, 0, 0
	c.MaxRetained, c.MaxRetainedBytes = 1<<30, 1<<40
	c.MaxOutbound = 1 << 30
}

// crowd subscribes n times, a hundred filters to a client, none of which the topics
// of publishing match. mix is exact, or wild: every fourth has a + and every
// twentieth a #.
func crowd(b *testing.B, k *broker, n int, mix string) {
	b.Helper()
	for i := 0; i < n; i += 100 {
		c := k.open(fmt.Sprint("crowd", i))
		c.port.Attach(&sink{})
		var subs []relay.Subscription
		for j := i; j < min(n, i+100); j++ {
			filter := fmt.Sprintf("site%d/line%d/pump%d/t", j%97, j%1009, j)
			switch {
			case mix == "wild" && j%20 == 0:
				filter = fmt.Sprintf("site%d/line%d/pump%d/#", j%97, j%1009, j)
			case mix == "wild" && j%4 == 0:
				filter = fmt.Sprintf("site%d/+/pump%d/t", j%97, j)
			}
			subs = append(subs, relay.Subscription{Filter: filter})
		}
		c.subscribe(subs...)
	}
}

// frames are QoS 0 publishes of c on so many topics.
func frames(b *testing.B, c *client, topics int) []wire.Frame {
	b.Helper()
	out := make([]wire.Frame, topics)
	for i := range out {
		out[i] = scan(b, c.frame(message{topic: fmt.Sprintf("site%d/line%d/pump%d/v", i%97, i%1009, i), payload: strings.Repeat("x", 64)}))
	}
	return out
}

func receive(b *testing.B, c *client, f wire.Frame, flush bool) {
	if err := c.port.Receive(f); err != nil {
		b.Fatal(err)
	}
	if flush {
		c.port.Flush()
	}
}

// publishing is a broker with n subscriptions, one client more that gets all that
// is published, and one that publishes.
func publishing(b *testing.B, n int, mix string) (k *broker, pub *client) {
	b.Helper()
	k = newBroker(b, roomy)
	crowd(b, k, n, mix)
	all := k.open("all")
	all.port.Attach(&sink{})
	all.sub(0, "+/+/+/v")
	pub = k.open("pub")
	pub.port.Attach(&sink{})
	return k, pub
}

// BenchmarkGrowthPublish is a publish to one subscriber while others have n
// subscriptions: on a topic that is known, and on 100,000 in turn, none of which is.
func BenchmarkGrowthPublish(b *testing.B) {
	for _, tc := range []struct {
		name   string
		topics int
	}{{"known", 1}, {"new", 100_000}} {
		for _, mix := range []string{"exact", "wild"} {
			for _, n := range grown(1_000_000) {
				b.Run(fmt.Sprint(tc.name, "-", mix, "/", n), func(b *testing.B) {
					_, pub := publishing(b, n, mix)
					fs := frames(b, pub, tc.topics)
					b.ReportAllocs()
					defer spending(b)()
					for i := 0; b.Loop(); i++ {
						receive(b, pub, fs[i%len(fs)], i%32 == 31)
					}
					pub.port.Flush()
				})
			}
		}
	}
}

// BenchmarkGrowthTopics is a publish on n topics in turn to one subscriber.
func BenchmarkGrowthTopics(b *testing.B) {
	for _, n := range grown(1_000_000) {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, pub := publishing(b, 0, "")
			fs := frames(b, pub, n)
			b.ReportAllocs()
			defer spending(b)()
			for i := 0; b.Loop(); i++ {
				receive(b, pub, fs[i%len(fs)], i%32 == 31)
			}
			pub.port.Flush()
		})
	}
}

// BenchmarkGrowthChurn is ten publishes on 100 known topics and one SUBSCRIBE of
// somebody else, while others have n subscriptions, by publish.
func BenchmarkGrowthChurn(b *testing.B) {
	for _, where := range []string{"elsewhere", "beside"} {
		for _, n := range grown(1_000_000) {
			b.Run(fmt.Sprint(where, "/", n), func(b *testing.B) {
				k, pub := publishing(b, n, "exact")
				fs := frames(b, pub, 100)
				c := k.open("churn")
				c.port.Attach(&sink{})
				filter := map[string]string{"elsewhere": "other/x", "beside": "site1/x"}[where]
				b.ReportAllocs()
				defer spending(b)()
				for i := 0; b.Loop(); i++ {
					if i%10 == 0 {
						c.sub(0, filter)
					}
					receive(b, pub, fs[i%len(fs)], i%10 == 9)
				}
				pub.port.Flush()
			})
		}
	}
}

// BenchmarkGrowthSubscribe is a SUBSCRIBE and an UNSUBSCRIBE while others have n
// subscriptions: n filters, or n times the same one.
func BenchmarkGrowthSubscribe(b *testing.B) {
	for _, n := range grown(1_000_000) {
		b.Run(fmt.Sprint("many/", n), func(b *testing.B) {
			k, _ := publishing(b, n, "wild")
			c := k.connect("c")
			b.ReportAllocs()
			defer spending(b)()
			for b.Loop() {
				c.sub(0, "site1/line1/pump/v")
				c.unsub("site1/line1/pump/v")
			}
		})
	}
	for _, n := range grown(100_000) {
		b.Run(fmt.Sprint("one/", n), func(b *testing.B) {
			k := newBroker(b, roomy)
			cs := make([]*client, n)
			for i := range cs {
				cs[i] = k.open(fmt.Sprint(i))
				cs[i].port.Attach(&sink{})
				cs[i].sub(0, "same")
			}
			b.ReportAllocs()
			defer spending(b)()
			for i := 0; b.Loop(); i++ { // the one that has had it for longest, as when all reconnect
				c := cs[i%n]
				c.unsub("same")
				c.sub(0, "same")
			}
		})
	}
}

// BenchmarkGrowthRetained is a SUBSCRIBE while there are n retained messages: to one
// topic, to a wildcard that ten of them match, and to all.
func BenchmarkGrowthRetained(b *testing.B) {
	for _, tc := range []struct{ name, filter string }{{"one", "site0/pump1/v"}, {"ten", "site0/+/v"}, {"all", "#"}} {
		for _, n := range grown(100_000) {
			b.Run(fmt.Sprint(tc.name, "/", n), func(b *testing.B) {
				k := newBroker(b, roomy)
				pub := k.connect("pub")
				for i := range n {
					pub.publish(message{topic: fmt.Sprintf("site%d/pump%d/v", i/10, i), payload: strings.Repeat("x", 64), retain: true})
				}
				s := &sink{}
				c := k.open("c")
				c.port.Attach(s)
				b.ReportAllocs()
				defer spending(b)()
				for b.Loop() {
					c.sub(0, tc.filter)
				}
				if s.bytes == 0 {
					b.Fatal("nothing was sent")
				}
			})
		}
	}
}

// BenchmarkGrowthConnect is a CONNECT with a clean session, with a subscription, and
// its end, while there are n others.
func BenchmarkGrowthConnect(b *testing.B) {
	for _, n := range grown(100_000) {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := newBroker(b, roomy)
			for i := range n {
				c := k.open(fmt.Sprint("there", i))
				c.port.Attach(&sink{})
				c.sub(0, fmt.Sprint("there/", i))
			}
			b.ReportAllocs()
			defer spending(b)()
			for b.Loop() {
				c := k.open("new")
				c.port.Attach(&sink{})
				c.sub(0, "new/+")
				c.port.End(relay.End{})
			}
		})
	}
}

// BenchmarkGrowthMemory is what n subscriptions, retained messages of 64 bytes, or
// kept sessions with a subscription each take of the heap, for each of them.
func BenchmarkGrowthMemory(b *testing.B) {
	fill := map[string]func(*testing.B, *broker, int){
		"subscriptions": func(b *testing.B, k *broker, n int) { crowd(b, k, n, "wild") },
		"retained": func(b *testing.B, k *broker, n int) {
			pub := k.connect("pub")
			for i := range n {
				pub.publish(message{topic: fmt.Sprintf("site%d/pump%d/v", i/10, i), payload: strings.Repeat("x", 64), retain: true})
			}
		},
		"sessions": func(b *testing.B, k *broker, n int) {
			for i := range n {
				c := k.open(fmt.Sprint("there", i), kept)
				c.port.Attach(&sink{})
				c.sub(1, fmt.Sprint("there/", i))
				c.port.End(relay.End{})
			}
		},
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools held
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for _, what := range []string{"subscriptions", "retained", "sessions"} {
		for _, n := range grown(100_000) {
			if n < 1000 { // the rest of the broker shows
				continue
			}
			b.Run(fmt.Sprint(what, "/", n), func(b *testing.B) {
				for b.Loop() {
					k := openBroker(b, roomy, nil)
					before := heap()
					fill[what](b, k, n)
					b.ReportMetric((heap()-before)/float64(n), "B/item")
					b.StopTimer()
					k.Close()
					b.StartTimer()
				}
			})
		}
	}
}
