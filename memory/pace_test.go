package memory_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/memory"
)

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 3 << 20: 400, 6 << 20: 400, 12 << 20: 200, 24 << 20: 100, 1 << 30: 100, 1 << 62: 100,
	} {
		if got := memory.Percent(live); got != want {
			t.Errorf("%d bytes alive: %d percent, want %d", live, got, want)
		}
	}
}

// What is alive decides how much garbage there may be, both ways.
func TestKeepPace(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	stop := memory.KeepPace()
	defer stop()
	current := func() int {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return percent
	}
	if got := current(); got != 400 {
		t.Fatalf("%d percent at first", got)
	}
	await := func(what string, ok func(percent int) bool) {
		t.Helper()
		look, end := time.NewTicker(time.Millisecond), time.NewTimer(time.Minute)
		defer look.Stop()
		defer end.Stop()
		for !ok(current()) {
			select {
			case <-look.C:
				runtime.GC()
			case <-end.C:
				t.Fatalf("waited in vain for %s, %d percent now", what, current())
			}
		}
	}
	hold := make([]byte, 64<<20)
	await("few percent of much", func(percent int) bool { return percent == 100 })
	runtime.KeepAlive(hold)
	await("many percent of little", func(percent int) bool { return percent == 400 })
}
