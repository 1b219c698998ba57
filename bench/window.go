package bench

import (
	"context"
	"sync/atomic"
)

// notWaiting is a wake-up target that nobody reaches.
const notWaiting = ^uint64(0)

// window holds one publisher back until its messages have arrived everywhere
// and, above QoS 0, are acknowledged. Positions count messages from zero: a
// position of n means that all before n have passed.
//
// The publisher goroutine calls await and adds to sent; each position is
// advanced by the one goroutine that owns it.
type window struct {
	sent      atomic.Uint64
	positions []*position // one per subscriber, and one for acks above QoS 0
	target    atomic.Uint64
	wake      chan struct{}
}

// position is how far one receiver has come. Padding keeps positions that
// different goroutines write off each other's cache line.
type position struct {
	n atomic.Uint64
	_ [56]byte
	w *window
}

func newWindow() *window {
	w := &window{wake: make(chan struct{}, 1)}
	w.target.Store(notWaiting)
	return w
}

// newPosition adds a receiver. All are added before the load starts.
func (w *window) newPosition() *position {
	p := &position{w: w}
	w.positions = append(w.positions, p)
	return p
}

// floor is the slowest position.
func (w *window) floor() uint64 {
	low := notWaiting
	for _, p := range w.positions {
		low = min(low, p.n.Load())
	}
	return low
}

// advance moves p to n and wakes the publisher if it waits for that.
func (p *position) advance(n uint64) {
	before := p.n.Load()
	p.n.Store(n)
	// Only the step across the target wakes. A target set after this load was
	// set before the publisher's own look at the floor, which sees n.
	if t := p.w.target.Load(); before < t && n >= t {
		select {
		case p.w.wake <- struct{}{}:
		default:
		}
	}
}

// await returns nil when the floor has reached n, and ctx's cause when ctx
// ends before.
func (w *window) await(ctx context.Context, n uint64) error {
	for w.floor() < n {
		w.target.Store(n)
		if w.floor() >= n {
			break
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			w.target.Store(notWaiting)
			return context.Cause(ctx)
		}
	}
	w.target.Store(notWaiting)
	return nil
}
