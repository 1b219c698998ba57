package bench

import "time"

// minTick bounds how often a publisher is woken: beyond 1000 messages per second it
// sends small bursts, and latency counts from each burst's time. More often the
// load would need more of the processors than the broker.
const minTick = time.Millisecond

// schedule says how many messages are due after each tick.
type schedule struct {
	tick    time.Duration
	perTick float64
}

func newSchedule(rate float64) schedule {
	tick := max(time.Duration(float64(time.Second)/rate), minTick)
	return schedule{tick: tick, perTick: rate * tick.Seconds()}
}

// due is the number of messages that are to be sent by the n-th tick.
func (s schedule) due(n uint64) uint64 {
	// Half a message up: at whole multiples rounding errors must not lag.
	return uint64(s.perTick*float64(n) + 0.5)
}
