package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

// judge lets "good" in, is down for "down", and counts what reaches it.
type judge struct {
	mu     sync.Mutex
	judged int
	takes  time.Duration
}

func (j *judge) Authenticate(_ context.Context, a *auth.Attempt) (auth.Identity, error) {
	j.mu.Lock()
	j.judged++
	j.mu.Unlock()
	time.Sleep(j.takes)
	switch string(a.Password.Reveal()) {
	case "good":
		return auth.Identity{Name: "ann"}, nil
	case "down":
		return auth.Identity{}, errors.New("down")
	case "old":
		return auth.Identity{}, auth.ErrStale
	}
	return auth.Identity{}, auth.ErrRefused
}

// siege is a guarded judge and ways to come at it.
type siege struct {
	t testing.TB
	*judge
	auth.Source
}

func lockout(t testing.TB, change func(*auth.LockoutConfig)) *siege {
	t.Helper()
	c := auth.DefaultLockoutConfig()
	change(&c)
	l, err := auth.NewLockout(c)
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{}
	return &siege{t, j, l.Guard(j)}
}

// try is the outcome, and how long it took.
func (s *siege) try(addr, name, password string) (string, time.Duration) {
	s.t.Helper()
	a := login(name, password)
	a.Addr = netip.Addr{}
	if addr != "" {
		a.Addr = netip.MustParseAddr(addr)
	}
	begun := time.Now()
	_, err := s.Source.Authenticate(s.t.Context(), a)
	return outcome(err), time.Since(begun)
}

func (s *siege) expect(addr, name, password, wanted string) {
	s.t.Helper()
	got, _ := s.try(addr, name, password)
	want(s.t, fmt.Sprintf("%s from %s with %s", name, addr, password), got, wanted)
}

func nothing(*auth.LockoutConfig) {}

// TestLockoutBackoff: each failure past the tolerance doubles the wait, up to
// its bound; attempts while locked are not judged and lengthen nothing.
func TestLockoutBackoff(t *testing.T) {
	for name, addrs := range map[string][]string{
		"IPv4":      {"192.0.2.1", "::ffff:192.0.2.1"},
		"IPv6 /64":  {"2001:db8::1", "2001:db8::ffff:1"},
		"no socket": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := lockout(t, func(c *auth.LockoutConfig) { c.MaxWait = 10 * time.Second })
				for range 5 {
					s.expect(addrs[0], "ann", "bad", "refused")
				}
				for _, wait := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
					s.expect(addrs[1], "ann", "bad", "refused")
					judged := s.judged
					for range 3 {
						time.Sleep(wait * time.Second / 4)
						s.expect(addrs[0], "ann", "good", "locked")
					}
					if s.judged != judged {
						t.Fatal("judged while locked")
					}
					time.Sleep(wait * time.Second / 4)
				}
				s.expect(addrs[1], "ann", "good", "in")
				for range 5 { // success resets
					s.expect(addrs[0], "ann", "bad", "refused")
				}
				s.expect(addrs[1], "ann", "good", "in")
			})
		})
	}
}

// TestLockoutIsOfOneUserAtOneAddress: others at the address, and the user at
// others, get in at once.
func TestLockoutIsOfOneUserAtOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for range 6 {
			s.expect("192.0.2.1", "ann", "bad", "refused")
		}
		s.expect("192.0.2.1", "ann", "good", "locked")
		for _, c := range [][2]string{{"192.0.2.1", "bob"}, {"192.0.2.2", "ann"}, {"2001:db8::1", "ann"}, {"", "ann"}} {
			if got, took := s.try(c[0], c[1], "good"); got != "in" || took != 0 {
				t.Errorf("%s from %s: %s after %v", c[1], c[0], got, took)
			}
		}
	})
}

// TestLockoutBurst: many attempts at once do not get around the wait: past the
// tolerance one is let through per wait.
func TestLockoutBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for range 8 {
			s.expect("192.0.2.1", "ann", "bad", "refused")
			time.Sleep(4 * time.Second)
		}
		s.takes = time.Second
		judged := s.judged
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { s.try("192.0.2.1", "ann", "bad") })
		}
		wg.Wait()
		if n := s.judged - judged; n != 1 {
			t.Errorf("%d of 100 attempts at once were judged", n)
		}
	})
}

// TestLockoutOfAddress: guessing at many users locks the address, for new
// users; not for those who have logged in from it.
func TestLockoutOfAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		const addr = "192.0.2.1"
		s.expect(addr, "ann", "good", "in")
		for i := range 41 {
			s.expect(addr, fmt.Sprint("guess", i), "bad", "refused")
		}
		s.expect(addr, "another", "bad", "locked")
		s.expect(addr, "bob", "good", "locked")
		s.expect(addr, "ann", "good", "in")
		s.expect("192.0.2.2", "bob", "good", "in")
		nameless := login("", "bad")
		nameless.HasUsername = false
		_, err := s.Source.Authenticate(t.Context(), nameless)
		want(t, "without a name", outcome(err), "locked")
		time.Sleep(2 * time.Second)
		s.expect(addr, "bob", "good", "in")
		s.expect(addr, "carl", "good", "in") // bob's success did not cost the turn
		s.expect(addr, "guess", "bad", "refused")
		s.expect(addr, "dora", "good", "locked")
	})
}

// TestLockoutOneGoodPasswordBuysNothing: success between guesses at others does
// not make the address forget those.
func TestLockoutOneGoodPasswordBuysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		refused := 0
		for i := range 200 {
			s.expect("192.0.2.1", "mallory", "good", "in")
			if got, _ := s.try("192.0.2.1", fmt.Sprint("guess", i), "bad"); got == "refused" {
				refused++
			}
		}
		if refused != 41 {
			t.Errorf("%d guesses were judged", refused)
		}
	})
}

// TestLockoutForgetfulDevice: a device that tries an old password for ever
// does not lock out those that share its address, not even new ones.
func TestLockoutForgetfulDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for minute := range 3 * 24 * 60 {
			for device := range 5 {
				s.try("192.0.2.1", fmt.Sprint("old", device), "bad")
			}
			if minute%60 == 59 {
				s.expect("192.0.2.1", fmt.Sprint("new", minute), "good", "in")
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(5 * time.Minute)
		s.expect("192.0.2.1", "old1", "good", "in") // once mended, at most MaxWait later
	})
}

// TestLockoutStrangers: guessing at a user from many addresses slows those who
// are new there, by a bounded time, and locks nobody out.
func TestLockoutStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		s.expect("192.0.2.1", "ann", "good", "in")
		for i := range 300 {
			s.expect(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "ann", "bad", "refused")
		}
		if got, took := s.try("192.0.2.1", "ann", "good"); got != "in" || took != 0 {
			t.Errorf("from where she was before: %s after %v", got, took)
		}
		if got, took := s.try("192.0.2.2", "ann", "good"); got != "in" || took != 3*time.Second {
			t.Errorf("from elsewhere: %s after %v", got, took)
		}
		if got, took := s.try("192.0.2.2", "bob", "good"); got != "in" || took != 0 {
			t.Errorf("somebody else: %s after %v", got, took)
		}
	})
}

// TestLockoutFlood: very many addresses do not lock others out, and they get
// slow themselves, also if they take turns so that
// none fails twice.
func TestLockoutFlood(t *testing.T) {
	for _, each := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(each), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := lockout(t, func(c *auth.LockoutConfig) { c.Entries = 64 })
				s.expect("203.0.113.1", "ann", "good", "in")
				const flood = 2000
				var slowest time.Duration
				for i := range flood {
					for n := range each {
						a := login(fmt.Sprint("u", i, n), "bad")
						a.Addr = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
						begun := time.Now()
						if _, err := s.Source.Authenticate(t.Context(), a); outcome(err) != "refused" {
							t.Fatalf("flooding address %d: %v", i, err)
						}
						slowest = max(slowest, time.Since(begun))
					}
				}
				if slowest != 3*time.Second {
					t.Errorf("the flood was slowed by %v at most", slowest)
				}
				if got, took := s.try("203.0.113.1", "ann", "good"); got != "in" || took != 0 {
					t.Errorf("who was there before: %s after %v", got, took)
				}
				if got, took := s.try("203.0.113.2", "bob", "good"); got != "in" || took > 3*time.Second {
					t.Errorf("who is new: %s after %v", got, took)
				}
			})
		})
	}
}

// TestLockoutKeepsOffenders: a flood at the same instant does not free who is
// locked, also where nearly all that is remembered is locked.
func TestLockoutKeepsOffenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, func(c *auth.LockoutConfig) { c.Entries = 64 })
		offender := func(i int) (wait time.Duration) { // 0: judged
			a := login("root", "bad")
			a.Addr = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			_, err := s.Source.Authenticate(t.Context(), a)
			if locked := (*auth.LockedError)(nil); errors.As(err, &locked) {
				wait = locked.Wait
			}
			return wait
		}
		const offenders = 100
		waits := make([]time.Duration, offenders)
		for range 21 {
			time.Sleep(5 * time.Minute)
			var wg sync.WaitGroup
			for i := range offenders {
				wg.Go(func() {
					offender(i)
					waits[i] = offender(i)
				})
			}
			wg.Wait()
		}
		var locked []int
		for i, wait := range waits {
			if wait > 20*time.Second { // longer than the flood takes
				locked = append(locked, i)
			}
		}
		if len(locked) < 30 {
			t.Fatalf("only %d of %d are locked", len(locked), offenders)
		}
		var wg sync.WaitGroup
		for i := range 5000 {
			wg.Go(func() { s.try(fmt.Sprintf("10.1.%d.%d", i>>8, i&255), fmt.Sprint("u", i), "bad") })
		}
		wg.Wait()
		for _, i := range locked {
			if offender(i) == 0 {
				t.Errorf("offender %d was forgotten", i)
			}
		}
	})
}

// TestLockoutCountsOnlyGuesses: failures, stale credentials and what was not
// judged do not count, and give back the wait.
func TestLockoutCountsOnlyGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for range 100 {
			s.expect("192.0.2.1", "ann", "down", "failure")
			s.expect("192.0.2.1", "ann", "old", "stale")
		}
		for range 6 {
			s.expect("192.0.2.1", "ann", "bad", "refused")
		}
		time.Sleep(time.Second)
		for range 10 {
			s.expect("192.0.2.1", "ann", "down", "failure")
		}
		s.expect("192.0.2.1", "ann", "good", "in")
	})
}

// TestLockoutForgets: in an hour all of a tolerance is forgiven.
func TestLockoutForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for range 5 {
			for range 5 {
				s.expect("192.0.2.1", "ann", "bad", "refused")
			}
			time.Sleep(time.Hour)
		}
		s.expect("192.0.2.1", "ann", "good", "in")
	})
}

func TestLockoutEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lockout(t, nothing)
		for i := range 300 {
			s.try(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "ann", "bad")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a := login("ann", "good")
		_, err := s.Source.Authenticate(ctx, a)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestLockoutConfig(t *testing.T) {
	for i, change := range []func(*auth.LockoutConfig){
		func(c *auth.LockoutConfig) { c.Failures = 0 }, func(c *auth.LockoutConfig) { c.AddressFailures = 0 },
		func(c *auth.LockoutConfig) { c.Failures = 1001 }, func(c *auth.LockoutConfig) { c.AddressFailures = 1001 },
		func(c *auth.LockoutConfig) { c.MaxWait = 0 }, func(c *auth.LockoutConfig) { c.MaxWait = 2 * time.Hour },
		func(c *auth.LockoutConfig) { c.Entries = 0 },
	} {
		c := auth.DefaultLockoutConfig()
		change(&c)
		if _, err := auth.NewLockout(c); err == nil {
			t.Errorf("case %d: accepted", i)
		}
	}
}
