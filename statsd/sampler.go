package statsd

import (
	"context"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// SampleInterval is how often a Sampler reads the totals while something stirs, and
// how old averages are at most that Fill tells.
const SampleInterval = 5 * time.Second

// calmInterval is how often the totals are read at rest: what comes then without
// stirring anything, bytes of keep alive, is not to come all at once.
const calmInterval = time.Minute

// Totals are the counters of which a Sampler makes averages. They only grow.
type Totals struct {
	Received      uint64 // messages from clients
	Sent          uint64 // messages to clients
	Dropped       uint64 // messages and deliveries lost, and messages that nobody had subscribed to
	Lost          uint64 // of these, those that somebody has missed
	BytesReceived uint64 // on the wire
	BytesSent     uint64 // on the wire
	Connections   uint64 // connections accepted
}

// Sampler makes averages over 1, 5 and 15 minutes out of totals, and knows the
// uptime and memory of the process. The broker makes one, runs it, and lets it
// complete each Snapshot.
type Sampler struct {
	read    func() Totals
	started time.Time // with the monotonic clock
	memory  memoryReader

	mu     sync.Mutex // guards everything that follows
	at     time.Time  // of the last sample
	meters []*Meter   // in the order of Totals.all
}

// NewSampler returns a Sampler for a broker that starts now. read is called
// by Run and by Fill, one at a time, and must be cheap.
func NewSampler(read func() Totals) *Sampler {
	t, now := read(), time.Now()
	s := &Sampler{read: read, started: now, at: now}
	for _, total := range t.all() {
		s.meters = append(s.meters, NewMeter(total, now))
	}
	return s
}

// all are the counters in the order of their declaration.
func (t Totals) all() [7]uint64 {
	return [...]uint64{t.Received, t.Sent, t.Dropped, t.Lost, t.BytesReceived, t.BytesSent, t.Connections}
}

// Run samples every SampleInterval while r is stirred, and now and then at rest,
// until ctx ends. It returns nil. Whoever counts stirs r.
func (s *Sampler) Run(ctx context.Context, r *rest.Rest) error {
	job := r.Job(SampleInterval)
	defer job.End()
	for job.Next(ctx, calmInterval) {
		s.sample(0)
	}
	return nil
}

// sample reads the totals unless that was done less than age ago, and returns the
// averages.
func (s *Sampler) sample(age time.Duration) Rates {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if slept := now.Sub(s.at); slept >= age {
		totals := s.read().all()
		for i, m := range s.meters {
			if slept >= 2*SampleInterval { // nothing has stirred until just now
				m.Rest(now.Add(-SampleInterval))
			}
			m.Update(totals[i], now)
		}
		s.at = now
	}
	m := s.meters
	return Rates{Received: m[0].Rate(), Sent: m[1].Rate(), Dropped: m[2].Rate(), Lost: m[3].Rate(),
		BytesReceived: m[4].Rate(), BytesSent: m[5].Rate(), Connections: m[6].Rate()}
}

// Fill sets what the sampler knows of snap: StartedAt, Uptime, Rates and
// Memory. Maps and lists that are nil become empty, which reads better as JSON. It may be
// called from any goroutine, as often as wanted.
func (s *Sampler) Fill(snap *Snapshot) {
	now := time.Now()
	uptime := now.Sub(s.started)
	snap.Uptime = uptime.Seconds()
	snap.StartedAt = now.Add(-uptime).Round(0).UTC()
	snap.Memory = s.memory.read(now)
	snap.Rates = s.sample(SampleInterval)
	if snap.Listeners == nil {
		snap.Listeners = []Listener{}
	}
	if snap.Dropped.ByReason == nil {
		snap.Dropped.ByReason = make(map[string]uint64)
	}
	if snap.Refusals == nil {
		snap.Refusals = make(map[string]uint64)
	}
	if snap.Disconnections == nil {
		snap.Disconnections = make(map[string]uint64)
	}
}
