package statsd

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// PushOptions say where a Pusher sends what, and how.
type PushOptions struct {
	Address  string            // see ParsePushAddress
	Interval time.Duration     // between reports
	Prefix   string            // of every name, without the dot; may be empty
	Tags     TagStyle          // how labels are written
	Labels   map[string]string // that every line has; not with TagsNone
	Log      *slog.Logger
}

// Pusher reports to a StatsD server, in few datagrams per interval: every gauge,
// and of every counter how much it has grown. The names are those of the
// Prometheus metrics: see docs/MONITORING.md.
//
// It never waits for the server. A datagram that cannot be sent is counted, and
// what it would have counted goes with a later one. Whether a datagram that was
// sent has arrived, nobody knows who sends by UDP.
type Pusher struct {
	opts    PushOptions
	read    func() Snapshot
	report  *reporter
	target  target
	trouble outage

	datagrams, dropped atomic.Uint64
}

// NewPusher returns a Pusher that reports what read returns, as growth since
// first. It sends nothing yet. The error says what is wrong with the address.
func NewPusher(o PushOptions, first *Snapshot, read func() Snapshot) (*Pusher, error) {
	t, err := newTarget(o.Address)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pusher{opts: o, read: read, target: t, report: newReporter(newNamer(o.Prefix, o.Tags, o.Labels)), trouble: outage{steady: steady}}
	p.report.begin(first)
	return p, nil
}

// Stats is what has been sent so far. It may be called from any goroutine.
func (p *Pusher) Stats() PushStats {
	return PushStats{Datagrams: p.datagrams.Load(), Dropped: p.dropped.Load()}
}

// Run reports every interval until ctx ends, then once more, and returns nil.
func (p *Pusher) Run(ctx context.Context) error {
	defer p.target.close()
	tick := time.NewTicker(p.opts.Interval)
	defer tick.Stop()
	p.target.look(ctx)
	for {
		select {
		case <-ctx.Done():
			p.Push()
			return nil
		case found := <-p.target.found():
			p.target.adopt(found)
		case <-tick.C:
			p.Push()
			p.target.look(ctx)
		}
	}
}

// Push reports now. It is what Run does every interval, for whoever does not let
// it run.
func (p *Pusher) Push() {
	s := p.read()
	units := p.report.units(&s)
	var failed error
	left := pack(units, MaxDatagram, func(datagram []byte, from, to int) {
		if err := p.target.send(datagram); err != nil {
			failed = err
			p.dropped.Add(1)
			return
		}
		p.datagrams.Add(1)
		for i := range units[from:to] {
			if u := &units[from+i]; u.of != nil {
				u.of.sent = u.counts
			}
		}
	})
	if left > 0 && failed == nil {
		failed = errors.New("the labels make lines that are too long")
	}
	p.note(failed)
}

// steady is how many reports must go well before that is believed: by UDP, where
// every second datagram to nobody fails, single ones mean nothing.
const steady = 3

// note logs the first failure of several, and that it is over.
func (p *Pusher) note(err error) {
	switch began, over := p.trouble.note(err != nil); {
	case began:
		p.opts.Log.Warn("the StatsD server cannot be reached; what is counted meanwhile is reported later", "address", p.opts.Address, "error", err)
	case over:
		p.opts.Log.Info("the StatsD server can be reached again", "address", p.opts.Address)
	}
}
