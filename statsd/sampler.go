package statsd

import (
	"context"
	"time"
)

// SampleInterval is how often a Sampler reads the totals.
const SampleInterval = 5 * time.Second

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

	received, sent, dropped, lost, bytesReceived, bytesSent, connections *Meter
}

// NewSampler returns a Sampler for a broker that starts now. read is called
// from Run's goroutine and must be cheap.
func NewSampler(read func() Totals) *Sampler {
	t, now := read(), time.Now()
	return &Sampler{
		read:          read,
		started:       now,
		received:      NewMeter(t.Received, now),
		sent:          NewMeter(t.Sent, now),
		dropped:       NewMeter(t.Dropped, now),
		lost:          NewMeter(t.Lost, now),
		bytesReceived: NewMeter(t.BytesReceived, now),
		bytesSent:     NewMeter(t.BytesSent, now),
		connections:   NewMeter(t.Connections, now),
	}
}

// Run samples every SampleInterval until ctx ends, and returns nil.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(SampleInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sample()
		}
	}
}

func (s *Sampler) sample() {
	t, now := s.read(), time.Now()
	s.received.Update(t.Received, now)
	s.sent.Update(t.Sent, now)
	s.dropped.Update(t.Dropped, now)
	s.lost.Update(t.Lost, now)
	s.bytesReceived.Update(t.BytesReceived, now)
	s.bytesSent.Update(t.BytesSent, now)
	s.connections.Update(t.Connections, now)
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
	snap.Rates = Rates{
		Received:      s.received.Rate(),
		Sent:          s.sent.Rate(),
		Dropped:       s.dropped.Rate(),
		Lost:          s.lost.Rate(),
		BytesReceived: s.bytesReceived.Rate(),
		BytesSent:     s.bytesSent.Rate(),
		Connections:   s.connections.Rate(),
	}
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
