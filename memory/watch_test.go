package memory_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/memory"
	"github.com/synthetism/edgebroker/rest"
)

// watched is a Watcher of a budget of 1000 bytes, in a bubble.
type watched struct {
	*memory.Watcher
	rest    *rest.Rest
	use     atomic.Int64
	looks   atomic.Int64
	changes []string
}

func watch(t *testing.T) *watched {
	w := &watched{rest: rest.New()}
	w.Watcher = memory.NewWatcher(1000, func() int64 { w.looks.Add(1); return w.use.Load() }, func(from, to memory.Level, used int64) {
		w.changes = append(w.changes, fmt.Sprintf("%v>%v %d", from, to, used))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx, w.rest); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return w
}

// letBe lets d pass with use bytes in use, and something that stirs at its beginning.
func (w *watched) letBe(d time.Duration, use int64) {
	w.rest.Stir()
	w.grow(d, use)
}

// grow is letBe with nothing that stirs.
func (w *watched) grow(d time.Duration, use int64) {
	w.use.Store(use)
	time.Sleep(d)
	synctest.Wait()
}

func TestWatcher(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(w *watched)
		want []string
	}{
		"levels begin at once, one after the other": {func(w *watched) {
			for _, use := range []int64{799, 800, 879, 880, 939, 940, 5000} {
				w.letBe(time.Second/2, use)
			}
		}, []string{"calm>guarded 800", "guarded>shedding 880", "shedding>severe 940"}},
		"or all at a time": {func(w *watched) { w.letBe(time.Second/2, 1000) }, []string{"calm>severe 1000"}},
		"they end when use has been lower for a while": {func(w *watched) {
			w.letBe(time.Second/2, 1000)
			w.letBe(time.Second/2, 10)
		}, []string{"calm>severe 1000"}},
		"and then as far as use allows": {func(w *watched) {
			w.letBe(time.Second/2, 1000)
			w.letBe(2*time.Second, 10)
		}, []string{"calm>severe 1000", "severe>calm 10"}},
		"a little lower is not enough": {func(w *watched) {
			w.letBe(time.Second/2, 940)
			w.letBe(time.Minute, 860)
		}, []string{"calm>severe 940"}},
		"the highest use of the while counts": {func(w *watched) {
			w.letBe(time.Second/2, 1000)
			w.letBe(400*time.Millisecond, 10)
			w.letBe(400*time.Millisecond, 810)
			w.letBe(time.Second/2, 10)
		}, []string{"calm>severe 1000", "severe>shedding 10"}},
		"use that goes up and down does not make levels flap": {func(w *watched) {
			for range 50 {
				w.letBe(400*time.Millisecond, 950)
				w.letBe(400*time.Millisecond, 100)
			}
		}, []string{"calm>severe 950"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t)
				tc.do(w)
				if !slices.Equal(w.changes, tc.want) {
					t.Errorf("got %q, want %q", w.changes, tc.want)
				}
			})
		})
	}
	t.Run("counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := watch(t)
			for range 3 {
				w.letBe(time.Second, 900)
				w.letBe(3*time.Second, 7)
			}
			if w.Begun(memory.Guarded) != 3 || w.Begun(memory.Shedding) != 3 || w.Begun(memory.Severe) != 0 || w.Used() != 7 || w.Most() != 900 || w.Level() != memory.Calm {
				t.Errorf("%d %d %d, %d %d, %v", w.Begun(memory.Guarded), w.Begun(memory.Shedding), w.Begun(memory.Severe), w.Used(), w.Most(), w.Level())
			}
		})
	})
}

// The level is never below what use asks for, and after a time of steady use
// never above what that allows.
func TestWatcherLevelFits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		uses := rapid.SliceOfN(rapid.Int64Range(0, 1100), 1, 30).Draw(rt, "uses")
		synctest.Test(t, func(t *testing.T) {
			w := watch(t)
			for _, use := range uses {
				within := time.Second / 5
				if w.Used() < 360 { // far from any level it looks once a second
					within = time.Second
				}
				w.letBe(within, use)
				for l, begin := range memory.Levels() {
					if use >= int64(begin)*10 && w.Level() < l {
						t.Fatalf("%d bytes are used, the level is %v", use, w.Level())
					}
				}
			}
			last := uses[len(uses)-1]
			w.letBe(3*time.Second, last)
			for l, begin := range memory.Levels() {
				if last < int64(begin-8)*10 && w.Level() >= l {
					t.Fatalf("%d bytes have long been used, the level is %v", last, w.Level())
				}
			}
		})
	})
}

// TestWatcherRests: at rest it looks once a minute, and also then sees what grows.
func TestWatcherRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.letBe(time.Minute, 500)
		before := w.looks.Load()
		w.grow(time.Hour, 505)
		if n := w.looks.Load() - before; n > 60 {
			t.Errorf("%d looks in an hour of rest", n)
		}
		if w.grow(time.Minute, 850); w.Level() != memory.Guarded {
			t.Errorf("after a minute at 85 %% the level is %v", w.Level())
		}
		before = w.looks.Load()
		if w.grow(time.Minute, 750); w.Level() != memory.Guarded || w.looks.Load()-before < 299 {
			t.Errorf("at level %v it has looked %d times in a minute", w.Level(), w.looks.Load()-before)
		}
		// What grows is looked at often from the first look that has seen it.
		w.grow(2*time.Minute, 400)
		w.grow(time.Minute-time.Second, 420)
		for use := int64(440); use < 1000; use += 20 {
			w.grow(3*time.Second, use)
		}
		if w.grow(200*time.Millisecond, 1000); w.Level() != memory.Severe {
			t.Errorf("grown by 2 %% every few seconds, the level is %v", w.Level())
		}
	})
}

// TestWatcherEasy: what stirs all the time, with use far from any level, has it look
// once a second; what grows, five times.
func TestWatcherEasy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		looks := func(use int64) int64 {
			w.letBe(time.Minute, use)
			before := w.looks.Load()
			for range 600 {
				w.letBe(100*time.Millisecond, use)
			}
			return w.looks.Load() - before
		}
		if n := looks(355); n > 62 {
			t.Errorf("at 35.5 %% %d looks in a minute", n)
		}
		if n := looks(365); n < 298 {
			t.Errorf("at 36.5 %% %d looks in a minute", n)
		}
		w.letBe(time.Minute, 100)
		w.letBe(2*time.Second, 120)
		before := w.looks.Load()
		for range 50 {
			w.letBe(100*time.Millisecond, 120)
		}
		if n := w.looks.Load() - before; n < 24 {
			t.Errorf("grown by 2 %%, %d looks in five seconds", n)
		}
	})
}

// TestWatcherSoon: a hint is enough.
func TestWatcherSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.letBe(5*time.Minute+time.Second, 10)
		w.use.Store(950)
		w.Soon()
		if w.grow(200*time.Millisecond, 950); w.Level() != memory.Severe {
			t.Errorf("a fifth of a second after the hint the level is %v", w.Level())
		}
	})
}

func TestOnCollection(t *testing.T) {
	told := make(chan struct{})
	over := make(chan struct{})
	stop := memory.OnCollection(func() {
		select {
		case told <- struct{}{}:
		case <-over:
		}
	})
	defer close(over)
	defer stop()
	for range 3 { // it is not told only once
		runtime.GC()
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatal("garbage was collected, and nobody was told")
		}
	}
}

func TestProcess(t *testing.T) {
	p := memory.NewProcess(1) // so that it collects whenever it may
	before := p.Used()
	if before <= 0 {
		t.Fatalf("%d bytes are used", before)
	}
	held := make([]byte, 64<<20)
	for i := range held {
		held[i] = byte(i)
	}
	debug.FreeOSMemory() // collects
	if got := p.Used(); got < before+32<<20 {
		t.Errorf("%d bytes are used, %d before 64 MiB were taken", got, before)
	}
	if held[5] != 5 {
		t.Error("the compiler has taken them away")
	}
}

func TestLimit(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	if limit, ours := memory.Limit(1<<40, func(string) string { return "3GiB" }); ours || limit != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT was overridden: %d", limit)
	}
	if limit, ours := memory.Limit(1<<40, func(string) string { return "" }); !ours || limit != 1<<40 || debug.SetMemoryLimit(-1) != 1<<40 {
		t.Errorf("the limit is %d", debug.SetMemoryLimit(-1))
	}
}
