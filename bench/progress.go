package bench

import (
	"sync"
	"time"
)

// Progress is how a run gets on.
type Progress struct {
	Phase     string   `json:"progress"` // connecting, then running
	Scenario  Scenario `json:"scenario"`
	Elapsed   Seconds  `json:"elapsed"`       // of this phase
	Count     uint64   `json:"count"`         // of this phase: connecting: clients; else messages, connects, or of idle clients PINGRESPs
	PerSecond float64  `json:"perSecond"`     // since the last one
	P99       Seconds  `json:"p99,omitempty"` // latency of what has arrived since the last one
	// The CPUs that the broker has kept busy since the last one; zero without a
	// broker process id.
	BrokerCPUs float64 `json:"brokerCPUs"`
}

const (
	connecting = "connecting"
	running    = "running"
)

// watch reports progress until stop is called, which waits for the last report.
// count is what is counted in the phase; recs may be nil.
func watch(o *Options, phase string, count func() uint64, recs []*recorder) (stop func()) {
	if o.Progress == nil || o.Interval <= 0 {
		return func() {}
	}
	w := watcher{opts: o, phase: phase, count: count, recs: recs, begin: time.Now()}
	w.lastAt, w.lastCPU, w.last = w.begin, usageOf(o.BrokerPID).cpu, &histogram{}
	ended := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(o.Interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.report()
			case <-ended:
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(ended); done.Wait() })
}

type watcher struct {
	opts  *Options
	phase string
	count func() uint64
	recs  []*recorder
	begin time.Time

	lastAt    time.Time // when the last report was, and what it has seen
	lastCount uint64
	lastCPU   time.Duration
	last      *histogram
}

func (w *watcher) report() {
	now, n, cpu := time.Now(), w.count(), usageOf(w.opts.BrokerPID).cpu
	passed := now.Sub(w.lastAt).Seconds()
	p := Progress{Phase: w.phase, Scenario: w.opts.Scenario, Elapsed: seconds(now.Sub(w.begin)), Count: n}
	if passed > 0 {
		p.PerSecond = float64(since(w.lastCount, n)) / passed
		p.BrokerCPUs = max(cpu-w.lastCPU, 0).Seconds() / passed
	}
	if w.recs != nil {
		all := latencies(w.recs)
		p.P99 = seconds(all.after(w.last).quantile(0.99))
		w.last = all
	}
	w.lastAt, w.lastCount, w.lastCPU = now, n, cpu
	w.opts.Progress(p)
}
