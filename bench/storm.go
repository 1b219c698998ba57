package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// storm is one run of scenario Connect.
type storm struct {
	opts   *Options
	dialer *dialer
	base   time.Time
	total  uint64 // connections to be made, or as many as the duration allows
	over   context.Context

	made, failed atomic.Uint64
	rec          *recorder // from when a client was to connect, to its CONNACK

	mu      sync.Mutex
	connack histogram // guarded by mu, as is all that follows
	reasons reasons
	staying []*conn
	first   error // failure
}

// newStorm connects nothing yet; over ends when no more clients are to come.
func newStorm(o *Options, d *dialer, over context.Context) *storm {
	s := &storm{opts: o, dialer: d, base: time.Now(), total: math.MaxUint64, over: over, rec: &recorder{}, reasons: reasons{}}
	if o.Count > 0 {
		s.total = uint64(o.Clients) * o.Count
	}
	return s
}

// runStorm lets clients connect. It fails only if none could: who could not and
// why is a result.
func runStorm(ctx context.Context, o Options) (Result, error) {
	d, err := newDialer(&o, o.Clients, 1)
	if err != nil {
		return Result{}, err
	}
	over, stop := ctx, context.CancelFunc(func() {})
	if o.Duration > 0 {
		over, stop = context.WithTimeout(ctx, o.Duration)
	}
	defer stop()
	s := newStorm(&o, d, over)
	defer s.leave()
	defer watch(&o, running, s.made.Load, []*recorder{s.rec})()
	begin := mark{at: time.Now(), broker: usageOf(o.BrokerPID), load: ownCPU()}
	if o.Rate > 0 {
		err = s.open(ctx)
	} else {
		err = s.closed(ctx)
	}
	end := mark{at: time.Now(), broker: usageOf(o.BrokerPID), load: ownCPU()}
	res := resultOf(&o)
	if o.Rate == 0 {
		res.Window = o.Window
	}
	res.between(begin, end)
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if err != nil {
		return res, err
	}
	var grown float64
	if o.Stay > 0 {
		if err := s.stay(ctx); err != nil {
			return res, err
		}
		after := usageOf(o.BrokerPID)
		grown = float64(since(begin.broker.rss, after.rss))
		res.BrokerRSS, res.BrokerRSSPeak = after.rss, after.peak
	}
	res.Connects = s.connects(res.Elapsed)
	if n := float64(res.Connects.Made); n > 0 {
		res.Connects.BrokerCPUMicros = float64(res.BrokerCPU) * 1e6 / n
		res.Connects.RSSPerConnection = grown / n
	}
	res.histogram = latencies([]*recorder{s.rec})
	res.Latency = latencyOf(res.histogram)
	if res.Connects.Made == 0 {
		return res, s.first
	}
	return res, nil
}

// connects is what has become of connections in a time.
func (s *storm) connects(elapsed Seconds) *Connects {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Connects{Made: s.made.Load(), Failed: s.failed.Load(), Connack: latencyOf(&s.connack)}
	if len(s.reasons) > 0 {
		c.Reasons = s.reasons
	}
	if elapsed > 0 {
		c.PerSecond = float64(c.Made) / float64(elapsed)
	}
	return c
}

// churnAtOnce bounds the clients that come and go beside a load.
const churnAtOnce = 64

// newChurn is clients that come and go beside a load until over ends.
func (r *run) newChurn(over context.Context) *storm {
	o := r.opts
	o.Clients, o.Rate, o.Count = churnAtOnce, r.plan.churn, 0
	return newStorm(&o, r.dialer, over)
}

// closed keeps as many handshakes on their way as the window says.
func (s *storm) closed(ctx context.Context) error {
	var next atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	for range min(s.opts.Window, s.opts.Clients) {
		g.Go(func() error {
			for s.over.Err() == nil {
				k := next.Add(1) - 1
				if k >= s.total {
					return nil
				}
				s.one(ctx, k, time.Now())
			}
			return nil
		})
	}
	return g.Wait()
}

// open lets clients come on a schedule, whatever becomes of those before; when
// all are busy, who is late counts from when it was due.
func (s *storm) open(ctx context.Context) error {
	plan := newSchedule(s.opts.Rate)
	start := time.Now()
	clock, err := newTicker(start, plan.tick)
	if err != nil {
		return fmt.Errorf("start the clock for connections: %w", err)
	}
	defer clock.close()
	release := context.AfterFunc(s.over, clock.close)
	defer release()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.opts.Clients)
	k, ticks := uint64(0), uint64(0)
	for k < s.total && s.over.Err() == nil {
		passed, err := clock.wait()
		if s.over.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("wait for the clock for connections: %w", err)
		}
		for range passed {
			due := start.Add(plan.tick * time.Duration(ticks))
			ticks++
			for ; k < min(plan.due(ticks), s.total) && s.over.Err() == nil; k++ {
				this := k
				g.Go(func() error { s.one(ctx, this, due); return nil })
			}
		}
	}
	return g.Wait()
}

// one connects the k-th time, which was due at a time.
func (s *storm) one(ctx context.Context, k uint64, due time.Time) {
	c, err := s.dialer.connect(ctx, fmt.Sprintf("bench-connect-%d-%d-%x", os.Getpid(), k, s.base.UnixNano()), session{})
	took := time.Since(due)
	if err != nil && ctx.Err() != nil {
		return // the run has ended, not the broker refused
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.made.Add(1)
	s.rec.mu.Lock()
	s.rec.latency.record(took)
	s.rec.mu.Unlock()
	s.mu.Lock()
	s.connack.record(c.connackAfter)
	if s.opts.Stay > 0 {
		s.staying = append(s.staying, c)
		c = nil
	}
	s.mu.Unlock()
	if c != nil {
		c.close()
	}
}

func (s *storm) fail(err error) {
	s.failed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons[reasonOf(err)]++
	if s.first == nil {
		s.first = err
	}
}

// stay waits, and counts whose connection has not lasted.
func (s *storm) stay(ctx context.Context) error {
	if err := wait(ctx, s.opts.Stay); err != nil {
		return err
	}
	for _, c := range s.staying {
		c.net.SetReadDeadline(time.Now().Add(time.Millisecond))
		var b [1]byte
		if n, err := c.net.Read(b[:]); n > 0 || !os.IsTimeout(err) {
			s.fail(errNotStayed)
			s.made.Add(^uint64(0))
		}
	}
	return nil
}

// leave says goodbye for all who stayed.
func (s *storm) leave() {
	for _, c := range s.staying {
		c.close()
	}
}

// wait returns after d, or ctx's error when that ends before.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
