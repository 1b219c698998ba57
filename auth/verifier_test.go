package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a hash that takes a second of simulated time and counts how many run
// at once.
type slow struct {
	run        func([]byte) bool
	peak, done *atomic.Int64
}

func newSlow() slow {
	h := slow{peak: new(atomic.Int64), done: new(atomic.Int64)}
	var now atomic.Int64
	h.run = func([]byte) bool {
		n := now.Add(1)
		for p := h.peak.Load(); n > p && !h.peak.CompareAndSwap(p, n); p = h.peak.Load() {
		}
		time.Sleep(time.Second)
		now.Add(-1)
		h.done.Add(1)
		return true
	}
	return h
}

func (h slow) matches(password []byte) bool { return h.run(password) }
func (h slow) kind() string                 { return "slow" }
func (h slow) memory() int64                { return 1 }
func (h slow) dummy() hash                  { return h }

// TestVerifierStorm: under a storm from many addresses no more run at once
// than allowed, everybody is answered, and as many wait as may.
func TestVerifierStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const parallel, waiting, storm = 3, 40, 500
		v, err := NewVerifier(VerifierLimits{parallel, waiting, 7 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h := newSlow()
		var in, busy, ended atomic.Int64
		var wg sync.WaitGroup
		begun := time.Now()
		for i := range storm {
			wg.Go(func() {
				ctx := context.Background()
				if i%5 == 0 { // some give up
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 1500*time.Millisecond)
					defer cancel()
				}
				addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
				match, err := v.verify(ctx, addr, h, nil)
				switch {
				case err == nil && match:
					in.Add(1)
				case errors.Is(err, ErrBusy):
					if d := time.Since(begun); d != 0 {
						t.Errorf("busy only after %v", d)
					}
					busy.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					ended.Add(1)
				default:
					t.Errorf("%v, %v", match, err)
				}
			})
		}
		wg.Wait()
		if h.peak.Load() != parallel || v.Stats().Peak != parallel {
			t.Errorf("%d ran at once (stats: %d), want %d", h.peak.Load(), v.Stats().Peak, parallel)
		}
		if in.Load()+ended.Load() != parallel+waiting || in.Load() != h.done.Load() {
			t.Errorf("%d in, %d gave up, %d verified", in.Load(), ended.Load(), h.done.Load())
		}
		if busy.Load() != storm-parallel-waiting {
			t.Errorf("%d busy", busy.Load())
		}
		if s := v.Stats(); s.Running != 0 || s.Waiting != 0 || s.Busy != uint64(busy.Load()) || s.Done != uint64(in.Load()) {
			t.Errorf("stats are %+v", s)
		}
		if len(v.gate.waiting) != 0 {
			t.Errorf("still counts %v", v.gate.waiting)
		}
	})
}

// TestVerifierKeepsPlaces: one address, and one IPv6 /64, gets half of the
// waiting places; others still get theirs.
func TestVerifierKeepsPlaces(t *testing.T) {
	for name, attacker := range map[string]func(i int) string{
		"IPv4":        func(int) string { return "192.0.2.1" },
		"mapped":      func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] },
		"IPv6 by /64": func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) },
		"zones":       func(i int) string { return fmt.Sprintf("fe80::1%%eth%d", i) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, err := NewVerifier(VerifierLimits{1, 10, 7 << 20})
				if err != nil {
					t.Fatal(err)
				}
				h := newSlow()
				var busy atomic.Int64
				var wg sync.WaitGroup
				for i := range 100 {
					wg.Go(func() {
						if _, err := v.verify(context.Background(), netip.MustParseAddr(attacker(i)), h, nil); err != nil {
							busy.Add(1)
						}
					})
				}
				synctest.Wait()
				if got := busy.Load(); got != 94 { // one runs, five wait
					t.Errorf("%d were busy", got)
				}
				if match, err := v.verify(context.Background(), netip.MustParseAddr("198.51.100.1"), h, nil); err != nil || !match {
					t.Error(err)
				}
				wg.Wait()
			})
		})
	}
}

// TestVerifierFirstComeFirstServed: who waits longest is next.
func TestVerifierFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, err := NewVerifier(VerifierLimits{1, 50, 7 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h := newSlow()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := v.verify(context.Background(), netip.Addr{}, h, nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("order was %v", order)
			}
		}
	})
}

func TestVerifierLimits(t *testing.T) {
	for _, l := range []VerifierLimits{{0, 1, 7 << 20}, {1, 0, 7 << 20}, {1, 1, 7<<20 - 1}, {}} {
		if _, err := NewVerifier(l); err == nil {
			t.Errorf("accepts %+v", l)
		}
	}
}
