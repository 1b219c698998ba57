package relay

import (
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Rate bounds what one client publishes: what is over it waits in the network,
// for the client is read no faster. The zero Rate is none.
type Rate struct {
	Messages int           // per second; 0: any number
	Bytes    int64         // of whole packets, per second; 0: any number
	Patience time.Duration // how long a client may go on at its limit before it is disconnected; 0: for ever
}

func (r Rate) limits() bool { return r.Messages > 0 || r.Bytes > 0 }

// pace is where a Port stands with its Rate: a bucket that holds a second's
// worth. Only its reader uses it.
type pace struct {
	messages float64 // that may come at once; below zero the client must wait
	bytes    float64
	filled   time.Time // when the two were reckoned
	slow     time.Time // since when the client is at its limit; zero if it is not
}

// paceStep is how often a waiting reader looks whether its connection has ended.
const paceStep = 100 * time.Millisecond

// keepPace takes a PUBLISH of n bytes into account, and waits until the client's
// rate allows it. It reports the error with which the connection must end.
func (p *Port) keepPace(n int) error {
	b, rate := &p.pace, &p.relay.conf().Rate
	if rate.Messages > 0 {
		b.messages--
	}
	if rate.Bytes > 0 {
		b.bytes -= float64(n)
	}
	if b.messages >= 0 && b.bytes >= 0 {
		return nil
	}
	wait := b.fill(rate, time.Now())
	if wait <= 0 {
		return nil
	}
	if b.slow.IsZero() {
		b.slow = time.Now()
		p.relay.slowed.Add(1)
		p.relay.reportSlowed(p.id)
	}
	p.concludeHolding() // what came before must not wait
	p.session.flush()
	for wait > 0 && !p.link.Ended() && !p.relay.still.Load() {
		time.Sleep(min(wait, paceStep))
		wait = b.fill(rate, time.Now())
	}
	if rate.Patience > 0 && time.Since(b.slow) > rate.Patience {
		return &wire.Error{Reason: wire.MessageRateTooHigh, Detail: "publishes at the limit of its rate for longer than is tolerated"}
	}
	return nil
}

// fill reckons up to now and returns how long the client must wait. A client
// whose bucket is full again has come down from its limit.
func (b *pace) fill(rate *Rate, now time.Time) (wait time.Duration) {
	passed := 1.0
	if !b.filled.IsZero() {
		passed = now.Sub(b.filled).Seconds()
	}
	b.filled = now
	full := true
	refill := func(level *float64, perSecond float64) {
		if perSecond == 0 {
			*level = 0 // whatever an earlier Config has left
			return
		}
		*level += passed * perSecond
		if *level < perSecond {
			full = false
		}
		*level = min(*level, perSecond)
		if *level < 0 {
			wait = max(wait, time.Duration(-*level/perSecond*float64(time.Second)))
		}
	}
	refill(&b.messages, float64(rate.Messages))
	refill(&b.bytes, float64(rate.Bytes))
	if full {
		b.slow = time.Time{}
	}
	return wait
}
