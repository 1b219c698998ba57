package memory

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

const (
	metricFree   = "/memory/classes/heap/free:bytes" // the kernel could have it back
	shrinkGrowth = 8 << 20
	shrinkPart   = 8 // of what there was
)

// Shrinker gives memory back to the kernel. The zero value is ready; it is for one
// goroutine at a time.
type Shrinker struct {
	held uint64 // bytes of heap and stacks when there was nothing more to give back
}

// Shrink collects garbage, halves stacks that are hardly used, and gives the memory
// that nobody uses back to the kernel, if there are 8 MiB and an eighth more of all
// that than when it had done so last, and reports whether it was. By itself the
// runtime keeps what its next heap may need, also for a process that has nothing to
// do. It is work for a moment of rest: half a second for a GB.
func (s *Shrinker) Shrink() bool {
	if held := holds(); held < s.held+max(shrinkGrowth, s.held/shrinkPart) {
		s.held = min(s.held, held)
		return false
	}
	runtime.GC() // a stack is halved once in each
	debug.FreeOSMemory()
	s.held = holds()
	return true
}

// holds is the bytes of heap and stacks that the kernel does not have back.
func holds() uint64 {
	s := []metrics.Sample{{Name: metricStacks}, {Name: metricObjects}, {Name: metricFree}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64() + s[2].Value.Uint64()
}

const quiet = 30 * time.Second

// AtRest calls do, which is to Shrink, once after each spell of work, when nothing
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
