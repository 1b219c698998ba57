package rest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/rest"
)

// diary is a job that notes its turns.
type diary struct {
	job  *rest.Job
	pace time.Duration
	mu   sync.Mutex
	at   []time.Time
}

// keep runs the job, with calm, until ctx ends.
func (d *diary) keep(ctx context.Context, calm time.Duration) {
	for d.job.Next(ctx, calm) {
		d.mu.Lock()
		d.at = append(d.at, time.Now())
		d.mu.Unlock()
	}
}

func (d *diary) turns() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Time(nil), d.at...)
}

// between counts the turns after from, up to and including to.
func between(turns []time.Time, from, to time.Time) (n int) {
	for _, at := range turns {
		if at.After(from) && !at.After(to) {
			n++
		}
	}
	return n
}

// firstAfter is the first of all instants after at.
func firstAfter(all map[time.Time]bool, at time.Time) (first time.Time) {
	for i := range all {
		if i.After(at) && (first.IsZero() || i.Before(first)) {
			first = i
		}
	}
	return first
}

// TestStir holds what a Rest promises against whatever order of stirs and pauses:
// after each stir a turn of every job within its pace, and one after the wake-up
// that follows on the stir; with nothing that stirs, no turns but those of calm; and
// all of them at common instants.
func TestStir(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms := rapid.Custom(func(rt *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(1, 4000).Draw(rt, "ms")) * time.Millisecond
		})
		pauses := rapid.SliceOfN(rapid.OneOf(ms, rapid.Map(ms, func(d time.Duration) time.Duration { return 20 * d })), 1, 40).Draw(rt, "pauses")
		paces := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}), 1, 4).Draw(rt, "paces")
		calm := rapid.SampledFrom([]time.Duration{0, 10 * time.Second, time.Minute}).Draw(rt, "calm")
		var wrong error
		synctest.Test(t, func(*testing.T) { wrong = live(pauses, paces, calm) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// live stirs after each pause and says what was not as promised.
func live(pauses, paces []time.Duration, calm time.Duration) error {
	r := rest.New()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var jobs []*diary
	for _, pace := range paces {
		d := &diary{job: r.Job(pace), pace: pace}
		jobs = append(jobs, d)
		all.Go(func() { d.keep(ctx, calm) })
	}
	began := time.Now()
	var stirs []time.Time
	for _, pause := range pauses {
		time.Sleep(pause)
		synctest.Wait()
		stirs = append(stirs, time.Now())
		r.Stir()
	}
	last := time.Now()
	time.Sleep(time.Hour)
	cancel()
	all.Wait()
	instants := map[time.Time]bool{}
	for _, d := range jobs {
		for _, at := range d.turns() {
			instants[at] = true
		}
	}
	for _, d := range jobs {
		turns := d.turns()
		for i, at := range turns {
			if off := at.Sub(r.Base()) % d.pace; off != 0 && (calm == 0 || at.Sub(r.Base())%calm != 0) {
				return fmt.Errorf("a turn of pace %v is %v beside the multiples", d.pace, off)
			}
			if i > 0 && !at.After(turns[i-1]) {
				return fmt.Errorf("two turns at %v", at.Sub(began))
			}
		}
		for _, at := range stirs {
			if between(turns, at, at.Add(d.pace)) == 0 {
				return fmt.Errorf("no turn of pace %v after the stir at %v; turns: %v", d.pace, at.Sub(began), turns)
			}
			first := firstAfter(instants, at)
			if between(turns, first, first.Add(d.pace)) == 0 {
				return fmt.Errorf("no turn of pace %v after the first wake-up after the stir at %v", d.pace, at.Sub(began))
			}
		}
		// At rest: what calm asks for, and that at most.
		quiet := last.Add(2*d.pace + 10*time.Second) // the slowest of the others has had its turns
		got, most := between(turns, quiet, last.Add(time.Hour)), 0
		if calm > 0 {
			most = int(time.Hour/calm) + 1
		}
		if got > most {
			return fmt.Errorf("%d turns of pace %v in an hour of rest, want at most %d", got, d.pace, most)
		}
		if calm > 0 && got < most-3 {
			return fmt.Errorf("%d turns of pace %v in an hour of rest, calm is %v", got, d.pace, calm)
		}
	}
	if got := r.Wakes(); got != uint64(len(instants)) {
		return fmt.Errorf("%d wake-ups, but turns at %d instants", got, len(instants))
	}
	return nil
}

// TestLateEffect stirs just before a turn, and lets the effect come after it: one
// more turn sees it.
func TestLateEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rest.New()
		d := &diary{job: r.Job(time.Second)}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() { d.keep(ctx, 0) })
		time.Sleep(time.Minute)
		for range 3 {
			time.Sleep(r.Until(time.Second) - time.Microsecond)
			r.Stir()
			time.Sleep(2 * time.Microsecond)
			effect := time.Now()
			time.Sleep(time.Minute)
			if n := between(d.turns(), effect, effect.Add(time.Second)); n != 1 {
				t.Errorf("%d turns in the second after the effect, want 1", n)
			}
		}
		cancel()
		all.Wait()
	})
}

func TestAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rest.New()
		d := &diary{job: r.Job(time.Second)}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() { d.keep(ctx, 0) })
		time.Sleep(10 * time.Second)
		before := len(d.turns())
		soon, later := time.Now().Add(1234*time.Millisecond), time.Now().Add(time.Hour)
		d.job.At(later)
		d.job.At(soon)
		d.job.At(later) // it is sooner already
		time.Sleep(30 * time.Minute)
		if got := d.turns()[before:]; len(got) != 1 || !got[0].Equal(soon) {
			t.Errorf("turns at %v, want %v", got, soon)
		}
		d.job.Within(7 * time.Second)
		if d.job.Brisk() {
			t.Error("due in 7 s, and called brisk")
		}
		r.Stir()
		if !d.job.Brisk() {
			t.Error("stirred, and not brisk")
		}
		d.job.End()
		d.job.End()
		d.job.At(soon)
		r.Stir()
		before, wakes := len(d.turns()), r.Wakes()
		time.Sleep(time.Hour)
		if got := len(d.turns()) - before; got != 0 || r.Wakes() != wakes {
			t.Errorf("%d turns and %d wake-ups after the end", got, r.Wakes()-wakes)
		}
		cancel()
		all.Wait()
	})
}

// TestUnstirred: a job without a pace has the turns that it asks for.
func TestUnstirred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rest.New()
		j := r.Job(0)
		r.Stir()
		time.Sleep(time.Hour)
		select {
		case <-j.Turn():
			t.Error("a turn that nobody asked for")
		default:
		}
		j.Within(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case <-j.Turn():
		default:
			t.Error("no turn within the second")
		}
	})
}

func TestNilStirs(t *testing.T) {
	var r *rest.Rest
	r.Stir()
}

func TestStirAllocates(t *testing.T) {
	r := rest.New()
	for range 20 {
		r.Job(time.Hour)
	}
	r.Stir()
	if n := testing.AllocsPerRun(100, r.Stir); n != 0 {
		t.Errorf("%v allocations per Stir", n)
	}
}

func BenchmarkStir(b *testing.B) {
	r := rest.New()
	r.Job(time.Hour)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Stir()
		}
	})
}
