package bench

import (
	"time"
)

// Result is what one run measured. Throughput, CPU and latency belong to the
// measured interval, which begins after the warm-up; loss and order to the
// whole run.
type Result struct {
	Scenario    Scenario `json:"scenario"`
	Version     string   `json:"version"`
	QoS         byte     `json:"qos"`
	Publishers  int      `json:"publishers"`
	Subscribers int      `json:"subscribers"`
	Payload     int      `json:"payloadBytes"`
	Window      int      `json:"window,omitempty"`        // closed loop
	Rate        float64  `json:"ratePerSecond,omitempty"` // open loop, per publisher

	Published  uint64  `json:"published"`     // whole run
	Delivered  uint64  `json:"delivered"`     // measured interval
	Elapsed    Seconds `json:"elapsed"`       // measured interval
	MsgsPerSec float64 `json:"msgsPerSecond"` // deliveries

	// Zero without a broker process id.
	BrokerCPU             Seconds `json:"brokerCPU"`
	BrokerCPUMicrosPerMsg float64 `json:"brokerCPUMicrosPerMessage"` // per delivery
	BrokerRSS             uint64  `json:"brokerRSSBytes"`            // at the end
	// Bytes that the broker has made the kernel write to disks, in whole pages
	// as they became dirty, per delivery. Nothing counts where files are in
	// memory.
	BrokerDiskBytesPerMsg float64 `json:"brokerDiskBytesPerMessage"`

	// CPU time of the process that ran the load, per delivery. On a machine
	// whose cores it shares with the broker, it bounds MsgsPerSec.
	LoadCPUMicrosPerMsg float64 `json:"loadCPUMicrosPerMessage"`

	// In the closed loop latency tells little: it is the window divided by
	// the throughput.
	Latency Latency `json:"latency"`

	Lost       uint64 `json:"lost"`
	Reordered  uint64 `json:"reordered"`
	Duplicates uint64 `json:"duplicates"`
}

// Clean tells whether every message arrived once and in order.
func (r Result) Clean() bool { return r.Lost == 0 && r.Reordered == 0 && r.Duplicates == 0 }

// Latency is the distribution of the time from sending, or from when sending
// was due in an open loop, to receipt. Precision is 1.6 %; Max is exact.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     Seconds `json:"p50"`
	P99     Seconds `json:"p99"`
	P999    Seconds `json:"p999"`
	Max     Seconds `json:"max"`
}

// Seconds is a duration that JSON shows as seconds, a plain number.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration is s as a time.Duration, rounded to nanoseconds.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s)*float64(time.Second) + 0.5)
}

// mark is the state of the counters at one instant.
type mark struct {
	at        time.Time
	delivered uint64
	broker    time.Duration // CPU time, 0 if not asked for
	disk      uint64        // bytes written by the broker, 0 if not asked for
	load      time.Duration // CPU time of this process
}

// mark reads the counters. A broker process that has gone counts no CPU; that
// the run fails then comes from its connections.
func (r *run) mark() mark {
	m := mark{at: time.Now(), delivered: r.received()}
	if r.opts.BrokerPID > 0 {
		m.broker, _ = processCPU(r.opts.BrokerPID)
		m.disk, _ = processWritten(r.opts.BrokerPID)
	}
	m.load = ownCPU()
	return m
}

// result sums up. All goroutines of the run have ended.
func (r *run) result(begin, end mark) Result {
	o := &r.opts
	res := Result{
		Scenario: o.Scenario, Version: o.Version.String(), QoS: o.QoS, Payload: o.Payload,
		Publishers: len(r.publishers), Subscribers: len(r.subscribers), Rate: o.Rate,
		Delivered: end.delivered - begin.delivered,
		Elapsed:   seconds(end.at.Sub(begin.at)),
		BrokerCPU: seconds(max(end.broker-begin.broker, 0)),
	}
	if o.Rate == 0 {
		res.Window = r.publishers[0].size
	}
	if res.Elapsed > 0 {
		res.MsgsPerSec = float64(res.Delivered) / float64(res.Elapsed)
	}
	if res.Delivered > 0 {
		if end.disk > begin.disk {
			res.BrokerDiskBytesPerMsg = float64(end.disk-begin.disk) / float64(res.Delivered)
		}
		res.BrokerCPUMicrosPerMsg = float64(res.BrokerCPU) * 1e6 / float64(res.Delivered)
		res.LoadCPUMicrosPerMsg = (end.load - begin.load).Seconds() * 1e6 / float64(res.Delivered)
	}
	if o.BrokerPID > 0 {
		res.BrokerRSS, _ = processRSS(o.BrokerPID)
	}
	for _, p := range r.publishers {
		res.Published += p.window.sent.Load()
	}
	var all histogram
	for _, s := range r.subscribers {
		all.merge(&s.latency)
		for i := range s.streams {
			st := &s.streams[i]
			res.Lost += st.sequence.lost(r.publishers[st.publisher].window.sent.Load())
			res.Reordered += st.sequence.reordered
			res.Duplicates += st.sequence.duplicates
		}
	}
	res.Latency = Latency{
		Samples: all.total,
		P50:     seconds(all.quantile(0.5)),
		P99:     seconds(all.quantile(0.99)),
		P999:    seconds(all.quantile(0.999)),
		Max:     seconds(time.Duration(all.max)),
	}
	return res
}
