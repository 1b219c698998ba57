package rest

import (
	"context"
	"time"
)

// SafetyInterval is how long it is at most from one look at files to the next while
// somebody vouches that it will tell when they change.
const SafetyInterval = time.Minute

// Hinter tells when files may have changed.
type Hinter interface {
	// Watch makes a watch over no files. attend replaces those that it is over, and
	// reports whether it vouches for all of them: that hint is called when something
	// happens to any after attend has returned, by which time the hint before has been
	// dealt with. hint may be called too often, also without a vouch, by any goroutine,
	// and must not call back. end ends the watch; a hint that is under way may still
	// come.
	Watch(hint func()) (attend func(paths []string) (vouched bool), end func())
}

// Looks is a job whose turns are looks at files, to notice that they have changed.
type Looks struct {
	// Pace is from one look to the next while something stirs, while what was seen has
	// not settled, and while nobody vouches for the files; and at most from a hint to
	// the look that it causes.
	Pace time.Duration

	// Paths are the files that the next look is for. If there are none, looks come only
	// when something stirs.
	Paths func() []string

	// Look is one look. It reports whether what it saw is dealt with, so that there
	// need be no other one before something changes.
	Look func() (settled bool)

	// Hints tells when files may have changed; nil: nobody does.
	Hints Hinter
}

// Look looks at files until ctx ends. Paths and Look are called by its goroutine.
func (r *Rest) Look(ctx context.Context, l Looks) {
	job := r.Job(l.Pace)
	defer job.End()
	attend := func([]string) bool { return false }
	if l.Hints != nil {
		var end func()
		attend, end = l.Hints.Watch(func() { job.Within(l.Pace) })
		defer end()
	}
	_ = attend(l.Paths()) // what happens before the first look comes as a hint, too
	for calm := l.Pace; job.Next(ctx, calm); {
		paths := l.Paths()
		vouched := attend(paths) // before the look: what happens in between comes as a hint
		settled := l.Look()
		switch {
		case len(paths) == 0:
			calm = 0 // whatever makes files be looked at stirs
		case vouched && settled:
			calm = max(l.Pace, SafetyInterval)
		default:
			calm = l.Pace
		}
	}
}
