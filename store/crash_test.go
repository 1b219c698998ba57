package store_test

import (
	"testing"
	"testing/synctest"
)

// crashes runs a workload that the seed determines on a disk that loses power,
// or whose process is killed, at moments that it determines as well.
func crashes(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, nil)
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

func TestCrashes(t *testing.T) {
	for seed := range uint64(2000) {
		crashes(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
