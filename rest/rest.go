// Package rest lets a process that has nothing to do sleep. Its parts share one
// notion of rest: whoever brings work calls Stir, which costs one atomic load while
// the process is awake, and whatever is to be done again and again is a Job, which
// asks when it is next due. Once nothing has stirred since the last time, a job is
// due when it wishes, or not at all, until something stirs: then every job is due
// within its own pace.
//
// Jobs are due at multiples of their paces since one moment, so that they wake the
// processor together, and one timer serves all of them.
package rest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Rest is what the jobs of a process have in common. Its methods may be called
// from any goroutine; Stir also of a nil Rest, where it does nothing.
type Rest struct {
	awake atomic.Bool // something has stirred since the timer fired: each job is due within its pace
	wakes atomic.Uint64
	base  time.Time

	mu    sync.Mutex // guards everything that follows, and the due of every job
	jobs  []*Job
	timer *time.Timer
	next  time.Time // when the timer fires; zero: not
}

// alignment is what the moment from which multiples are counted is one of, by the
// clock at that time.
const alignment = time.Minute

// New returns a Rest without jobs, which starts nothing.
func New() *Rest {
	now := time.Now()
	return &Rest{base: now.Add(-time.Duration(now.UnixNano() % int64(alignment)))}
}

// Stir says that there is work, or will be in a moment: every job has a turn within
// its pace. Since it is called before the work, a turn may come too early to see what
// that does: each job has one, within its pace, after the next wake-up of any, too.
func (r *Rest) Stir() {
	if r != nil && !r.awake.Load() {
		r.rouse()
	}
}

func (r *Rest) rouse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.awake.Load() {
		return
	}
	now := time.Now()
	for _, j := range r.jobs {
		r.stirLocked(j, now)
	}
	r.setLocked(now)
	r.awake.Store(true)
}

// Base is the moment since which multiples are counted. It carries the monotonic
// clock.
func (r *Rest) Base() time.Time { return r.base }

// Until is how long it is from now to the next multiple of every.
func (r *Rest) Until(every time.Duration) time.Duration {
	now := time.Now()
	return r.multiple(now, every).Sub(now)
}

// multiple is the first one after now.
func (r *Rest) multiple(now time.Time, every time.Duration) time.Time {
	return now.Add(every - now.Sub(r.base)%every)
}

// Wakes is how often jobs have been woken, those that were due together as one.
func (r *Rest) Wakes() uint64 { return r.wakes.Load() }

// fire wakes the jobs that are due.
func (r *Rest) fire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.next = time.Time{}
	again := r.awake.Swap(false)
	woken := false
	for _, j := range r.jobs {
		if !j.due.IsZero() && !j.due.After(now) {
			j.due, woken = time.Time{}, true
			select {
			case j.turn <- struct{}{}:
			default: // it has not begun with the last one
			}
		}
		if again {
			r.stirLocked(j, now)
		}
	}
	if woken {
		r.wakes.Add(1)
	}
	r.setLocked(now)
}

// stirLocked makes j due within its pace.
func (r *Rest) stirLocked(j *Job, now time.Time) {
	if j.pace > 0 {
		j.dueLocked(r.multiple(now, j.pace))
	}
}

// setLocked sets the timer for the job that is due first.
func (r *Rest) setLocked(now time.Time) {
	var first time.Time
	for _, j := range r.jobs {
		if !j.due.IsZero() && (first.IsZero() || j.due.Before(first)) {
			first = j.due
		}
	}
	switch {
	case first.Equal(r.next):
		return
	case first.IsZero():
		r.timer.Stop()
	case r.timer == nil:
		r.timer = time.AfterFunc(first.Sub(now), r.fire)
	default:
		r.timer.Reset(first.Sub(now))
	}
	r.next = first
}

// Job is something to be done again and again, by one goroutine: it waits for its
// turn by Next, or by Within and Turn. The other methods may be called from any.
type Job struct {
	rest *Rest
	pace time.Duration
	turn chan struct{} // holds one
	due  time.Time     // zero: it is not
}

// Job adds a job, which is due for the first time within pace, and within it again
// whenever something stirs. With a pace of 0 nothing stirs it. End it when it is
// over.
func (r *Rest) Job(pace time.Duration) *Job {
	j := &Job{rest: r, pace: pace, turn: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, j)
	now := time.Now()
	r.stirLocked(j, now)
	r.setLocked(now)
	return j
}

// Pace makes span the job's pace from its next turn on.
func (j *Job) Pace(span time.Duration) {
	j.rest.mu.Lock()
	defer j.rest.mu.Unlock()
	j.pace = span
}

// End takes the job out. It has no turn any more.
func (j *Job) End() {
	r := j.rest
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.jobs, j); i >= 0 {
		r.jobs = slices.Delete(r.jobs, i, i+1)
		j.due = time.Time{}
		r.setLocked(time.Now())
	}
}

// Next waits for the job's turn, which comes by the next multiple of calm if
// nothing stirs before, with a calm of 0 only then. It returns false when ctx has
// ended.
func (j *Job) Next(ctx context.Context, calm time.Duration) bool {
	if calm > 0 {
		j.Within(calm)
	}
	select {
	case <-ctx.Done():
		return false
	case <-j.turn:
		return ctx.Err() == nil
	}
}

// Turn receives when it is the job's turn. Turns that are not taken are one.
func (j *Job) Turn() <-chan struct{} { return j.turn }

// Within makes the job due at the next multiple of span, if it is not sooner.
func (j *Job) Within(span time.Duration) {
	now := time.Now()
	j.by(now, j.rest.multiple(now, span))
}

// At makes the job due at t, if it is not sooner.
func (j *Job) At(t time.Time) { j.by(time.Now(), t) }

func (j *Job) by(now, t time.Time) {
	r := j.rest
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.jobs, j) && j.dueLocked(t) {
		r.setLocked(now)
	}
}

// Brisk reports whether the job is due within its pace.
func (j *Job) Brisk() bool {
	j.rest.mu.Lock()
	defer j.rest.mu.Unlock()
	return !j.due.IsZero() && time.Until(j.due) <= j.pace
}

// dueLocked makes it due at t, and reports whether that is sooner than before.
func (j *Job) dueLocked(t time.Time) bool {
	if !j.due.IsZero() && !t.Before(j.due) {
		return false
	}
	j.due = t
	return true
}
