package bridge

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Backoff is how long to wait between attempts to connect: twice as long after
// each that failed, from Min to Max, a random part of up to a quarter less, so
// that a fleet does not come back all at once. A connection counts as failed
// unless it has lasted for Stable.
type Backoff struct{ Min, Max, Stable time.Duration }

// DefaultBackoff suits a line that comes and goes.
func DefaultBackoff() Backoff {
	return Backoff{Min: time.Second, Max: 2 * time.Minute, Stable: 30 * time.Second}
}

// pacer applies a Backoff.
type pacer struct {
	Backoff
	mu    sync.Mutex
	fails int
	upAt  time.Time // zero while not connected

	met     bool          // the last attempt has got through
	hurried bool          // somebody else has got through meanwhile
	soon    chan struct{} // closed when the next attempt is due at once; nil: nobody waits who may be hurried
}

// next is how long to wait before the next attempt, which it counts.
func (p *pacer) next() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.fails
	p.fails++
	if n == 0 {
		return 0
	}
	d := p.Max
	if shift := n - 1; shift < 30 && p.Min<<shift > 0 && p.Min<<shift < p.Max {
		d = p.Min << shift
	}
	return d - rand.N(d/4+1)
}

// reset makes the next attempt at once.
func (p *pacer) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails, p.upAt = 0, time.Time{}
}

// ease makes the next attempt soon, as after a connection that was stable.
func (p *pacer) ease() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = 1
}

func (p *pacer) up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upAt, p.met = time.Now(), true
}

// down ends a connection, which makes the next attempt soon if it was stable.
func (p *pacer) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.upAt.IsZero() && time.Since(p.upAt) >= p.Stable {
		p.fails = 1
	}
	p.upAt = time.Time{}
}
