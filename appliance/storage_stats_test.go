package appliance_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// stored is config with a data directory that does not exist yet.
func stored(t testing.TB) appliance.Config {
	t.Helper()
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(t.TempDir(), "data")
	return cfg
}

// askControl returns what the control socket of cfg's broker says.
func askControl(t *testing.T, cfg appliance.Config) (statsd.Snapshot, statsd.Health) {
	t.Helper()
	daemon := statsd.Dial(cfg.Control.Socket)
	defer daemon.Close()
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	s, err := daemon.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h, err := daemon.Health(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

func TestStorageStats(t *testing.T) {
	t.Run("without a data directory", func(t *testing.T) {
		cfg := config(t)
		b := newBroker(t, cfg)
		if got := b.Stats().Storage; got.State != statsd.StorageNone {
			t.Errorf("before the start: %+v", got)
		}
		b = start(t, cfg)
		if got := b.Stats().Storage; got.State != statsd.StorageNone || got.Directory != "" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("with one", func(t *testing.T) {
		cfg := stored(t)
		b := start(t, cfg)
		c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, "c"))
		c.Subscribe(1, "a/+")
		before := b.Stats().Storage
		c.Publish("a/b", strings.Repeat("x", 1000), 1, false)
		s, h := askControl(t, cfg)
		st := s.Storage
		if st.State != statsd.StorageOK || st.Directory != cfg.Storage.Directory || st.Durability != "fsync" || st.Since.IsZero() || st.Reason != "" {
			t.Errorf("got %+v", st)
		}
		if st.BudgetBytes != int64(cfg.Storage.MaxBytes) || st.ReservedBytes < int64(cfg.Storage.SegmentSize) || st.ReservedBytes > st.BudgetBytes/2 || st.Segments < 1 || st.UsedBytes < int64(cfg.Storage.SegmentSize) {
			t.Errorf("sizes: %+v", st)
		}
		if st.WrittenBytes < before.WrittenBytes+1000 || st.Commits <= before.Commits || st.Syncs <= before.Syncs || st.SyncSeconds <= before.SyncSeconds {
			t.Errorf("before %+v\nafter  %+v", before, st)
		}
		var syncs uint64
		for _, n := range st.SyncTimes {
			syncs += n
		}
		if syncs < before.Syncs || st.HeldBytes < 1000 {
			t.Errorf("%d syncs in the table, %d bytes held: %+v", syncs, st.HeldBytes, st)
		}
		if !h.Live || !h.Ready || len(h.Problems) > 0 {
			t.Errorf("health: %+v", h)
		}
	})
}

// A store that has no room left is a problem that the health check tells, with
// the reason, while the broker goes on.
func TestHealthOfAFullStore(t *testing.T) {
	cfg := stored(t)
	cfg.Storage.MaxBytes, cfg.Storage.SegmentSize = 32*appliance.MiB, 4*appliance.MiB
	cfg.Storage.Durability = appliance.DurabilityFlush
	cfg.Sessions.MaxQueuedBytes, cfg.Sessions.TotalQueuedBytes = 64*appliance.MiB, 64*appliance.MiB
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, "away"))
	c.Subscribe(1, "a/#")
	c.Disconnect()
	p := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "p"))
	payload := strings.Repeat("x", 256<<10)
	n := 0
	var s statsd.Snapshot
	var h statsd.Health
	// What is tidied up makes room again, until there is nothing to tidy up.
	brokertest.WaitFor(t, "a store that is full and says so", func() bool {
		n++
		p.PublishOut(wire.Out{Topic: fmt.Append(nil, "a/", n), Payload: []byte(payload), QoS: 1})
		s, h = askControl(t, cfg)
		return s.Storage.State == statsd.StorageFull && len(h.Problems) > 0
	})
	if !h.Live || !h.Ready || len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "full") || s.Storage.Reason == "" ||
		!strings.Contains(h.Problems[0], s.Storage.Reason) {
		t.Errorf("health %+v, storage %+v", h, s.Storage)
	}
}

func TestParseBlockBytes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want uint64
	}{
		{"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n", 4096},
		{"write_bytes: 18446744073709551615\n", math.MaxUint64},
		{"cancelled_write_bytes: 7\n", 0},
		{"write_bytes: -1\n", 0},
		{"write_bytes:\n", 0},
		{"", 0},
	} {
		if got := appliance.ParseBlockBytes([]byte(tt.text)); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.text, got, tt.want)
		}
	}
}

// What is beyond the budget of a day is told, once, and written all the same.
func TestWriteBudget(t *testing.T) {
	cfg := stored(t)
	cfg.Storage.DailyWriteBudget = 1 * appliance.MiB
	b := newBroker(t, cfg)
	told := make(chan events.Event, 10)
	b.On("system", func(e events.Event) {
		if e.Data.(events.SystemData).What == "write_budget_exceeded" {
			told <- e
		}
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "p"))
	for n := range 8 {
		p.Publish(fmt.Sprint("a/", n), strings.Repeat("x", 256<<10), 1, true)
	}
	if w := b.Stats().Storage.Budget; w == nil || w.DailyBytes != 1<<20 || w.UsedBytes < 2<<20 || !w.Exceeded {
		t.Errorf("budget: %+v", w)
	}
	stop(t, b) // which looks at the budget, too

	b = newBroker(t, cfg)
	b.On("system", func(e events.Event) {
		if e.Data.(events.SystemData).What == "write_budget_exceeded" {
			told <- e
		}
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, b)
	if st := b.Stats().Storage; st.LifetimeBytes < 2<<20 || st.Recovered.Retained != 8 || !st.Budget.Exceeded {
		t.Errorf("after a restart: %+v, budget %+v", st, st.Budget)
	}
	for range 2 { // one of each process
		if e := next(t, told); !strings.Contains(e.Data.(events.SystemData).Detail, "of 1.0 MiB written") {
			t.Errorf("told %+v", e)
		}
	}
}
