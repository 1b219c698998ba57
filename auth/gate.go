package auth

import (
	"context"
	"net/netip"
	"sync"
)

// Load is what a bounded number of workers are doing and have done.
type Load struct {
	Running, Waiting int    // now
	Peak             int    // the most that ran at once
	Done, Busy       uint64 // ended; turned away with ErrBusy
}

// gate lets a bounded number through at once and a bounded number wait, first
// come, first served. Half of the waiting places are for one network at most.
type gate struct {
	places int
	slots  chan struct{} // holds a token for each that is through

	mu      sync.Mutex
	waiting map[netip.Prefix]int // by network; only those above 0
	stats   Load
}

func newGate(parallel, waiting int) *gate {
	return &gate{places: waiting, slots: make(chan struct{}, parallel), waiting: map[netip.Prefix]int{}}
}

func (g *gate) load() Load {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// enter returns nil when the caller holds a slot.
func (g *gate) enter(ctx context.Context, from netip.Prefix) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if g.stats.Waiting == 0 {
		select {
		case g.slots <- struct{}{}:
			g.startLocked()
			g.mu.Unlock()
			return nil
		default:
		}
	}
	share := g.places
	if from.IsValid() {
		share = max(1, share/2)
	}
	if g.stats.Waiting >= g.places || g.waiting[from] >= share {
		g.stats.Busy++
		g.mu.Unlock()
		return ErrBusy
	}
	g.stats.Waiting++
	g.waiting[from]++
	g.mu.Unlock()

	var err error
	select {
	case g.slots <- struct{}{}: // first come, first served
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Waiting--
	if g.waiting[from]--; g.waiting[from] == 0 {
		delete(g.waiting, from)
	}
	if err == nil {
		g.startLocked()
	}
	return err
}

func (g *gate) startLocked() {
	g.stats.Running++
	g.stats.Peak = max(g.stats.Peak, g.stats.Running)
}

func (g *gate) leave() {
	g.mu.Lock()
	g.stats.Running--
	g.stats.Done++
	g.mu.Unlock()
	<-g.slots
}
