package appliance

import (
	"context"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// clockNoise is by how much the clock may be set without anybody being told.
const clockNoise = time.Second

// watchClock sees to what goes by the clock whenever somebody has set it, until ctx
// ends: a gateway without a battery learns from the network what time it is, after
// clients have come.
func (b *Broker) watchClock(ctx context.Context) {
	before := time.Now()
	err := b.clockSets(ctx, func() {
		now := time.Now()
		by := now.Round(0).Sub(before.Round(0)) - now.Sub(before) // the second by the clock that only runs
		before = now
		b.sessions.ClockSet()
		if by.Abs() >= clockNoise {
			b.log.Info("the clock was set", "by", by)
			b.system(events.SystemClockSet, "by "+by.Round(time.Millisecond).String())
		}
	})
	if err != nil {
		b.log.Warn("nobody says when the clock is set: clients whose credentials end by then may stay too long", "error", err)
	}
}
