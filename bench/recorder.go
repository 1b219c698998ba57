package bench

import "sync"

// maxRecorders bounds the memory that histograms take.
const maxRecorders = 64

// recorder keeps latencies of one receiver or some. A receiver locks it for
// everything that one read has brought, so that the lock costs nothing, and
// whoever shows progress may look at any time.
type recorder struct {
	mu      sync.Mutex
	latency histogram // guarded by mu
}

// recorders makes enough for n receivers.
func recorders(n int) []*recorder {
	all := make([]*recorder, min(max(n, 1), maxRecorders))
	for i := range all {
		all[i] = &recorder{}
	}
	return all
}

// latencies is what all of them have so far.
func latencies(all []*recorder) *histogram {
	var sum histogram
	for _, r := range all {
		r.mu.Lock()
		sum.merge(&r.latency)
		r.mu.Unlock()
	}
	return &sum
}
