package bridge

import (
	"context"
	"time"
)

// The lanes of an uplink lead to the same far side by the same line: when one gets
// through, the others try at once, unless the far side has let them in the last
// time and it was the connection that failed. So live messages do not wait for the
// end of a pause behind a backlog that is on its way already, and nobody is called
// more often than who gets through.

// wait waits until the next attempt is due, which it counts, and reports whether
// ctx has ended instead.
func (p *pacer) wait(ctx context.Context) (over bool) {
	d := p.next()
	p.mu.Lock()
	var soon chan struct{}
	if !p.met {
		soon = make(chan struct{})
		if p.hurried {
			d = 0
		}
	}
	p.soon, p.met, p.hurried = soon, false, false
	p.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-soon:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.soon = nil
	return ctx.Err() != nil
}

// hurry makes the next attempt due now, if none has got through since the one
// before.
func (p *pacer) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.upAt.IsZero():
	case p.soon != nil:
		close(p.soon)
		p.soon = nil
	default:
		p.hurried = true
	}
}

// connected takes note that the far side has let this one in.
func (u *Uplink) connected() {
	u.counts.connects.Add(1)
	u.pacer.up()
	u.heard()
	for _, lane := range u.lanes {
		if lane != u {
			lane.pacer.hurry()
		}
	}
}
