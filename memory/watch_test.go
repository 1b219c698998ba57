package memory_test

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/memory"
)

// watched is a Watcher of a budget of 1000 bytes, in a bubble.
type watched struct {
	*memory.Watcher
	use     atomic.Int64
	changes []string
}

func watch(t *testing.T) *watched {
	w := &watched{}
	w.Watcher = memory.NewWatcher(1000, w.use.Load, func(from, to memory.Level, used int64) {
		w.changes = append(w.changes, fmt.Sprintf("%v>%v %d", from, to, used))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return w
}

// letBe lets d pass with use bytes in use.
func (w *watched) letBe(d time.Duration, use int64) {
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
				w.letBe(time.Second/5, use)
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
