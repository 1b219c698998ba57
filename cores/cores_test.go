package cores

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// rig is a process whose load the test says.
type rig struct {
	*Keeper
	rest  *rest.Rest
	spent time.Duration
	moves []string
}

func begin(t *testing.T) *rig {
	r := &rig{rest: rest.New()}
	r.Keeper = keep(r.rest, func() time.Duration { return r.spent },
		func() { r.moves = append(r.moves, "one") }, func() { r.moves = append(r.moves, "all") })
	t.Cleanup(r.End)
	return r
}

// pass lets time pass in which share of a processor is used, by something that
// stirs.
func (r *rig) pass(d time.Duration, share float64) {
	for step := 20 * time.Millisecond; d > 0; d -= step {
		r.rest.Stir()
		time.Sleep(step)
		r.mu.Lock()
		r.spent += time.Duration(float64(step) * share)
		r.mu.Unlock()
	}
	synctest.Wait()
}

func (r *rig) expect(t *testing.T, moves ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.moves, moves) {
		t.Errorf("moves: %q, want %q", r.moves, moves)
	}
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t)
		r.pass(quietFor, 0.1)
		r.expect(t) // not yet
		r.pass(3*look, 0.1)
		r.expect(t, "one")
		r.pass(10*time.Second, 0.5) // more than quiet, but one is enough
		r.expect(t, "one")
		r.pass(2*look, 0.9) // a burst has all within a look
		r.expect(t, "one", "all")
		r.pass(10*time.Second, 0.5) // less, but not so little that it would stay
		r.expect(t, "one", "all")
		for range 5 { // never quiet for long enough
			r.pass(quietFor*3/4, 0.1)
			r.pass(3*look, 0.5)
		}
		r.expect(t, "one", "all")
		r.pass(quietFor+3*look, 0.1)
		r.expect(t, "one", "all", "one")
		r.End()
		r.expect(t, "one", "all", "one", "all")
	})
}

// One that comes to rest gets to one processor, and then sleeps.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t)
		time.Sleep(quietFor + 3*unhurried)
		synctest.Wait()
		r.expect(t, "one")
		wakes := r.rest.Wakes()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := r.rest.Wakes() - wakes; n > 1 {
			t.Errorf("woken %d times in an hour of rest", n)
		}
	})
}

func TestCompute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t)
		r.pass(quietFor+3*look, 0)
		r.expect(t, "one")
		r.Compute(func() {
			r.expect(t, "one", "all") // at once
			r.pass(10*time.Second, 0.1)
			r.expect(t, "one", "all") // as long as it lasts
		})
		r.pass(quietFor+3*look, 0)
		r.expect(t, "one", "all", "one")
		func() {
			defer func() { _ = recover() }()
			r.Compute(func() { panic("hash") })
		}()
		r.pass(quietFor+3*look, 0)
		r.expect(t, "one", "all", "one", "all", "one") // who panics computes no more
	})
	called := false
	(*Keeper)(nil).Compute(func() { called = true })
	(*Keeper)(nil).End()
	if !called {
		t.Error("without a keeper nothing was computed")
	}
}

// TestKeep runs a process of its own, since it changes what is the process's.
func TestKeep(t *testing.T) {
	if os.Getenv("CORES_TEST") != "" {
		k := Keep(rest.New())
		if k == nil {
			os.Stdout.WriteString("nothing decides\n")
			return
		}
		before := runtime.NumCPU()
		later := time.Now().Add(time.Hour) // in which it has used next to nothing
		k.look(later)
		k.look(later.Add(time.Hour))
		narrow := runtime.GOMAXPROCS(0)
		k.Compute(func() {})
		if wide := runtime.GOMAXPROCS(0); narrow == 1 && wide > 1 && wide <= before {
			os.Stdout.WriteString("one and all\n")
		}
		k.End()
		return
	}
	for _, tc := range []struct{ env, want string }{{"GOMAXPROCS=2", "nothing decides"}, {"GOMAXPROCS=", "one and all"}} {
		if runtime.NumCPU() < 2 {
			t.Skip("needs two processors")
		}
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKeep$")
		cmd.Env = append(os.Environ(), "CORES_TEST=1", tc.env)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v: %s; want %q", tc.env, err, out, tc.want)
		}
	}
}
