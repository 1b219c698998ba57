package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/synthetism/edgebroker/wire"
)

// idlers is one run of scenario Idle: a goroutine for each connection that
// reads, and one that pings for all.
type idlers struct {
	opts   *Options
	dialer *dialer
	base   time.Time
	conns  []*conn

	made, pings, pongs, ended atomic.Uint64
}

// runIdle connects clients that do nothing, lets the broker settle for the
// warm-up, and measures what it then costs to have them.
func runIdle(ctx context.Context, o Options) (Result, error) {
	d, err := newDialer(&o, o.Clients, 1)
	if err != nil {
		return Result{}, err
	}
	i := &idlers{opts: &o, dialer: d, base: time.Now(), conns: make([]*conn, o.Clients)}
	defer i.close()
	before := usageOf(o.BrokerPID)
	connected := watch(&o, connecting, i.made.Load, nil)
	defer connected()
	if err := each(ctx, o.Clients, i.connect); err != nil {
		return Result{}, err
	}
	connected()
	live, stop := context.WithCancel(ctx)
	g, live := errgroup.WithContext(live)
	defer func() {
		stop()
		i.expire()
		_ = g.Wait()
	}()
	for _, c := range i.conns {
		g.Go(func() error { i.read(c); return nil })
	}
	if o.KeepAlive > 0 {
		g.Go(func() error { return i.ping(live) })
	}
	defer watch(&o, running, i.pongs.Load, nil)()
	if err := wait(ctx, o.Warmup); err != nil {
		return Result{}, err
	}
	begin, pinged := i.mark(), i.pings.Load()
	waitErr := wait(live, o.Duration)
	end := i.mark()
	res := resultOf(&o)
	res.Subscribers = o.Clients
	res.between(begin, end)
	res.Idle = i.cost(&res, before, begin, end)
	res.Idle.Pings = i.pings.Load() - pinged
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if waitErr != nil {
		stop()
		i.expire()
		return res, g.Wait() // why no more pings could be sent
	}
	res.Idle.Missed = i.missing(ctx)
	res.Idle.Ended = i.ended.Load()
	return res, nil
}

func (i *idlers) mark() mark {
	return mark{at: time.Now(), broker: usageOf(i.opts.BrokerPID), load: ownCPU()}
}

func (i *idlers) cost(res *Result, before usage, begin, end mark) *IdleCost {
	n, minutes := float64(i.opts.Clients), float64(res.Elapsed)/60
	c := &IdleCost{Clients: i.opts.Clients, RSSBefore: before.rss}
	c.RSSPerConnection = float64(since(before.rss, end.broker.rss)) / n
	if minutes > 0 {
		c.CPUMicros = float64(res.BrokerCPU) * 1e6 / n / minutes
		c.Switches = float64(since(begin.broker.voluntary, end.broker.voluntary)) / minutes
		c.Preemptions = float64(since(begin.broker.involuntary, end.broker.involuntary)) / minutes
	}
	return c
}

func (i *idlers) connect(ctx context.Context, k int) error {
	c, err := i.dialer.connect(ctx, fmt.Sprintf("bench-idle-%d-%x", k, i.base.UnixNano()), session{keepAlive: i.opts.KeepAlive})
	if err != nil {
		return err
	}
	i.conns[k] = c
	i.made.Add(1)
	filters := make([]wire.Filter, i.opts.Topics)
	for t := range filters {
		filters[t] = wire.Filter{Filter: topicOf(fmt.Sprintf("%s/%d", prefixOf(i.opts, i.base), k), i.opts.Topics, t), QoS: i.opts.QoS}
	}
	return c.subscribe(filters...)
}

// read counts answers until the connection ends.
func (i *idlers) read(c *conn) {
	for {
		f, ok, err := c.next()
		switch {
		case err != nil:
		case ok && f.Type == wire.PINGRESP:
			i.pongs.Add(1)
			continue
		case ok:
			err = c.unexpected(f)
		default:
			err = c.fill()
		}
		if err != nil {
			if quiet(err) != nil {
				i.ended.Add(1)
			}
			return
		}
	}
}

// ping lets one client after the other send PINGREQ, each once in a keep alive,
// evenly over that time.
func (i *idlers) ping(ctx context.Context) error {
	plan := newSchedule(float64(len(i.conns)) / i.opts.KeepAlive.Seconds())
	clock, err := newTicker(time.Now().Add(plan.tick), plan.tick)
	if err != nil {
		return fmt.Errorf("start the clock for pings: %w", err)
	}
	defer clock.close()
	release := context.AfterFunc(ctx, clock.close)
	defer release()
	frame := wire.AppendPing(nil, wire.PINGREQ)
	sent, ticks := uint64(0), uint64(0)
	for {
		passed, err := clock.wait()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for the clock for pings: %w", err)
		}
		ticks += passed
		for ; sent < plan.due(ticks); sent++ {
			if err := i.conns[sent%uint64(len(i.conns))].write(frame); err == nil {
				i.pings.Add(1) // a connection that has ended is counted by its reader
			}
		}
	}
}

// missing gives answers a moment to arrive, and counts those that have not.
func (i *idlers) missing(ctx context.Context) uint64 {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	patience := time.NewTimer(i.opts.StallAfter)
	defer patience.Stop()
	sent := i.pings.Load()
	for {
		got := i.pongs.Load()
		if got >= sent {
			return 0
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return sent - got
		case <-ctx.Done():
			return sent - got
		}
	}
}

func (i *idlers) expire() {
	for _, c := range i.conns {
		c.expire()
	}
}

func (i *idlers) close() {
	for _, c := range i.conns {
		if c != nil {
			c.close()
		}
	}
}
