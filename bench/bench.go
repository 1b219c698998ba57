// Package bench measures MQTT brokers. It drives one broker by its address and
// reports throughput, delivery latency and, for a local broker whose process
// id is known, the CPU time each delivered message cost and the memory held.
//
// Both ends of the load speak raw frames that are encoded once and written in
// batches, so that the broker is the limit and not the generator. Every
// payload carries its publisher, a sequence number and a time; each run
// therefore also proves that nothing was lost, repeated or reordered.
//
// Two kinds of load exist. The closed loop (Options.Rate zero) keeps a fixed
// number of messages on their way and so finds the highest throughput. The
// open loop sends on a schedule that does not wait for the broker, and counts
// latency from the scheduled time, so that a broker that stalls is charged for
// every message that should have gone out meanwhile.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// ErrStalled is wrapped by Run's error when deliveries stopped before all
// messages had arrived. The Result returned with it counts the missing ones.
var ErrStalled = errors.New("deliveries stalled")

// progressInterval is how often a run looks at its own progress. It bounds how
// late the end of a run by count is noticed by the stall detector only.
const progressInterval = 100 * time.Millisecond

// run is one load run. Its slices are fixed before the first goroutine starts.
type run struct {
	opts   Options
	base   time.Time // times in payloads are nanoseconds since base
	prefix string    // of all topics
	plan   plan
	props  int // bytes of properties that each delivery has at least
	dialer *dialer
	made   atomic.Uint64 // clients that have connected

	publishers  []*publisher
	subscribers []*subscriber
	recorders   []*recorder
	stalled     []*conn // connected, never read
	bystanders  []*conn // connected, get nothing
	churn       *storm  // clients that come and go meanwhile; nil if there are none

	stop     func()       // makes publishers send no more
	recordAt atomic.Int64 // latency is kept for messages sent at or after this time since base
}

// Run connects all clients, subscribes, applies the load and waits until every
// message has arrived. The Result is meaningful as far as the run got even
// when the error is not nil. Loss and reordering are results, not errors, as
// long as messages keep flowing; a run that stops flowing is ErrStalled.
// Cancelling ctx ends the run early with ctx's error.
func Run(ctx context.Context, opts Options) (Result, error) {
	opts = opts.withDefaults()
	if err := opts.Validate(); err != nil {
		return Result{}, err
	}
	switch opts.Scenario {
	case Connect:
		return runStorm(ctx, opts)
	case Idle:
		return runIdle(ctx, opts)
	}
	r := newRun(opts)
	defer r.forget(context.WithoutCancel(ctx))
	defer r.close()
	connected := watch(&r.opts, connecting, func() uint64 { return r.made.Load() }, nil)
	defer connected()
	if err := r.connect(ctx); err != nil {
		return Result{}, err
	}
	connected()
	return r.measure(ctx)
}

func newRun(opts Options) *run {
	r := &run{opts: opts, base: time.Now(), props: len(userProperties(opts.UserProperties))}
	r.prefix = prefixOf(&opts, r.base)
	r.plan = newPlan(&opts, r.prefix)
	r.recorders = recorders(max(len(r.plan.subscribers), len(r.plan.publishers)))
	return r
}

// measure applies the load to the connected clients. It returns when every
// goroutine it started has ended.
func (r *run) measure(ctx context.Context) (Result, error) {
	readers, live := errgroup.WithContext(ctx)
	for _, s := range r.subscribers {
		readers.Go(s.receive)
	}
	for _, p := range r.publishers {
		readers.Go(p.readAcks)
	}
	// A failure of one client ends all others; without it they would wait for ever.
	unblock := context.AfterFunc(live, r.expire)
	defer unblock()

	start := time.Now().Add(time.Millisecond)
	if r.opts.Warmup > 0 {
		r.recordAt.Store(int64(start.Add(r.opts.Warmup).Sub(r.base)))
	}
	begin := r.mark()
	senders, sending := errgroup.WithContext(live)
	sending, stop := context.WithCancelCause(sending)
	r.stop = func() { stop(errStopped) }
	defer r.stop()
	for _, p := range r.publishers {
		senders.Go(func() error { return p.run(sending, start) })
	}
	if len(r.publishers) == 0 {
		senders.Go(func() error { <-sending.Done(); return nil }) // others send
	}
	if r.plan.churn > 0 {
		r.churn = r.newChurn(sending)
		readers.Go(func() error { return r.churn.open(live) })
	}
	sent := make(chan error, 1)
	go func() {
		err := senders.Wait()
		if err == nil {
			err = r.awaitArrival(live)
		}
		sent <- err
	}()

	watched := watch(&r.opts, running, r.received, r.recorders)
	begin, end, runErr := r.follow(begin, sent)
	watched()
	r.expire()
	readErr := readers.Wait() // ends live, and with it whoever still waits
	<-sent
	switch {
	case ctx.Err() != nil:
		runErr = ctx.Err()
	case readErr != nil:
		runErr = readErr // why a reader failed explains what the senders saw
	}
	return r.result(begin, end), runErr
}

// follow takes the mark at each end of the measured interval; start is the one
// taken before the load. It returns when done reports that all that was sent
// has arrived or why it cannot arrive, or when deliveries stall. It leaves a
// value, or a closed channel, in done.
func (r *run) follow(start mark, done chan error) (begin, end mark, err error) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	// over is the end of the warm-up first, then of the measurement.
	over := time.NewTimer(r.opts.Warmup)
	defer over.Stop()
	warm := false
	begin = start
	stopped := false
	finish := func() {
		if !stopped {
			stopped = true
			end = r.mark()
			r.stop()
		}
	}
	lastCount, lastAt := uint64(0), time.Now()
	for {
		select {
		case <-over.C:
			switch {
			case stopped:
			case warm:
				finish()
			default:
				warm = true
				if r.opts.Warmup > 0 {
					begin = r.mark()
				}
				if r.opts.Duration > 0 {
					over.Reset(time.Until(begin.at.Add(r.opts.Duration)))
				}
			}
		case err = <-done:
			finish()
			close(done)
			return begin, end, err
		case <-tick.C:
			n := r.received()
			if n != lastCount || r.idle() {
				lastCount, lastAt = n, time.Now()
				continue
			}
			if time.Since(lastAt) > r.opts.StallAfter {
				finish()
				return begin, end, r.stallError()
			}
		}
	}
}

// stallError says that nothing arrives any more, and what may help.
func (r *run) stallError() error {
	err := fmt.Errorf("%w: nothing arrived for %v", ErrStalled, r.opts.StallAfter)
	if r.opts.QoS == 0 && r.opts.Rate == 0 {
		err = fmt.Errorf("%w; at QoS 0 a broker may drop what a client does not take in time: "+
			"try --window below %d, or --qos 1", err, r.opts.Window)
	}
	return err
}

// awaitArrival returns when every subscriber has passed the last message of
// each of its publishers and every publish is acknowledged, or ctx ends. The
// senders have ended before.
func (r *run) awaitArrival(ctx context.Context) error {
	for _, p := range r.publishers {
		if err := p.window.await(ctx, p.window.sent.Load()); err != nil {
			return err
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// idle tells whether nothing is on its way.
func (r *run) idle() bool {
	for _, p := range r.publishers {
		if p.window.floor() < p.window.sent.Load() || p.pinging.Load() {
			return false
		}
	}
	return true
}

// received is the number of messages all subscribers got so far or, if there
// are none, of those that the broker has taken.
func (r *run) received() uint64 {
	var n uint64
	for _, s := range r.subscribers {
		n += s.received.Load()
	}
	if len(r.subscribers) == 0 {
		for _, p := range r.publishers {
			n += p.window.floor()
		}
	}
	return n
}

// published is the number of messages that all publishers have sent so far.
func (r *run) published() uint64 {
	var n uint64
	for _, p := range r.publishers {
		n += p.window.sent.Load()
	}
	return n
}

// end is a connection, whoever speaks MQTT on it.
type end interface {
	expire() // makes every blocked read and write return at once
	close()  // says goodbye and closes
}

// ends are all connections there are.
func (r *run) ends() (all []end) {
	for _, p := range r.publishers {
		if p != nil {
			all = append(all, p.end())
		}
	}
	for _, s := range r.subscribers {
		if s != nil {
			all = append(all, s.end())
		}
	}
	for _, c := range slices.Concat(r.stalled, r.bystanders) {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// expire makes every blocked read and write return at once.
func (r *run) expire() {
	for _, e := range r.ends() {
		e.expire()
	}
}

// close says goodbye and closes all connections.
func (r *run) close() {
	for _, e := range r.ends() {
		e.close()
	}
}
