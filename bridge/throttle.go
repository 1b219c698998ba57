package bridge

import (
	"math"
	"time"
)

// throttle keeps an uplink to a number of messages and bytes per second. Whoever
// has it guards it.
type throttle struct {
	rates
	now   func() int64 // nanoseconds
	wake  func()       // called on its own goroutine when more may go
	timer *time.Timer  // will do that; nil: none is due
	seats []*seat      // what it shares with others, the narrower first
}

// rates are how many messages and bytes may go per second; of no rate, any
// number.
type rates struct{ messages, bytes tokenBucket }

func ratesOf(messages, bytes int, now int64) rates {
	return rates{tokenBucket{rate: float64(messages), at: now}, tokenBucket{rate: float64(bytes), at: now}}
}

func (r *rates) unbounded() bool { return r.messages.rate == 0 && r.bytes.rate == 0 }

// spend notes a message of so many bytes.
func (r *rates) spend(now int64, bytes int) {
	r.messages.fill(now)
	r.bytes.fill(now)
	r.messages.tokens--
	r.bytes.tokens -= float64(bytes)
}

// missing is how long it takes until a message may go; 0: it may now.
func (r *rates) missing(now int64) time.Duration {
	r.messages.fill(now)
	r.bytes.fill(now)
	return max(r.messages.missing(), r.bytes.missing())
}

// tokenBucket bounds a rate; the zero one does not. One token and a tenth of a
// second's worth may go at once.
type tokenBucket struct {
	rate   float64 // per second; 0: any
	tokens float64
	at     int64 // when it had so many
}

func (b *tokenBucket) fill(now int64) {
	b.tokens = min(b.tokens+b.rate*float64(now-b.at)/1e9, 1+b.rate/10)
	b.at = now
}

// missing is how long it takes until something may go; 0: it may now. What goes
// may be larger than what there is: then the next has to wait for longer.
func (b *tokenBucket) missing() time.Duration {
	if b.rate == 0 || b.tokens >= 1 {
		return 0
	}
	return time.Duration(math.Ceil((1 - b.tokens) / b.rate * 1e9))
}

// take takes a token if there is one.
func (b *tokenBucket) take(now int64) bool {
	b.fill(now)
	if b.missing() > 0 {
		return false
	}
	b.tokens--
	return true
}

// spend notes a message of so many bytes.
func (t *throttle) spend(bytes int) {
	t.rates.spend(t.now(), bytes)
	for _, s := range t.seats {
		s.spend(bytes)
	}
}

// over reports whether nothing may go now; then wake will be called when it may.
func (t *throttle) over() bool {
	if t.overOwn() {
		return true
	}
	for _, s := range t.seats {
		if s.over() {
			return true
		}
	}
	return false
}

func (t *throttle) overOwn() bool {
	if t.unbounded() {
		return false
	}
	wait := t.missing(t.now())
	if wait == 0 {
		return false
	}
	if t.timer == nil {
		// A timer for each message would cost more than the messages.
		t.timer = time.AfterFunc(max(wait, throttlePause), t.wake)
	}
	return true
}

const throttlePause = 5 * time.Millisecond

// woken says that the timer has run.
func (t *throttle) woken() { t.timer = nil }

func (t *throttle) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
	for _, s := range t.seats {
		s.leave()
	}
}
