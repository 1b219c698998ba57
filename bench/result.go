package bench

import (
	"cmp"
	"maps"
	"slices"
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
	Subscribers int      `json:"subscribers"`             // those to a wildcard included
	Payload     int      `json:"payloadBytes"`            // zero of sub: whatever others publish
	Window      int      `json:"window,omitempty"`        // closed loop
	Rate        float64  `json:"ratePerSecond,omitempty"` // open loop, of each publisher; of connections: of all clients
	RateShare   float64  `json:"rateShare,omitempty"`     // the rate as a part of what the broker has managed in the closed loop
	Repetition  int      `json:"repetition,omitempty"`    // from 1, if there are several

	Client         Client `json:"client,omitempty"`              // absent: raw frames
	Topics         int    `json:"topics,omitempty"`              // of each publisher, if more than one
	Wildcard       int    `json:"wildcardSubscribers,omitempty"` // to everything, beside the scenario's own
	Subscriptions  int    `json:"subscriptionsBeside,omitempty"` // that match nothing
	Stalled        int    `json:"stalledSubscribers,omitempty"`  // that read nothing
	UserProperties int    `json:"userProperties,omitempty"`      // of each publish
	Aliases        bool   `json:"topicAliases,omitempty"`
	Retain         bool   `json:"retain,omitempty"`

	Published  uint64  `json:"published"`     // whole run
	Delivered  uint64  `json:"delivered"`     // measured interval; pub: acknowledged, or at QoS 0 taken
	Elapsed    Seconds `json:"elapsed"`       // measured interval
	MsgsPerSec float64 `json:"msgsPerSecond"` // deliveries
	PubsPerSec float64 `json:"publishesPerSecond"`

	// Zero without a broker process id.
	BrokerCPU             Seconds `json:"brokerCPU"`
	BrokerCPUMicrosPerMsg float64 `json:"brokerCPUMicrosPerMessage"` // per delivery
	BrokerRSS             uint64  `json:"brokerRSSBytes"`            // at the end
	BrokerRSSPeak         uint64  `json:"brokerRSSPeakBytes"`        // since it started
	// Bytes that the broker has made the kernel write to disks, in whole pages
	// as they became dirty, per delivery. Nothing counts where files are in
	// memory.
	BrokerDiskBytesPerMsg float64 `json:"brokerDiskBytesPerMessage"`
	// How often a thread of the broker has waited for something, per delivery.
	BrokerSwitchesPerMsg float64 `json:"brokerVoluntarySwitchesPerMessage"`

	// CPU time of the process that ran the load, per delivery. On a machine
	// whose cores it shares with the broker, it bounds MsgsPerSec.
	LoadCPUMicrosPerMsg float64 `json:"loadCPUMicrosPerMessage"`

	// In the closed loop latency tells little: it is the window divided by
	// the throughput. Of scenario pub, it is to the acknowledgement; of
	// connect, from when a client was to connect to its CONNACK.
	Latency Latency `json:"latency"`

	Lost       uint64 `json:"lost"`
	Reordered  uint64 `json:"reordered"`
	Duplicates uint64 `json:"duplicates"`

	Connects *Connects `json:"connects,omitempty"` // scenario connect, and the clients that come and go of mixed
	Idle     *IdleCost `json:"idle,omitempty"`     // scenario idle

	histogram *histogram // of Latency; nil if there is none
}

// Clean tells whether every message arrived once and in order, and every client
// could connect and stayed connected.
func (r Result) Clean() bool {
	return r.Lost == 0 && r.Reordered == 0 && r.Duplicates == 0 && (r.Connects == nil || r.Connects.Failed == 0) && (r.Idle == nil || r.Idle.Ended == 0 && r.Idle.Missed == 0)
}

// Connects is what became of connections.
type Connects struct {
	Made      uint64  `json:"made"` // with a CONNACK that says yes
	PerSecond float64 `json:"perSecond"`
	Failed    uint64  `json:"failed"`
	// How often which reason, if any has failed.
	Reasons map[string]uint64 `json:"reasons,omitempty"`
	// From CONNECT to CONNACK alone, without TCP, TLS and WebSocket.
	Connack Latency `json:"connackLatency"`
	// Zero without a broker process id.
	BrokerCPUMicros float64 `json:"brokerCPUMicrosPerConnect"`
	// Resident memory that the broker has grown by, per connection; zero if
	// clients do not stay.
	RSSPerConnection float64 `json:"brokerRSSBytesPerConnection"`
}

// IdleCost is what clients cost that do nothing but keep alive.
type IdleCost struct {
	Clients int    `json:"clients"`
	Pings   uint64 `json:"pings"`      // PINGREQs sent in the measured interval
	Missed  uint64 `json:"unanswered"` // of these, at the end
	Ended   uint64 `json:"ended"`      // connections that did not last
	// Zero without a broker process id.
	RSSBefore        uint64  `json:"brokerRSSBytesBefore"`
	RSSPerConnection float64 `json:"brokerRSSBytesPerConnection"` // growth from before to the end, divided by the clients
	CPUMicros        float64 `json:"brokerCPUMicrosPerClientMinute"`
	Switches         float64 `json:"brokerVoluntarySwitchesPerMinute"`   // of all threads
	Preemptions      float64 `json:"brokerInvoluntarySwitchesPerMinute"` // of all threads
}

// Latency is the distribution of the time from sending, or from when sending
// was due in an open loop, to receipt. Precision is 1.6 %; Max is exact.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     Seconds `json:"p50"`
	P99     Seconds `json:"p99"`
	P999    Seconds `json:"p999"`
	Max     Seconds `json:"max"`
}

func latencyOf(h *histogram) Latency {
	return Latency{
		Samples: h.total,
		P50:     seconds(h.quantile(0.5)),
		P99:     seconds(h.quantile(0.99)),
		P999:    seconds(h.quantile(0.999)),
		Max:     seconds(time.Duration(h.max)),
	}
}

// Seconds is a duration that JSON shows as seconds, a plain number.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration is s as a time.Duration, rounded to nanoseconds.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s)*float64(time.Second) + 0.5)
}

// resultOf is what is known before anything has been measured.
func resultOf(o *Options) Result {
	res := Result{
		Scenario: o.Scenario, Version: o.Version.String(), QoS: o.QoS, Payload: o.Payload, Rate: o.Rate,
		Wildcard: o.Wildcard, Subscriptions: o.Subscriptions, Stalled: o.Stalled,
		UserProperties: o.UserProperties, Aliases: o.Aliases, Retain: o.Retain,
	}
	if o.Scenario == Sub {
		res.Payload = 0 // whatever others publish
	}
	if o.Topics > 1 || o.Scenario == Idle {
		res.Topics = o.Topics
	}
	if o.Client != Raw {
		res.Client = o.Client
	}
	return res
}

// reasons are failures by what they are called.
type reasons map[string]uint64

// worst lists the most frequent ones, the first of them first.
func (r reasons) worst(n int) []string {
	names := slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		return cmp.Or(cmp.Compare(r[b], r[a]), cmp.Compare(a, b))
	})
	return names[:min(n, len(names))]
}
