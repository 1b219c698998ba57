package store_test

import (
	"bytes"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// The policy against a plain account of what was written on which day.
func TestBudget(t *testing.T) {
	const base = 200 * time.Millisecond
	rapid.Check(t, func(t *rapid.T) {
		daily := rapid.Uint64Range(0, 1000).Draw(t, "daily")
		b := store.NewBudget(daily, base)
		var clock time.Duration
		var written uint64
		spent := make(map[int64]uint64) // by day, from its first look on
		told := make(map[int64]bool)
		before := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "looks") {
			clock += time.Duration(rapid.Int64Range(0, int64(30*time.Hour)).Draw(t, "later"))
			written += rapid.Uint64Range(0, 700).Draw(t, "more")
			today := int64(clock / (24 * time.Hour))
			if _, known := spent[today]; known || today == 0 {
				spent[today] += written - before
			} else {
				spent[today] = 0
			}
			before = written
			window, usedUp := b.Look(clock, written)
			want := base
			switch {
			case daily > 0 && spent[today] > 2*daily:
				want = 100 * base
			case daily > 0 && spent[today] > daily:
				want = 10 * base
			}
			if window != want {
				t.Fatalf("day %d, %d of %d: window %v, want %v", today, spent[today], daily, window, want)
			}
			if usedUp != (want > base && !told[today]) {
				t.Fatalf("day %d, %d of %d: told %v, before %v", today, spent[today], daily, usedUp, told[today])
			}
			told[today] = told[today] || usedUp
		}
	})
}

func TestBudgetBounds(t *testing.T) {
	for _, tt := range []struct{ base, want time.Duration }{
		{10 * time.Millisecond, time.Second}, {2 * time.Second, time.Minute}, {time.Hour, time.Hour},
	} {
		b := store.NewBudget(1, tt.base)
		if got, _ := b.Look(time.Second, 1000); got != tt.want {
			t.Errorf("window %v widened to %v, want %v", tt.base, got, tt.want)
		}
	}
	t.Run("the clock falls back over midnight", func(t *testing.T) {
		b := store.NewBudget(10, time.Second)
		b.Look(24*time.Hour, 100)
		b.Look(24*time.Hour+time.Minute, 111)
		if window, usedUp := b.Look(24*time.Hour-time.Minute, 111); window != 10*time.Second || usedUp {
			t.Errorf("window %v, told again %v: the day began anew", window, usedUp)
		}
	})
}

func TestWearRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := store.Wear{Written: rapid.Uint64().Draw(t, "written"), Block: rapid.Uint64().Draw(t, "block"), Start: rapid.Uint64().Draw(t, "start"),
			Day: rapid.Int64Range(0, 1<<62).Draw(t, "day"), Clock: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "clock")) * time.Millisecond}
		data := store.EncodeWear(w)
		if got, err := store.DecodeWear(data); err != nil || got != w {
			t.Fatalf("%+v became %+v, %v", w, got, err)
		}
		for n := range data {
			if got, err := store.DecodeWear(data[:n]); err == nil {
				t.Fatalf("%d bytes of %d became %+v", n, len(data), got)
			}
		}
		if _, err := store.DecodeWear(append(data, 0)); err == nil {
			t.Fatal("a byte too many was accepted")
		}
	})
}

// keeper is a store with a relay on a disk in memory.
type keeper struct {
	store *store.Store
	relay *relay.Relay

	mu   sync.Mutex
	told []uint64 // budgets exceeded: bytes used
	wide time.Duration
}

// exceeded is what has been told of the budget once all is quiet.
func (k *keeper) exceeded() ([]uint64, time.Duration) {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told, k.wide
}

// open opens what disk holds, in a bubble.
func open(t *testing.T, disk journal.Disk, change func(*store.Options)) *keeper {
	t.Helper()
	k := &keeper{}
	opts := store.Options{Disk: disk, Level: relay.Flush, SegmentSize: 64 << 10, FlushInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		OnBudget: func(used, _ uint64, window time.Duration) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told, k.wide = append(k.told, used), window
		}}
	if change != nil {
		change(&opts)
	}
	s, rec, _, err := store.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	k.store, k.relay = s, relay.New(relay.DefaultConfig(), s, events.NewBus(nil, wire.MatchTopic), opts.Log)
	k.relay.Restore(rec)
	s.Run(k.relay)
	synctest.Wait()
	return k
}

func (k *keeper) close(t *testing.T) {
	t.Helper()
	k.relay.Close()
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// retain publishes a retained message of n bytes.
func (k *keeper) retain(t *testing.T, topic string, n int) {
	t.Helper()
	done := make(result, 1)
	if err := k.relay.Publish(relay.Outgoing{Topic: topic, Payload: bytes.Repeat([]byte("x"), n), QoS: 1, Retain: true}, done); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

type result chan error

func (r result) Committed(err error) { r <- err }

// What was written is known across restarts, and after a kill up to a bound.
func TestWearAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		var block atomic.Uint64
		block.Store(1000)
		change := func(o *store.Options) { o.BlockBytes = block.Load }
		k := open(t, disk, change)
		for n := range 20 {
			k.retain(t, "a", 1000+n)
		}
		block.Store(51000)
		time.Sleep(time.Minute)
		before := k.store.Wear()
		if before.Written < 20000 || before.Block != 50000 || before.Clock < time.Minute || before.Today() != before.Written {
			t.Errorf("at first %+v", before)
		}
		k.close(t)

		block.Store(7) // another process
		k = open(t, disk, change)
		after := k.store.Wear()
		if after.Written < before.Written || after.Written > before.Written+100<<10 || after.Block != before.Block || after.Clock < before.Clock {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		k.retain(t, "a", 3<<20) // more than may be forgotten
		time.Sleep(11 * time.Second)
		k.retain(t, "b", 10) // takes the record along
		time.Sleep(time.Second)
		killed := k.store.Wear()
		left := disk.Kill()
		k.relay.Close()
		_ = k.store.Close()
		k = open(t, left, change)
		if w := k.store.Wear(); w.Written+1<<20 < killed.Written {
			t.Errorf("killed at %+v, went on at %+v", killed, w)
		}
		k.close(t)
	})
}

// Beyond the budget the window is widened, which is told once a day, also when
// the broker is restarted meanwhile.
func TestDailyBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		change := func(o *store.Options) { o.DailyBudget = 1 << 20 }
		k := open(t, disk, change)
		k.retain(t, "a", 100<<10)
		time.Sleep(time.Minute)
		if told, _ := k.exceeded(); len(told) > 0 {
			t.Fatalf("told %v within the budget", told)
		}
		k.retain(t, "a", 1<<20)
		time.Sleep(time.Minute)
		if told, wide := k.exceeded(); len(told) != 1 || told[0] <= 1<<20 || wide != time.Second {
			t.Fatalf("told %v, window %v", told, wide)
		}
		syncs := k.store.Journal().Stats().Syncs
		for range 50 { // five seconds of traffic, five windows
			k.retain(t, "b", 10)
			time.Sleep(100 * time.Millisecond)
		}
		if n := k.store.Journal().Stats().Syncs - syncs; n > 7 {
			t.Errorf("%d syncs in five windows", n)
		}
		k.close(t)

		k = open(t, disk, change)
		if told, _ := k.exceeded(); len(told) != 1 {
			t.Errorf("after a restart on the same day told %v", told)
		}
		time.Sleep(24 * time.Hour)
		k.retain(t, "c", 10)
		time.Sleep(time.Minute)
		told, _ := k.exceeded()
		if w := k.store.Wear(); len(told) != 1 || w.Today() > 100<<10 || w.Day != 1 {
			t.Errorf("the next day: told %v, %+v", told, w)
		}
		syncs = k.store.Journal().Stats().Syncs
		for range 50 {
			k.retain(t, "b", 10)
			time.Sleep(100 * time.Millisecond)
		}
		if n := k.store.Journal().Stats().Syncs - syncs; n < 20 {
			t.Errorf("%d syncs in fifty windows of the usual length", n)
		}
		k.close(t)
	})
}
