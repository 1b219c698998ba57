package bench

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Progress
		rec := &recorder{}
		var n atomic.Uint64
		o := &Options{Scenario: Pairs, Interval: time.Second, Progress: func(p Progress) { got = append(got, p) }}
		stop := watch(o, running, n.Load, []*recorder{rec})
		record := func(count uint64, latency time.Duration) {
			rec.mu.Lock()
			defer rec.mu.Unlock()
			n.Add(count)
			for range count {
				rec.latency.record(latency)
			}
		}
		record(1000, time.Millisecond)
		time.Sleep(1500 * time.Millisecond)
		record(10, time.Second) // few beside those before, and all of this second
		time.Sleep(time.Second)
		time.Sleep(time.Second)
		stop()
		stop()
		time.Sleep(5 * time.Second)
		if len(got) != 3 {
			t.Fatalf("%d reports in 3.5 s", len(got))
		}
		for i, want := range []Progress{
			{Phase: running, Scenario: Pairs, Elapsed: 1, Count: 1000, PerSecond: 1000},
			{Phase: running, Scenario: Pairs, Elapsed: 2, Count: 1010, PerSecond: 10},
			{Phase: running, Scenario: Pairs, Elapsed: 3, Count: 1010},
		} {
			p99 := got[i].P99.Duration()
			got[i].P99 = 0
			if got[i] != want {
				t.Errorf("report %d is %+v instead of %+v", i, got[i], want)
			}
			if least := []time.Duration{time.Millisecond, time.Second, 0}[i]; p99 < least || p99 > least+least/subBuckets {
				t.Errorf("p99 of second %d is %v", i+1, p99)
			}
		}
	})
}

// Without anybody to tell, nothing is started.
func TestProgressQuiet(t *testing.T) {
	for _, o := range []Options{{}, {Interval: time.Second}, {Progress: func(Progress) { t.Error("told") }}} {
		watch(&o, running, func() uint64 { t.Error("counted"); return 0 }, nil)()
	}
}
