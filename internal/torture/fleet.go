package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Sizes of the fleet. The last topic is subscribed late, at a random moment.
const (
	publishers  = 6
	subscribers = 6
	topics      = 4
	cells       = 4 // retained topics of each publisher
	nearby      = 4 // subscribers that are not behind the uplink, if there is one
)

// fleet is the clients that a broker has during a run.
type fleet struct {
	books *books
	trace *trace
	where func(client int) string // address of the broker for a client
	far   func() string           // address of the broker behind the uplink, for subscribers from nearby on; nil: there is none

	seed      uint64
	rate      float64 // messages per second, all publishers together
	maxBehind int64   // deliveries due beyond which publishers wait

	paused   atomic.Bool // publishers send nothing new
	gathered atomic.Bool // subscribers stay connected
	away     atomic.Bool // subscribers stay away
	freely   atomic.Bool // publishers do not wait for subscribers
	open     atomic.Int64
	online   atomic.Int64 // subscribers that are connected

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newFleet(seed uint64, where func(client int) string) *fleet {
	t := newTrace()
	return &fleet{books: newBooks(t), trace: t, where: where, seed: seed, rate: 1500, maxBehind: 20000}
}

// at is the address at which a subscriber connects; turn chooses among several.
func (f *fleet) at(subscriber, turn int) string {
	if f.far != nil && subscriber >= nearby {
		return f.far()
	}
	return f.where(subscriber + turn)
}

// start brings up all clients. They connect by themselves as soon as there is
// a broker, and again whenever it comes back.
func (f *fleet) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	for i := range subscribers {
		s := newSubscriber(f, i)
		f.done.Go(func() { s.run(ctx) })
	}
	for i := range publishers {
		p := newPublisher(f, i)
		f.done.Go(func() { p.run(ctx) })
	}
	f.done.Go(func() { f.inspect(ctx) })
}

// stop ends all clients, wherever they are, if they were started.
func (f *fleet) stop() {
	if f.cancel != nil {
		f.cancel()
	}
	f.done.Wait()
}

// rng is the random numbers of one part of the run. With the same seed each
// part gets the same ones; when they meet is up to the machine.
func (f *fleet) rng(part uint64) *rand.Rand { return rand.New(rand.NewPCG(f.seed, part)) }

// errUnsettled means that something is owed that does not come.
var errUnsettled = errors.New("something was still owed when nothing moved any more")

// settle lets publishers send nothing new until everything sent has been
// answered and has arrived, which is given up when nothing has moved for
// patience. The broker must be up. Publishers stay silent and subscribers
// connected until resume is called.
func (f *fleet) settle(ctx context.Context, patience time.Duration) error {
	f.paused.Store(true)
	f.gathered.Store(true)
	last, moved := [2]int64{}, time.Now()
	for {
		owed, example := f.books.awaited()
		now := [2]int64{f.open.Load(), int64(owed)}
		if now == [2]int64{} {
			return nil
		}
		if now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("%w for %v: %d messages unanswered, %d deliveries owed: %s", errUnsettled, patience, now[0], now[1], example)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// resume ends what settle began.
func (f *fleet) resume() {
	f.paused.Store(false)
	f.gathered.Store(false)
}

// pause waits, or returns the error of ctx when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// between is a random time from lo to hi, short ones as likely as long ones:
// what breaks shows itself at quite different scales.
func between(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	return time.Duration(float64(lo) * math.Pow(float64(hi)/float64(lo), rng.Float64()))
}

// kept is the CONNECT of a session that outlives connections and broker.
func kept(v wire.Version, id string) wire.Connect {
	c := wire.Connect{Version: v, ClientID: id}
	if v == wire.V5 {
		c.SessionExpiry = 0xFFFFFFFF
	}
	return c
}

// version gives every other client MQTT 5.
func version(i int) wire.Version {
	if i%2 == 1 {
		return wire.V5
	}
	return wire.V311
}
