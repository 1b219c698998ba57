package bench

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSchedule checks that the schedule never strays more than a tick from
// the rate.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, 1e6).Draw(t, "rate")
		n := rapid.Uint64Range(1, 1e6).Draw(t, "ticks")
		s := newSchedule(rate)
		if s.tick < minTick {
			t.Fatalf("tick is %v", s.tick)
		}
		ideal := rate * s.tick.Seconds() * float64(n)
		if got := float64(s.due(n)); got < ideal-1 || got > ideal+1 {
			t.Fatalf("%v due after %d ticks of %v, not %v", got, n, s.tick, ideal)
		}
		if s.due(n) < s.due(n-1) {
			t.Fatalf("fewer messages due at tick %d than before", n)
		}
	})
	if s := newSchedule(500); s.tick != 2*time.Millisecond || s.due(1) != 1 || s.due(7) != 7 {
		t.Errorf("500/s: tick %v, due %d, %d", s.tick, s.due(1), s.due(7))
	}
}

func TestTickerCountsWhatNobodyWaitedFor(t *testing.T) {
	begin := time.Now()
	start := begin.Add(-time.Millisecond) // already past: ticks at once
	clock, err := newTicker(start, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.close()
	var n uint64
	for n < 20 {
		k, err := clock.wait()
		if err != nil || k == 0 {
			t.Fatalf("%d ticks, %v", k, err)
		}
		n += k
	}
	// However late we look, no tick comes early.
	if spent := time.Since(begin); spent < time.Duration(n-1)*time.Millisecond {
		t.Errorf("%d ticks of 1 ms in %v", n, spent)
	}
}

func TestTickerClose(t *testing.T) {
	clock, err := newTicker(time.Now().Add(time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := clock.wait()
		ended <- err
	}()
	clock.close()
	clock.close()
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("wait ended with %v", err)
	}
}

func TestWindow(t *testing.T) {
	w := newWindow()
	fast, slow := w.newPosition(), w.newPosition()
	fast.advance(10)
	slow.advance(3)
	if w.floor() != 3 {
		t.Fatalf("floor is %d", w.floor())
	}
	if err := w.await(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- w.await(t.Context(), 6) }()
	slow.advance(5)
	fast.advance(20)
	select {
	case err := <-ended:
		t.Fatalf("went on at floor %d (%v)", w.floor(), err)
	default:
	}
	slow.advance(6)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopped)
	if err := w.await(ctx, 7); !errors.Is(err, errStopped) {
		t.Errorf("await ended with %v", err)
	}
}

// TestWindowNeverMissesAWakeUp lets both sides race over many windows.
func TestWindowNeverMissesAWakeUp(t *testing.T) {
	const last = 20000
	w := newWindow()
	a, b := w.newPosition(), w.newPosition()
	for _, p := range []*position{a, b} {
		go func() {
			for n := uint64(1); n <= last; n++ {
				p.advance(n)
			}
		}()
	}
	for n := uint64(1); n <= last; n += 3 {
		if err := w.await(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}
