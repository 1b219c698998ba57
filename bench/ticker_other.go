//go:build !linux

package bench

import (
	"os"
	"sync"
	"time"
)

// ticker is a periodic clock that counts ticks nobody waited for.
type ticker struct {
	next     time.Time
	interval time.Duration
	closed   chan struct{}
	close    func()
}

// newTicker ticks at start and every interval after it, without drift.
func newTicker(start time.Time, interval time.Duration) (*ticker, error) {
	t := &ticker{next: start, interval: interval, closed: make(chan struct{})}
	t.close = sync.OnceFunc(func() { close(t.closed) })
	return t, nil
}

// wait returns how many ticks have passed since the last wait, at least one.
// It fails after close.
func (t *ticker) wait() (uint64, error) {
	timer := time.NewTimer(time.Until(t.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.closed:
		return 0, os.ErrClosed
	}
	n := 1 + max(time.Since(t.next), 0)/t.interval
	t.next = t.next.Add(n * t.interval)
	return uint64(n), nil
}
