package store_test

import (
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// BenchmarkGrowthStart is a start from a store, on a disk in memory, with n retained
// messages of 64 bytes, or n kept sessions with a subscription each. EDGEBROKER_GROWTH
// set takes sizes up to 100,000; scripts/growth.sh does so and draws docs/growth.
func BenchmarkGrowthStart(b *testing.B) {
	most := 1000
	if os.Getenv("EDGEBROKER_GROWTH") != "" {
		most = 100_000
	}
	for _, what := range []string{"retained", "sessions"} {
		for n := 10; n <= most; n *= 10 {
			b.Run(fmt.Sprint(what, "/", n), func(b *testing.B) { benchStart(b, what, n) })
		}
	}
}

func benchStart(b *testing.B, what string, n int) {
	disk := faultdisk.New(1)
	start := func() (stop func(), r *relay.Relay, report *store.Report) {
		cfg := relay.DefaultConfig()
		cfg.TotalFilterBytes, cfg.MaxSessions, cfg.MaxRetained, cfg.MaxRetainedBytes = 0, 0, 1<<30, 1<<40
		s, rec, report, err := store.Open(store.Options{Disk: disk, Level: relay.Flush, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		r = relay.New(cfg, s, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
		r.Restore(rec)
		s.Run(r)
		return func() {
			r.Close()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}, r, report
	}
	stop, r, _ := start()
	for i := range n {
		if what == "retained" {
			if err := r.Publish(relay.Outgoing{Topic: fmt.Sprintf("site%d/pump%d/v", i/100, i), Payload: make([]byte, 64), Retain: true}, nil); err != nil {
				b.Fatal(err)
			}
			continue
		}
		p, err := r.Open(relay.Connect{ClientID: fmt.Sprint("pump", i), Version: wire.V5, Expiry: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		p.Attach(&pipe{})
		p.Subscribe([]relay.Subscription{{Filter: fmt.Sprintf("site%d/pump%d/set", i/100, i), QoS: 1}}, nobody{})
		p.SendRetained(nil)
		p.End(relay.End{})
	}
	stop()
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	var spent int64
	for b.Loop() {
		began := cpu()
		stop, _, report := start()
		spent += cpu() - began
		if got := report.Retained + report.Sessions; got != n {
			b.Fatalf("%d are there, want %d", got, n)
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}

// nobody waits for what is stored.
type nobody struct{}

func (nobody) Committed(error) {}
