package memory

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The heap may grow to five times what is alive before garbage is collected, as
// long as the garbage is no more than 24 MiB, and to twice in any case. What is
// alive are a few MiB on an ordinary gateway, and at Go's default of 100 percent
// the collector was a quarter of the processor time under load at QoS 1. With
// thousands of connections five times what is alive would be the larger part of
// what each of them takes, while a collection is rare enough at 24 MiB.
const (
	maxGarbage  = 24 << 20
	maxPercent  = 400
	minPercent  = 100
	stepPercent = 20 // what is nearer to the percentage in force is left as it is: to change it stops the process for a moment
)

// Percent is how much garbage may pile up before it is collected, in percent of
// live, the bytes that are alive.
func Percent(live uint64) int {
	return int(min(max(maxGarbage*100/max(live, 1), minPercent), maxPercent))
}

// KeepPace has this process collect garbage at Percent of what the collection
// before has found alive, until stop is called.
func KeepPace() (stop func()) {
	debug.SetGCPercent(maxPercent)
	var mu sync.Mutex // guards now
	now := maxPercent
	return OnCollection(func() {
		live := []metrics.Sample{{Name: metricLive}}
		metrics.Read(live)
		want := Percent(live[0].Value.Uint64())
		mu.Lock()
		defer mu.Unlock()
		if diff := want - now; diff >= stepPercent || -diff >= stepPercent {
			now = want
			debug.SetGCPercent(want)
		}
	})
}
