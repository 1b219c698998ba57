package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

const (
	metricFree     = "/memory/classes/heap/free:bytes" // the kernel could have it back
	shrinkAtLeast  = 8 << 20
	shrinkFraction = 4 // of what is in use
)

// Shrink collects garbage and gives the memory that nobody uses back to the kernel,
// if that is 8 MiB and a quarter of what is in use, and reports whether it was. By
// itself the runtime keeps what its next heap may need, also for a process that
// has nothing to do. It is work for a moment of rest: half a second for a GB.
func Shrink() bool {
	s := []metrics.Sample{{Name: metricLive}, {Name: metricStacks}, {Name: metricObjects}, {Name: metricFree}}
	metrics.Read(s)
	live, stacks, objects, free := s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()
	spare := free + objects - min(objects, live)
	if spare < shrinkAtLeast || spare < (live+stacks)/shrinkFraction {
		return false
	}
	debug.FreeOSMemory()
	return true
}

const quiet = 30 * time.Second

// AtRest calls do, which is Shrink, once after each spell of work, when nothing
// has stirred for half a minute or up to twice that, until ctx ends. It wakes the
// process up for nothing else.
func AtRest(ctx context.Context, r *rest.Rest, do func() bool) {
	job := r.Job(quiet)
	defer job.End()
	calm := quiet
	for looks := 0; job.Next(ctx, calm); {
		if looks++; job.Brisk() {
			looks, calm = 0, quiet
		} else if calm = quiet; looks > 1 {
			do()
			looks, calm = 0, 0
		}
	}
}
