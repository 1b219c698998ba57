package appliance

import (
	"context"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/statsd"
)

// startReports begins to say what the broker counts to those who do not ask: by
// $SYS now, to others when sendReports is called. Nobody is served yet.
func (b *Broker) startReports() {
	first := b.snapshot(nil, nil)
	b.pusher = b.newPusher(&first)
	b.exporter = b.newExporter()
	if every := b.conf().Sys.Interval; every > 0 {
		tree := statsd.NewSysTree(&first, time.Now())
		b.tellSys(tree)
		b.running.Go(func() { b.runSys(tree, every) })
	}
	if b.conf().Sys.Clients {
		b.tellClients()
	}
}

// sendReports begins to report to a StatsD server and to an OpenTelemetry
// collector, if there are such. Start cannot fail any more: reports wait for it.
func (b *Broker) sendReports() {
	if p := b.pusher; p != nil {
		b.running.Go(func() { _ = p.Run(b.run) })
	}
	if e := b.exporter; e != nil {
		b.running.Go(func() { _ = e.Run(b.run) })
	}
}

// newPusher is nil if there is no StatsD server.
func (b *Broker) newPusher(first *statsd.Snapshot) *statsd.Pusher {
	c := b.conf().Statsd
	if c.Address == "" {
		return nil
	}
	pusher, err := statsd.NewPusher(statsd.PushOptions{Address: c.Address, Interval: c.Interval, Prefix: c.Prefix, Tags: c.Tags,
		Labels: c.Labels, Log: b.log.With("component", "statsd")}, first, b.reported)
	if err != nil {
		panic("statsd.address: " + err.Error()) // it has been validated
	}
	return pusher
}

// reported is Stats until the last goroutine has ended.
func (b *Broker) reported() statsd.Snapshot { return b.snapshot(b.listening(), b.certificateStats()) }

// runSys renews the values of $SYS/broker until the broker stops.
func (b *Broker) runSys(tree *statsd.SysTree, every time.Duration) {
	for wait(b.run, untilNext(time.Now(), every)) {
		b.tellSys(tree)
	}
}

func (b *Broker) tellSys(tree *statsd.SysTree) {
	s := b.snapshot(nil, nil)
	values := tree.Update(&s, time.Now())
	if b.conf().Sys.Metrics {
		all := tree.Values()
		b.sysValues.Store(&all)
	}
	own := make([]relay.Own, len(values))
	for i, v := range values {
		own[i] = relay.Own{Topic: v.Topic, Payload: []byte(v.Value), Retain: true}
	}
	b.relay.Tell(own)
}

// latestSys are the values that subscribers to $SYS/broker have got last.
func (b *Broker) latestSys() []statsd.SysValue {
	if all := b.sysValues.Load(); all != nil {
		return *all
	}
	return nil
}

// untilNext is how long it is to the next multiple of every on the clock, and
// at least half of every, also if the clock has been set.
func untilNext(now time.Time, every time.Duration) time.Duration {
	left := every - time.Duration(now.UnixNano()%int64(every))
	if left < every/2 {
		left += every
	}
	return left
}

// wait waits for d and reports whether ctx has not ended by then.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
