package statsd

import (
	"math"
	"sync"
	"time"
)

// Meter averages the growth of one counter over 1, 5 and 15 minutes, the way
// mosquitto and the load average do: exponentially weighted, starting from
// zero, so that an average needs about its own span to settle. It is safe for
// use by many goroutines. The zero Meter is not usable; see NewMeter.
type Meter struct {
	mu   sync.Mutex
	last uint64
	at   time.Time
	rate Rate
}

// NewMeter returns a Meter for a counter that stands at total at the time now.
func NewMeter(total uint64, now time.Time) *Meter {
	return &Meter{last: total, at: now}
}

// Update tells the meter where the counter stands. Calls may come at uneven
// times; times must carry Go's monotonic clock, so that setting the wall clock
// does no harm. A total below the last one means that the counter restarted.
func (m *Meter) Update(total uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := now.Sub(m.at).Seconds()
	if elapsed <= 0 {
		return // what was counted goes into the next update
	}
	grown := total - m.last
	if total < m.last {
		grown = total
	}
	m.last, m.at = total, now
	current := float64(grown) / elapsed
	m.rate.Min1 = decay(m.rate.Min1, current, elapsed, 60)
	m.rate.Min5 = decay(m.rate.Min5, current, elapsed, 300)
	m.rate.Min15 = decay(m.rate.Min15, current, elapsed, 900)
}

// Rest tells the meter that nothing was counted up to the time until.
func (m *Meter) Rest(until time.Time) {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	m.Update(last, until)
}

// Rate returns the averages as of the last Update.
func (m *Meter) Rate() Rate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rate
}

// decay moves average towards current, the mean over the last elapsed seconds,
// with a time constant of span seconds.
func decay(average, current, elapsed, span float64) float64 {
	return current + math.Exp(-elapsed/span)*(average-current)
}
