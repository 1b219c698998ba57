// Package cores keeps a program to one processor as long as one does its work. With
// more, Go's scheduler wakes a second thread for what the first would have come
// to in a few microseconds, and the waking costs more than a message: at some
// thousand messages a second, where gateways live, a tenth to a fifth of the
// broker's processor time. Under load all processors are wanted, and whatever
// computes for long must not stand in the way of messages.
package cores

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

const (
	// look is how often the load is looked at while something stirs, and so the time
	// for which a burst may have to do with one processor.
	look = 200 * time.Millisecond
	// unhurried is how often while nothing does, until there is one processor again.
	unhurried = time.Second
	// crowded is the share of one processor from which one is not enough.
	crowded = 0.6
	// quiet is the share of one processor below which one is enough.
	quiet = 0.35
	// quietFor is how long that must have been so.
	quietFor = 2 * time.Second
)

// Keeper decides how many processors the Go scheduler uses: one, or as many as
// it would by itself. The zero value, and nil, decide nothing. Its methods may be
// called from any goroutine.
type Keeper struct {
	spent  func() time.Duration // processor time of the process
	narrow func()
	widen  func()
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	one    bool       // there is one processor
	busy   int        // of those that compute
	kept   bool       // it decides
	at     time.Time  // of the last look
	used   time.Duration
	before time.Time // since when it has been quiet; zero: it is not
}

// Keep starts to decide for this process, if there is something to decide: not on
// one processor, nor if the environment names a number, GOMAXPROCS. r says when
// something stirs. End it with [Keeper.End].
func Keep(r *rest.Rest) *Keeper {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) < 2 {
		return nil
	}
	return keep(r, processTime, func() { runtime.GOMAXPROCS(1) }, runtime.SetDefaultGOMAXPROCS)
}

func keep(r *rest.Rest, spent func() time.Duration, narrow, widen func()) *Keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{spent: spent, narrow: narrow, widen: widen, cancel: cancel, done: make(chan struct{}),
		kept: true, at: time.Now(), used: spent()}
	go k.watch(ctx, r.Job(look))
	return k
}

// End gives the program all processors for good.
func (k *Keeper) End() {
	if k == nil {
		return
	}
	k.cancel()
	<-k.done
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = false
	k.setLocked(false)
}

func (k *Keeper) watch(ctx context.Context, j *rest.Job) {
	defer close(k.done)
	defer j.End()
	calm := unhurried
	for j.Next(ctx, calm) {
		calm = 0
		if !k.look(time.Now()) {
			calm = unhurried
		}
	}
}

// look compares what has been used with the time that has passed. It reports
// whether there is one processor now.
func (k *Keeper) look(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	used := k.spent()
	passed := now.Sub(k.at)
	if passed < look/4 { // two turns that came together say nothing
		return k.one
	}
	share := float64(used-k.used) / float64(passed)
	k.at, k.used = now, used
	switch {
	case share > crowded:
		k.before = time.Time{}
		k.setLocked(false)
	case share > quiet || k.busy > 0:
		k.before = time.Time{}
	case k.before.IsZero():
		k.before = now
	case now.Sub(k.before) >= quietFor:
		k.setLocked(true)
	}
	return k.one
}

func (k *Keeper) setLocked(one bool) {
	if one == k.one || one && !k.kept {
		return
	}
	if k.one = one; one {
		k.narrow()
	} else {
		k.widen()
	}
}

// Compute has work done that computes for more than some milliseconds, such as
// a hash of a password, on a processor beside that of messages.
func (k *Keeper) Compute(work func()) {
	if k == nil || k.spent == nil {
		work()
		return
	}
	k.mu.Lock()
	k.busy++
	k.before = time.Time{}
	k.setLocked(false)
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.busy--
		k.mu.Unlock()
	}()
	work()
}
