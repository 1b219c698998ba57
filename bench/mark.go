package bench

import "time"

// mark is the state of the counters at one instant.
type mark struct {
	at                   time.Time
	delivered, published uint64
	broker               usage         // zero if not asked for
	load                 time.Duration // CPU time of this process
}

// mark reads the counters.
func (r *run) mark() mark {
	return mark{at: time.Now(), delivered: r.received(), published: r.published(), broker: usageOf(r.opts.BrokerPID), load: ownCPU()}
}

// between puts into res what has passed between two marks.
func (res *Result) between(begin, end mark) {
	res.Delivered = end.delivered - begin.delivered
	res.Elapsed = seconds(end.at.Sub(begin.at))
	res.BrokerCPU = seconds(max(end.broker.cpu-begin.broker.cpu, 0))
	res.BrokerRSS, res.BrokerRSSPeak = end.broker.rss, end.broker.peak
	if res.Elapsed > 0 {
		res.MsgsPerSec = float64(res.Delivered) / float64(res.Elapsed)
		res.PubsPerSec = float64(end.published-begin.published) / float64(res.Elapsed)
	}
	if res.Delivered > 0 {
		n := float64(res.Delivered)
		res.BrokerDiskBytesPerMsg = float64(since(begin.broker.written, end.broker.written)) / n
		res.BrokerSwitchesPerMsg = float64(since(begin.broker.voluntary, end.broker.voluntary)) / n
		res.BrokerCPUMicrosPerMsg = float64(res.BrokerCPU) * 1e6 / n
		res.LoadCPUMicrosPerMsg = (end.load - begin.load).Seconds() * 1e6 / n
	}
}

// since is how much a counter has grown; one of a process that has gone, or
// lost a thread, may be less than it was.
func since(before, after uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}

// result sums up. All goroutines of the run have ended.
func (r *run) result(begin, end mark) Result {
	res := resultOf(&r.opts)
	res.Publishers, res.Subscribers = len(r.publishers), len(r.subscribers)
	res.between(begin, end)
	if r.opts.Rate == 0 && len(r.publishers) > 0 && r.publishers[0].written == nil {
		res.Window = r.publishers[0].size
	}
	res.Published = r.published()
	for _, s := range r.subscribers {
		for i := range s.streams {
			st := &s.streams[i]
			res.Lost += st.sequence.lost(st.expects(r.publishers[st.publisher].window.sent.Load()))
			res.Reordered += st.sequence.reordered
			res.Duplicates += st.sequence.duplicates
		}
	}
	if len(r.subscribers) == 0 {
		for _, p := range r.publishers {
			res.Lost += p.window.sent.Load() - p.window.floor()
		}
	}
	if r.churn != nil {
		res.Connects = r.churn.connects(res.Elapsed)
	}
	res.histogram = latencies(r.recorders)
	res.Latency = latencyOf(res.histogram)
	return res
}
