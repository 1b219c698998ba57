package memory

import (
	"runtime"
	"sync/atomic"
)

// OnCollection has f called soon after each collection of garbage, until stop is
// called: what is alive of the heap is known anew then, and only then. f runs on a
// goroutine of the Go runtime and must not wait for anything. A call may still come
// while stop returns.
func OnCollection(f func()) (stop func()) {
	c := &collections{f: f}
	c.await()
	return func() { c.over.Store(true) }
}

type collections struct {
	f    func()
	over atomic.Bool
}

// await leaves something behind for the next collection to find.
func (c *collections) await() {
	runtime.AddCleanup(new(trace), (*collections).collected, c)
}

// trace has a pointer, so that it has a place of its own in the heap.
type trace struct{ _ *trace }

func (c *collections) collected() {
	if !c.over.Load() {
		c.await() // first: the next collection may begin at once
		c.f()
	}
}
