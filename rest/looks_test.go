package rest_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// tree is files that somebody looks at, and the kernel that tells of them.
type tree struct {
	mu       sync.Mutex
	hint     func()
	files    []string
	vouches  bool
	unsettle int // looks to come that see something new
	attended int
	ended    int
	at       []time.Time
	wrong    string
}

func (f *tree) Watch(hint func()) (attend func([]string) bool, end func()) {
	f.change(func() { f.hint = hint })
	return func(paths []string) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(paths) != len(f.files) {
				f.wrong = "attended to other files than are looked at"
			}
			f.attended++
			return f.vouches
		}, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.ended++
		}
}

func (f *tree) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files
}

func (f *tree) look() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = append(f.at, time.Now())
	if f.attended != 1+len(f.at) { // once at the beginning
		f.wrong = "looked without attending first"
	}
	if f.unsettle == 0 {
		return true
	}
	f.unsettle--
	return false
}

// change sets what there is.
func (f *tree) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// tell is what the kernel does.
func (f *tree) tell() {
	f.mu.Lock()
	hint := f.hint
	f.mu.Unlock()
	hint()
}

// looks are how many there are while d passes.
func (f *tree) looks(d time.Duration) int {
	from := time.Now()
	time.Sleep(d)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return between(f.at, from, from.Add(d))
}

const lookPace = 5 * time.Second

// lookCases are what may be known of files, and how often they are looked at then.
// Each runs in a bubble, when the first minute has passed.
func lookCases() map[string]func(t *testing.T, r *rest.Rest, f *tree) {
	const pace = lookPace
	return map[string]func(t *testing.T, r *rest.Rest, f *tree){
		"vouched for, once a minute": func(t *testing.T, r *rest.Rest, f *tree) {
			wakes := r.Wakes()
			if n := f.looks(time.Hour); n != 60 {
				t.Errorf("%d looks in an hour", n)
			}
			if n := r.Wakes() - wakes; n != 60 {
				t.Errorf("%d wake-ups in an hour", n)
			}
		},
		"with what else is done once a minute": func(t *testing.T, r *rest.Rest, f *tree) {
			other := &diary{job: r.Job(200 * time.Millisecond)}
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { other.keep(ctx, time.Minute) })
			time.Sleep(time.Minute)
			wakes := r.Wakes()
			f.looks(time.Hour)
			if n := r.Wakes() - wakes; n > 61 {
				t.Errorf("%d wake-ups in an hour", n)
			}
			cancel()
			all.Wait()
		},
		"not vouched for": func(t *testing.T, _ *rest.Rest, f *tree) {
			f.change(func() { f.vouches = false })
			time.Sleep(time.Minute)
			if n := f.looks(time.Hour); n != 720 {
				t.Errorf("%d looks in an hour", n)
			}
			f.change(func() { f.vouches = true })
			time.Sleep(pace)
			if n := f.looks(time.Hour); n != 60 {
				t.Errorf("%d looks in an hour when there is a vouch again", n)
			}
		},
		"no files": func(t *testing.T, r *rest.Rest, f *tree) {
			f.change(func() { f.files = nil })
			time.Sleep(time.Minute)
			if n := f.looks(time.Hour); n != 0 {
				t.Errorf("%d looks at nothing", n)
			}
			f.change(func() { f.files = []string{"b"} })
			r.Stir()
			if n := f.looks(pace); n != 1 {
				t.Errorf("%d looks within %v of a stir", n, pace)
			}
		},
		"a hint": func(t *testing.T, _ *rest.Rest, f *tree) {
			for _, news := range []int{0, 1, 4} {
				f.change(func() { f.unsettle = news })
				f.tell()
				f.tell()
				if n := f.looks(pace); n != 1 {
					t.Errorf("%d looks within %v of a hint, want 1", n, pace)
				}
				if n := f.looks(time.Duration(news) * pace); n != news {
					t.Errorf("%d looks until %d that see something new have passed", n, news)
				}
				if n := f.looks(time.Hour); n != 60 {
					t.Errorf("%d looks in the hour after it has settled", n)
				}
			}
		},
		"hints all the time": func(t *testing.T, _ *rest.Rest, f *tree) {
			from := time.Now()
			for time.Since(from) < time.Minute {
				time.Sleep(time.Second / 10)
				f.tell()
			}
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := between(f.at, from, time.Now()); n > 13 {
				t.Errorf("%d looks in a minute", n)
			}
		},
		"something stirs all the time": func(t *testing.T, r *rest.Rest, f *tree) {
			from := time.Now()
			for time.Since(from) < time.Minute {
				time.Sleep(time.Second / 10)
				r.Stir()
			}
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := between(f.at, from, time.Now()); n != 12 {
				t.Errorf("%d looks in a minute", n)
			}
		},
	}
}

// TestLook holds how often files are looked at against what is known of them.
func TestLook(t *testing.T) {
	for name := range lookCases() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rest.New()
				f := &tree{vouches: true, files: []string{"a"}, unsettle: 1}
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() { r.Look(ctx, rest.Looks{Pace: lookPace, Paths: f.paths, Look: f.look, Hints: f}) })
				time.Sleep(time.Minute + time.Second)
				lookCases()[name](t, r, f)
				cancel()
				all.Wait()
				if f.wrong != "" {
					t.Error(f.wrong)
				}
				if f.ended != 1 {
					t.Errorf("the watch was ended %d times", f.ended)
				}
			})
		})
	}
}

// TestLookAlone: without anybody who tells, files are looked at at the pace.
func TestLookAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		var all sync.WaitGroup
		all.Go(func() {
			rest.New().Look(ctx, rest.Looks{
				Pace: 5 * time.Second, Paths: func() []string { return []string{"a"} }, Look: func() bool { looks++; return true },
			})
		})
		time.Sleep(time.Hour + time.Second)
		cancel()
		all.Wait()
		if looks < 720 {
			t.Errorf("%d looks in an hour", looks)
		}
	})
}
