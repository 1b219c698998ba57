package memory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// Level says how much of the budget is used, and so what is to be given up.
type Level int32

// The levels, each of which includes those before it.
const (
	Calm     Level = iota
	Guarded        // strangers stay outside
	Shedding       // what nobody was promised is dropped for those who do not keep up
	Severe         // nothing more is taken on that has to be kept
)

var levelWords = [...]string{"calm", "guarded", "shedding", "severe"}

func (l Level) String() string {
	if l < 0 || int(l) >= len(levelWords) {
		return "unknown"
	}
	return levelWords[l]
}

// Where a level begins, and below which it ends, in percent of the budget. It
// ends only when use has stayed below for calmDown, so that levels do not flap.
var (
	beginsAt  = [...]int64{Guarded: 80, Shedding: 88, Severe: 94}
	endsBelow = [...]int64{Guarded: 72, Shedding: 80, Severe: 86}
)

const (
	watchInterval = 200 * time.Millisecond
	easyInterval  = time.Second // while use is far from any level and does not grow
	calmInterval  = time.Minute // at rest
	calmDown      = time.Second

	growth     = 64               // a growth by this part of the budget from look to look
	growthTime = 10 * time.Second // is watched for so long
)

// Watcher compares use with a budget. Its methods may be called from any
// goroutine.
type Watcher struct {
	budget  int64
	used    func() int64
	changed func(from, to Level, used int64)

	level  atomic.Int32
	last   atomic.Int64
	most   atomic.Int64
	rises  [Severe + 1]atomic.Uint64
	job    atomic.Pointer[rest.Job] // of Run; nil before it
	mu     sync.Mutex               // guards everything that follows
	lowest Level                    // that the samples since below have allowed
	below  time.Time                // since when they would allow a lower level; zero if they do not
}

// NewWatcher watches used, in bytes, against budget, once Run is called.
// changed is told of each change of the level, by the goroutine of Run.
func NewWatcher(budget int64, used func() int64, changed func(from, to Level, used int64)) *Watcher {
	return &Watcher{budget: budget, used: used, changed: changed}
}

// Run looks at the use until ctx ends: five times a second while it is near to a level or above
// it, and while it grows much; at rest else once a minute, and when Soon says so. While
// something stirs it looks five times a second, too, or once if use is below half of where
// the levels end.
func (w *Watcher) Run(ctx context.Context, r *rest.Rest) {
	job := r.Job(watchInterval)
	defer job.End()
	w.job.Store(job)
	var before int64
	var grown time.Time
	for {
		w.Look()
		used, calm := w.Used(), calmInterval
		if used-before >= w.budget/growth {
			grown = time.Now()
		}
		before = used
		if w.Level() > Calm || used >= w.budget/100*endsBelow[Guarded] || time.Since(grown) < growthTime {
			calm = watchInterval
		}
		pace := watchInterval
		if calm == calmInterval && used < w.budget/200*endsBelow[Guarded] {
			pace = easyInterval
		}
		job.Pace(pace)
		if !job.Next(ctx, calm) {
			return
		}
	}
}

// Soon has Run look within a fifth of a second, also at rest.
func (w *Watcher) Soon() {
	if job := w.job.Load(); job != nil {
		job.Within(watchInterval)
	}
}

// Look is one look at the use.
func (w *Watcher) Look() {
	w.mu.Lock()
	used := w.used()
	w.last.Store(used)
	if used > w.most.Load() {
		w.most.Store(used)
	}
	from := w.Level()
	to := w.judgeLocked(from, used)
	w.level.Store(int32(to))
	for l := from + 1; l <= to; l++ {
		w.rises[l].Add(1)
	}
	w.mu.Unlock()
	if to != from && w.changed != nil {
		w.changed(from, to, used)
	}
}

func (w *Watcher) judgeLocked(from Level, used int64) Level {
	to := from
	for l := from + 1; l <= Severe && used >= w.budget/100*beginsAt[l]; l++ {
		to = l
	}
	if to > from {
		w.below = time.Time{}
		return to
	}
	for to > Calm && used < w.budget/100*endsBelow[to] {
		to--
	}
	now := time.Now()
	switch {
	case to == from:
		w.below = time.Time{}
	case w.below.IsZero():
		w.below, w.lowest = now, to
	default:
		w.lowest = max(w.lowest, to)
		if now.Sub(w.below) >= calmDown {
			w.below = time.Time{}
			return w.lowest
		}
	}
	return from
}

// Level is the level now.
func (w *Watcher) Level() Level { return Level(w.level.Load()) }

// Used is what was used at the last look, Most the most at any.
func (w *Watcher) Used() int64 { return w.last.Load() }

// Most is the most that was used at any look.
func (w *Watcher) Most() int64 { return w.most.Load() }

// Budget is what use is compared with.
func (w *Watcher) Budget() int64 { return w.budget }

// Begun is how often a level has begun.
func (w *Watcher) Begun(l Level) uint64 { return w.rises[l].Load() }
