package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/synthetism/edgebroker/wire"
)

// CrowdOptions say what a crowd does. The broker must let its clients use the
// topics below their root, but those below root/secret, and keep no session of
// theirs.
type CrowdOptions struct {
	Addr     string
	Seed     uint64
	Duration time.Duration // how long it publishes
	Clients  int           // a multiple of 20
	Rate     int           // messages per second, of all publishers together

	// Lost asks the broker how many messages it says that a client has missed.
	Lost func(client string) (uint64, error)
	// Kick asks the broker to disconnect a client.
	Kick func(client string) error
}

// CrowdTally is what a crowd has counted.
type CrowdTally struct {
	Connects    uint64            // accepted
	Turned      uint64            // refused with CONNACK
	Disconnects map[string]uint64 // by reason; sums up to Connects

	Published Traffic // by clients, without those that were refused
	Unheard   uint64  // of these, to topics that nobody has subscribed to
	Refused   uint64  // publishes to topics that are not theirs
	Wills     Traffic // by the broker, for clients that dropped
	Denied    uint64  // subscriptions refused
	Delivered Traffic // PUBLISH packets that came to clients, repeated ones included

	Readers map[string]*ReaderTally // by client
	Groups  map[string]*ReaderTally // by shared subscription: members' sums
}

// ReaderTally is about one client that has been subscribed all the time.
type ReaderTally struct {
	Meant  uint64 // messages published to what it has subscribed to
	Got    uint64 // different ones that came
	Again  uint64 // that came once more
	Lost   uint64 // that the broker says it has missed
	Pauses uint64 // times that it was away, or did not read
}

// Crowd root topics.
const (
	crowdRoot  = "crowd"
	crowdLines = 4 // readers differ in the lines that they read
)

// crowd is a load in progress.
type crowd struct {
	CrowdOptions

	mu        sync.Mutex
	tally     CrowdTally
	published [crowdLines]uint64
	members   map[string][]string // of shared subscriptions
}

// RunCrowd has many clients publish, read, flap, take over, be slow and be
// refused at the same time, until the time is over; then everybody reads what
// is left for it, and goes. Its books are exact: whoever ends a connection has
// read until its end, and what was sent before is read by a broker that is
// right.
func RunCrowd(ctx context.Context, o CrowdOptions) (CrowdTally, error) {
	c := &crowd{CrowdOptions: o, members: map[string][]string{}, tally: CrowdTally{Disconnects: map[string]uint64{},
		Readers: map[string]*ReaderTally{}, Groups: map[string]*ReaderTally{}}}
	readers, err := c.subscribeAll()
	if err != nil {
		return c.tally, fmt.Errorf("crowd: %w", err)
	}
	live, over := context.WithTimeout(ctx, o.Duration)
	defer over()
	finish := make(chan struct{})
	all, ctx := errgroup.WithContext(ctx)
	for _, r := range readers {
		all.Go(func() error { return named(r.id, r.read(ctx, live, finish)) })
	}
	var busy errgroup.Group
	for i := range o.Clients / 20 {
		c.employ(live, &busy, i)
	}
	err = busy.Wait()
	c.settle(readers)
	close(finish)
	if err = errors.Join(err, all.Wait()); err != nil {
		return c.tally, fmt.Errorf("crowd: %w", err)
	}
	c.sum()
	return c.tally, nil
}

func named(id string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return nil
}

// employ starts the 13 of each 20 clients that do not read.
func (c *crowd) employ(live context.Context, busy *errgroup.Group, i int) {
	start := func(role string, n int, work func(w *worker, live context.Context) error) {
		for j := range n {
			w := &worker{crowd: c, id: fmt.Sprintf("%s-%d-%d", role, i, j), rng: rand.New(rand.NewPCG(c.Seed, uint64(i*100+j)))}
			w.rng.Uint64()
			busy.Go(func() error { return named(w.id, work(w, live)) })
		}
	}
	start("source", 5, (*worker).publishSteadily)
	start("flap", 5, (*worker).flap)
	start("twin", 1, (*worker).takeOver)
	start("pest", 1, (*worker).beRefused)
	start("victim", 1, (*worker).beKicked)
}

// count changes the tally.
func (c *crowd) count(change func(*CrowdTally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.tally)
}

// publishedTo notes a message for the readers of a line.
func (c *crowd) publishedTo(line int, o *wire.Out) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Published.add(o.QoS, o.Payload)
	c.published[line]++
}

// settle tells readers how many messages were meant for them.
func (c *crowd) settle(readers []*reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum uint64
	for _, n := range c.published {
		sum += n
	}
	for _, r := range readers {
		r.tally.Meant = sum
		if r.line >= 0 {
			r.tally.Meant = c.published[r.line]
		}
	}
}

// sum makes the tallies of groups.
func (c *crowd) sum() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for group, members := range c.members {
		g := &ReaderTally{}
		for _, id := range members {
			r := c.tally.Readers[id]
			g.Meant = r.Meant // each is meant for the group once
			g.Got, g.Again, g.Lost = g.Got+r.Got, g.Again+r.Again, g.Lost+r.Lost
			delete(c.tally.Readers, id)
		}
		c.tally.Groups[group] = g
	}
}
