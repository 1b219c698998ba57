package appliance

import (
	"context"
	"sync"
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
		tree.Pace = every
		b.tellSys(tree)
		b.running.Go(func() { b.runSys(every) })
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

// sysTelling is the telling of the values of $SYS/broker.
type sysTelling struct {
	mu   sync.Mutex      // held while they are told; guards everything that follows
	tree *statsd.SysTree // nil: they are not told
	at   time.Time       // when they were told last
}

// runSys renews the values of $SYS/broker until the broker stops: every so often, on
// the clock, while somebody has subscribed to them, else only while something stirs.
func (b *Broker) runSys(every time.Duration) {
	job := b.rest.Job(every)
	defer job.End()
	for {
		if b.relay.Heard(relay.SystemRoot) {
			if !wait(b.run, untilNext(time.Now(), every)) {
				return
			}
		} else if !job.Next(b.run, 0) {
			return
		}
		b.tellSys(nil)
	}
}

// renewSys sees to it that the values of $SYS/broker are no older than they become
// between two renewals, for whoever is about to see them.
func (b *Broker) renewSys() {
	b.sys.mu.Lock()
	defer b.sys.mu.Unlock()
	if tree := b.sys.tree; tree != nil && time.Since(b.sys.at) >= tree.Pace {
		b.tellSysLocked()
	}
}

// tellSys tells the values of tree from now on, if it is not nil.
func (b *Broker) tellSys(tree *statsd.SysTree) {
	b.sys.mu.Lock()
	defer b.sys.mu.Unlock()
	if tree != nil {
		b.sys.tree = tree
	}
	b.tellSysLocked()
}

func (b *Broker) tellSysLocked() {
	tree := b.sys.tree
	b.sys.at = time.Now()
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
	b.renewSys()
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
