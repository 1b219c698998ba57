package memory_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/memory"
	"github.com/synthetism/edgebroker/rest"
)

// What has become garbage goes back to the kernel, and the second time there is
// nothing to do.
func TestShrink(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else collects it
	var shrinker memory.Shrinker
	shrinker.Shrink()
	if shrinker.Shrink() {
		t.Error("there was something to give back at once")
	}
	released := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	const size = 64 << 20
	garbage := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		garbage[i] = 1
	}
	runtime.GC() // counts it as alive
	runtime.KeepAlive(garbage)
	garbage = nil
	runtime.GC()
	before := released()
	if !shrinker.Shrink() {
		t.Fatal("there is nothing to give back")
	}
	if got := released() - before; got < size*3/4 {
		t.Errorf("%d bytes have been given back, of %d", got, size)
	}
	if shrinker.Shrink() {
		t.Error("again there was something to give back")
	}
}

// It happens once when work has ended, not while there is some, and not again
// before there was more.
func TestAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rest.New()
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex // guards at
		var at []time.Duration
		times := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(at)
		}
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			memory.AtRest(ctx, r, func() bool {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(start))
				return true
			})
		}()
		for spell := 1; spell <= 3; spell++ {
			for range 100 {
				r.Stir()
				time.Sleep(7 * time.Second)
				synctest.Wait()
			}
			if at := times(); len(at) != spell-1 {
				t.Fatalf("spell %d: it happened while there was work: %v", spell, at)
			}
			worked := time.Since(start)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			at := times()
			if len(at) != spell {
				t.Fatalf("spell %d: happened %d times, want once each: %v", spell, len(at), at)
			}
			if after := at[spell-1] - worked; after < 20*time.Second || after > 2*time.Minute {
				t.Errorf("spell %d: %v after the work", spell, after)
			}
		}
		before := r.Wakes()
		time.Sleep(24 * time.Hour)
		if n := r.Wakes() - before; n > 0 {
			t.Errorf("woken up %d times in a day of rest", n)
		}
		cancel()
		<-done
	})
}
