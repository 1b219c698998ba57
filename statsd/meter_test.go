package statsd_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/statsd"
)

// near reports whether a and b agree to a millionth.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func nearRate(a, b statsd.Rate) bool {
	return near(a.Min1, b.Min1) && near(a.Min5, b.Min5) && near(a.Min15, b.Min15)
}

// steady is the average of a rate that has been r for d and was 0 before.
func steady(r float64, d time.Duration) statsd.Rate {
	part := func(span time.Duration) float64 { return r * (1 - math.Exp(-d.Seconds()/span.Seconds())) }
	return statsd.Rate{Min1: part(time.Minute), Min5: part(5 * time.Minute), Min15: part(15 * time.Minute)}
}

func TestMeter(t *testing.T) {
	begin := time.Now()
	t.Run("approaches a steady rate", func(t *testing.T) {
		m := statsd.NewMeter(1000, begin) // what was counted before does not count
		for i := 1; i <= 360; i++ {
			now := begin.Add(time.Duration(i) * 5 * time.Second)
			m.Update(1000+uint64(i)*50, now)
			if want := steady(10, now.Sub(begin)); !nearRate(m.Rate(), want) {
				t.Fatalf("after %v: %+v, want %+v", now.Sub(begin), m.Rate(), want)
			}
		}
	})
	t.Run("forgets when nothing comes", func(t *testing.T) {
		m := statsd.NewMeter(0, begin)
		m.Update(600, begin.Add(time.Minute))
		peak := m.Rate()
		m.Update(600, begin.Add(2*time.Minute))
		if want := peak.Min1 * math.Exp(-1); !near(m.Rate().Min1, want) {
			t.Errorf("1 min %v, want %v", m.Rate().Min1, want)
		}
		if want := peak.Min15 * math.Exp(-1.0/15); !near(m.Rate().Min15, want) {
			t.Errorf("15 min %v, want %v", m.Rate().Min15, want)
		}
	})
	t.Run("does not care how even the ticks are", func(t *testing.T) {
		m := statsd.NewMeter(0, begin)
		for _, s := range []uint64{1, 3, 4, 20, 21, 50, 60} {
			m.Update(7*s, begin.Add(time.Duration(s)*time.Second))
		}
		if want := steady(7, time.Minute); !nearRate(m.Rate(), want) {
			t.Errorf("%+v, want %+v", m.Rate(), want)
		}
	})
	t.Run("two updates at one instant lose nothing", func(t *testing.T) {
		m := statsd.NewMeter(0, begin)
		m.Update(100, begin)
		m.Update(100, begin.Add(time.Second))
		if want := steady(100, time.Second); !nearRate(m.Rate(), want) {
			t.Errorf("%+v, want %+v", m.Rate(), want)
		}
	})
	t.Run("a counter that restarts is no huge rate", func(t *testing.T) {
		m := statsd.NewMeter(1_000_000, begin)
		m.Update(5, begin.Add(time.Second))
		if want := steady(5, time.Second); !nearRate(m.Rate(), want) {
			t.Errorf("%+v, want %+v", m.Rate(), want)
		}
	})
}

func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seconds atomic.Uint64
		s := statsd.NewSampler(func() statsd.Totals {
			n := seconds.Load()
			return statsd.Totals{Received: n, Sent: 2 * n, Dropped: 3 * n, BytesReceived: 4 * n, BytesSent: 5 * n, Connections: 6 * n}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r := rest.New()
		go func() { ended <- s.Run(ctx, r) }()
		for range 600 {
			time.Sleep(time.Second)
			r.Stir()
			seconds.Add(1)
		}
		// The sample at this instant may see the last second or not: look just
		// after the one that does.
		time.Sleep(statsd.SampleInterval)
		synctest.Wait()
		var snap statsd.Snapshot
		s.Fill(&snap)
		for i, got := range []statsd.Rate{snap.Rates.Received, snap.Rates.Sent, snap.Rates.Dropped, snap.Rates.BytesReceived, snap.Rates.BytesSent, snap.Rates.Connections} {
			// At 600 s the counter stood at 599 or 600, so the last 5 s saw 1 or 0.
			high, low := steady(float64(i+1), 600*time.Second), 0.90
			if got.Min1 > high.Min1 || got.Min1 < low*high.Min1 || got.Min15 > high.Min15 || got.Min15 < 0.98*high.Min15 {
				t.Errorf("rate %d is %+v, want a little below %+v", i, got, high)
			}
		}
		if snap.Dropped.ByReason == nil || snap.Disconnections == nil {
			t.Error("maps are nil")
		}
		if snap.Uptime != 605 {
			t.Errorf("uptime %v, want 605", snap.Uptime)
		}
		if want := time.Now().Add(-605 * time.Second).UTC(); !snap.StartedAt.Equal(want) || snap.StartedAt.Location() != time.UTC {
			t.Errorf("started at %v, want %v", snap.StartedAt, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// TestSamplerRests compares averages after bursts and rests of all lengths, looked
// at or not, with those of a meter that never rests.
func TestSamplerRests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type spell struct {
			rest, busy int // seconds
			asked      bool
		}
		spells := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) spell {
			most := rapid.SampledFrom([]int{10, 100, 4000}).Draw(rt, "most")
			return spell{rapid.IntRange(0, most).Draw(rt, "rest"), rapid.IntRange(0, 60).Draw(rt, "busy"), rapid.Bool().Draw(rt, "asked")}
		}), 1, 10).Draw(rt, "spells")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			var total atomic.Uint64
			read := func() statsd.Totals { return statsd.Totals{Received: total.Load()} }
			s, r, plain := statsd.NewSampler(read), rest.New(), statsd.NewMeter(0, time.Now())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx, r) }()
			second := func(counts uint64) {
				if counts > 0 {
					r.Stir()
				}
				total.Add(counts)
				time.Sleep(time.Second)
				plain.Update(total.Load(), time.Now())
			}
			time.Sleep(time.Millisecond) // so that no sample is taken while a second is counted
			for i, sp := range spells {
				for range sp.rest {
					second(0)
				}
				if sp.asked {
					s.Fill(new(statsd.Snapshot))
				}
				for range sp.busy {
					second(uint64(100 + i))
				}
				for range 5 { // up to the next sample
					second(0)
				}
				var snap statsd.Snapshot
				s.Fill(&snap)
				// A sample spreads what came in five seconds over these, or over ten of
				// them: for the average of a minute that is a sixth at most.
				if got, want := snap.Rates.Received, plain.Rate(); math.Abs(got.Min1-want.Min1) > want.Min1/5+1e-9 || math.Abs(got.Min15-want.Min15) > want.Min15/50+1e-9 {
					wrong = fmt.Errorf("after spell %d: %+v, want %+v", i, got, want)
				}
			}
			cancel()
			<-ended
		})
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := statsd.NewSampler(func() statsd.Totals { return statsd.Totals{} })
		read := func() statsd.Memory {
			var snap statsd.Snapshot
			s.Fill(&snap)
			return snap.Memory
		}
		runtime.GC() // or garbage of other tests, freed later, hides the ballast
		first := read()
		if first.Heap == 0 || first.Sys < first.Heap || first.Goroutines == 0 {
			t.Errorf("memory %+v", first)
		}
		if runtime.GOOS == "linux" && first.Resident < 1<<20 {
			t.Errorf("resident %d bytes", first.Resident)
		}
		ballast := make([]byte, 64<<20)
		time.Sleep(999 * time.Millisecond)
		if again := read(); again != first {
			t.Errorf("read anew within a second: %+v, then %+v", first, again)
		}
		time.Sleep(time.Millisecond)
		if later := read(); later.Heap < first.Heap+32<<20 {
			t.Errorf("not read anew after a second: %+v, then %+v", first, later)
		}
		runtime.KeepAlive(ballast)
	})
}
