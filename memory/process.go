package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Process measures what the Go runtime of this process cannot give back: what
// was found alive by the last collection of garbage, and stacks. It is for one
// goroutine at a time.
type Process struct {
	samples []metrics.Sample
	collect int64 // bytes of heap from which on garbage is collected to find out; 0: never
	cycles  uint64
	at      time.Time
}

const (
	metricLive    = "/gc/heap/live:bytes"
	metricStacks  = "/memory/classes/heap/stacks:bytes"
	metricObjects = "/memory/classes/heap/objects:bytes"
	metricCycles  = "/gc/cycles/total:gc-cycles"
)

const (
	collectPercent = 75                     // of the budget: from here on it matters what of it is garbage
	collectEvery   = 500 * time.Millisecond // at most
)

// NewProcess measures. If budget is not 0, it collects garbage when the heap
// takes so much of the budget that it matters what of it is alive.
func NewProcess(budget int64) *Process {
	p := &Process{collect: budget / 100 * collectPercent}
	for _, name := range []string{metricLive, metricStacks, metricObjects, metricCycles} {
		p.samples = append(p.samples, metrics.Sample{Name: name})
	}
	return p
}

// Used is the bytes in use.
func (p *Process) Used() int64 {
	live, stacks, objects, cycles := p.read()
	if now := time.Now(); cycles != p.cycles {
		p.cycles, p.at = cycles, now
	} else if p.collect > 0 && objects+stacks > p.collect && now.Sub(p.at) >= collectEvery {
		runtime.GC()
		live, stacks, _, p.cycles = p.read()
		p.at = now
	}
	return live + stacks
}

func (p *Process) read() (live, stacks, objects int64, cycles uint64) {
	metrics.Read(p.samples)
	return int64(p.samples[0].Value.Uint64()), int64(p.samples[1].Value.Uint64()), int64(p.samples[2].Value.Uint64()), p.samples[3].Value.Uint64()
}

// Limit makes the garbage collector of this process keep to budget. It leaves
// a limit alone that the environment has set (GOMEMLIMIT), and reports which.
func Limit(budget int64, getenv func(string) string) (limit int64, ours bool) {
	if getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(-1), false
	}
	debug.SetMemoryLimit(budget)
	return budget, true
}
