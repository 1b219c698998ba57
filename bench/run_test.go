package bench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// startBroker runs an appliance and returns its MQTT address.
func startBroker(t *testing.T) string {
	t.Helper()
	_, addr := startBrokerWith(t, nil)
	return addr
}

// startBrokerWith runs an appliance with a config that change has changed.
func startBrokerWith(t *testing.T, change func(*appliance.Config)) (*appliance.Broker, string) {
	t.Helper()
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	b, err := appliance.New(cfg, appliance.WithLogger(slog.New(slog.DiscardHandler)), appliance.WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stop the broker: %v", err)
		}
	})
	return b, b.Addr(cfg.Listeners[0].Name)
}

// rules is the path of a file of rules.
func rules(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunByCount(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	for _, s := range []bench.Scenario{bench.FanIn, bench.Pairs, bench.FanOut} {
		for _, v := range []wire.Version{wire.V311, wire.V5} {
			for qos := range byte(3) {
				t.Run(fmt.Sprintf("%s/%v/qos %d", s, v, qos), func(t *testing.T) {
					o := bench.Options{Address: addr, Scenario: s, Clients: 3, QoS: qos, Version: v, Count: 500, Window: 50}
					res, err := bench.Run(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					published, delivered := uint64(1500), uint64(1500)
					if s == bench.FanOut {
						published = 500
					}
					if res.Published != published || res.Delivered != delivered || !res.Clean() {
						t.Errorf("got %+v", res)
					}
					if res.Latency.Samples != delivered || res.Latency.P50 <= 0 || res.Latency.Max < res.Latency.P999 {
						t.Errorf("latency %+v", res.Latency)
					}
				})
			}
		}
	}
}

// Kept subscribers have sessions that outlive connections while the run lasts,
// and none after it.
func TestRunKept(t *testing.T) {
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	b, err := appliance.New(cfg, appliance.WithLogger(slog.New(slog.DiscardHandler)), appliance.WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	kept := map[string]int{} // connections by kind of client and whether the session is kept
	b.On("connection", func(e events.Event) {
		d := e.Data.(events.ConnectionData)
		mu.Lock()
		defer mu.Unlock()
		kept[fmt.Sprintf("%.9s kept=%v", d.ClientID, d.SessionExpiry > 0 && !d.CleanStart)]++
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Errorf("stop the broker: %v", err)
		}
	})
	for _, v := range []wire.Version{wire.V311, wire.V5} {
		o := bench.Options{Address: b.Addr(cfg.Listeners[0].Name), Scenario: bench.FanIn, Clients: 2, QoS: 1, Version: v, Count: 50, Kept: true}
		res, err := bench.Run(t.Context(), o)
		if err != nil || !res.Clean() || res.Delivered != 100 {
			t.Errorf("%v: got %+v, %v", v, res, err)
		}
		brokertest.WaitFor(t, "all sessions to end", func() bool { return b.Stats().Sessions.Total == 0 })
	}
	want := map[string]int{"bench-sub kept=true": 2, "bench-sub kept=false": 2, "bench-pub kept=false": 4}
	brokertest.WaitFor(t, "all connections to be reported", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return maps.Equal(kept, want)
	})
}

func TestRunByDuration(t *testing.T) {
	o := bench.Options{Address: startBroker(t), Duration: 200 * time.Millisecond, Warmup: 50 * time.Millisecond, QoS: 1, BrokerPID: os.Getpid()}
	res, err := bench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Clean() || res.Delivered == 0 || res.Delivered >= res.Published {
		t.Errorf("the measured interval has %d of %d messages; clean: %v", res.Delivered, res.Published, res.Clean())
	}
	if d := res.Elapsed.Duration(); d < 200*time.Millisecond {
		t.Errorf("measured for %v", d)
	}
	if res.BrokerCPUMicrosPerMsg <= 0 || res.BrokerRSS == 0 || res.LoadCPUMicrosPerMsg <= 0 {
		t.Errorf("no CPU or memory: %+v", res)
	}
}

// TestOpenLoop checks that the rate is held, and that latency counts from the
// schedule: with the broker held up for a while, what was due meanwhile is late.
func TestOpenLoop(t *testing.T) {
	const pause = 150 * time.Millisecond
	addr := startBroker(t)
	proxy := newProxy(t, addr, func(n int) fault {
		if n == 100 {
			return fault{delay: pause}
		}
		return fault{}
	})
	o := bench.Options{Address: proxy, Clients: 1, Rate: 1000, Count: 600}
	res, err := bench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Clean() || res.Published != 600 {
		t.Errorf("got %+v", res)
	}
	if d := res.Elapsed.Duration(); d < 590*time.Millisecond {
		t.Errorf("600 messages at 1000/s took %v", d)
	}
	if res.Latency.Max.Duration() < pause*9/10 {
		t.Errorf("the longest latency is %v, the pause was %v", res.Latency.Max.Duration(), pause)
	}
	// About 150 of 600 messages were due during the pause and waited for its
	// end. A load that waits for the broker would see a single late message.
	if p99 := res.Latency.P99.Duration(); p99 < pause/4 {
		t.Errorf("p99 is %v; messages that were due in the pause do not count as late", p99)
	}
}

func TestRunSeesFaults(t *testing.T) {
	addr := startBroker(t)
	at := func(which int, f fault) func(int) fault {
		return func(n int) fault {
			if n == which {
				return f
			}
			return fault{}
		}
	}
	tests := []struct {
		name                       string
		fault                      fault
		lost, reordered, duplicate uint64
	}{
		{"none", fault{}, 0, 0, 0},
		{"lost", fault{drop: true}, 1, 0, 0},
		{"repeated", fault{repeat: true}, 0, 0, 1},
		{"swapped", fault{swap: true}, 0, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxy := newProxy(t, addr, at(50, tt.fault))
			res, err := bench.Run(t.Context(), bench.Options{Address: proxy, Scenario: bench.FanIn, Clients: 2, Count: 200, Window: 20})
			if err != nil {
				t.Fatal(err)
			}
			if res.Lost != tt.lost || res.Reordered != tt.reordered || res.Duplicates != tt.duplicate {
				t.Errorf("lost %d, reordered %d, repeated %d", res.Lost, res.Reordered, res.Duplicates)
			}
		})
	}
}

func TestRunStalls(t *testing.T) {
	brokertest.NoLeaks(t)
	for _, rate := range []float64{0, 2000} {
		t.Run(fmt.Sprintf("rate %v", rate), func(t *testing.T) {
			proxy := newProxy(t, startBroker(t), func(n int) fault { return fault{drop: n >= 100} })
			o := bench.Options{Address: proxy, Clients: 1, Rate: rate, Count: 400, StallAfter: 300 * time.Millisecond}
			res, err := bench.Run(t.Context(), o)
			if !errors.Is(err, bench.ErrStalled) {
				t.Fatalf("got %v", err)
			}
			if res.Lost == 0 || res.Lost != res.Published-100 {
				t.Errorf("%d of %d messages lost", res.Lost, res.Published)
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	t.Run("nobody listens", func(t *testing.T) {
		if _, err := bench.Run(t.Context(), bench.Options{Address: "127.0.0.1:1"}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("the broker goes away", func(t *testing.T) {
		proxy := newProxy(t, addr, func(n int) fault { return fault{hangUp: n == 100} })
		_, err := bench.Run(t.Context(), bench.Options{Address: proxy, Clients: 2})
		if err == nil || !strings.Contains(err.Error(), "closed the connection") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		proxy := newProxy(t, addr, func(n int) fault {
			if n == 100 {
				cancel()
			}
			return fault{}
		})
		if _, err := bench.Run(ctx, bench.Options{Address: proxy, Clients: 2, Duration: time.Hour}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the options are wrong", func(t *testing.T) {
		_, err := bench.Run(t.Context(), bench.Options{Scenario: "x", QoS: 3, Payload: 4, Rate: -1})
		for _, want := range []string{"address", "scenario", "qos", "payload", "rate"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	})
}
