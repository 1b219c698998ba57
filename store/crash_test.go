package store_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
)

// variant is what differs between runs of the same workload.
type variant struct {
	name   string
	change func(*relay.Config, *store.Options)
}

func variants() []variant {
	return []variant{
		{"plain", nil},
		{"short log", func(c *relay.Config, o *store.Options) { o.SegmentSize = 4 << 10; c.SpillBytes = 1500 }},
		{"little memory", func(c *relay.Config, _ *store.Options) { c.SpillBytes = 1200 }},
		{"small windows", func(c *relay.Config, _ *store.Options) { c.MaxInflight = 2; c.SpillBytes = 2000 }},
		{"small segments", func(c *relay.Config, o *store.Options) { o.SegmentSize = 4 << 10; c.SpillBytes = 3000 }},
	}
}

// crashes runs a workload that the seed determines on a disk that loses power,
// or whose process is killed, at moments that it determines as well.
func crashes(t *testing.T, seed uint64, v variant) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, v.change)
		w.checkpoints = true
		for range 1 + w.rng.IntN(3) {
			w.start()
			w.disk.CutAt(1 + w.rng.IntN(120))
			for steps := 0; steps < 150 && !w.crashed(); steps++ {
				w.step()
			}
			if !w.crashed() {
				w.settle()
			}
			w.stop()
			if w.rng.IntN(3) == 0 {
				w.note("killed")
				w.disk = w.disk.Kill()
			} else {
				w.note("power cut")
				w.disk = w.disk.Crash(w.rng)
			}
		}
		w.start()
		w.finish()
		w.stop()
	})
}

// failing runs the workload on a disk whose writes and syncs fail now and then
// while the process lives on, and dies in the end.
func failing(t *testing.T, seed uint64, v variant) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, v.change)
		w.checkpoints = seed%2 == 0
		w.start()
		dice := seeded(seed + 1)
		w.disk.Hook(func(op faultdisk.Op) faultdisk.Fault {
			if op.Change > 0 && dice.IntN(40) == 0 {
				return faultdisk.Fault{Err: syscall.EIO, Done: dice.IntN(op.Size + 1)}
			}
			return faultdisk.Fault{}
		})
		for range 300 {
			w.step()
			if w.rng.IntN(10) == 0 {
				pass(time.Second) // the store may recover
			}
		}
		w.disk.Hook(nil)
		w.settle()
		w.stop()
		w.note("power cut")
		w.disk = w.disk.Crash(w.rng)
		w.start()
		w.finish()
		w.stop()
	})
}

// seeds is how many lives of a broker each test tries for each variant;
// scripts/crash.sh asks for many more.
func seeds(t *testing.T, otherwise uint64) (from, to uint64) {
	if s := os.Getenv("CRASH_SEEDS"); s != "" {
		if _, err := fmt.Sscanf(s, "%d-%d", &from, &to); err != nil {
			t.Fatalf("CRASH_SEEDS=%q is not FROM-TO", s)
		}
		return from, to
	}
	switch {
	case testing.Short():
		otherwise /= 10
	case raceDetector: // many times slower; scripts/check.sh runs more without it
		otherwise /= 16
	}
	return 0, otherwise
}

func TestCrashes(t *testing.T) {
	from, to := seeds(t, 400)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			for seed := from; seed < to && !t.Failed(); seed++ {
				crashes(t, seed, v)
			}
		})
	}
}

func TestFailingDisks(t *testing.T) {
	from, to := seeds(t, 200)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			for seed := from; seed < to && !t.Failed(); seed++ {
				failing(t, seed, v)
			}
		})
	}
}
