package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"github.com/synthetism/edgebroker/wire"
)

const (
	// connectAtOnce bounds the handshakes on their way before a run.
	connectAtOnce = 32
	// subscriptionsEach is how many of the further subscriptions one client has.
	subscriptionsEach = 500
)

// prefixOf is above all topics of a run. It carries the process id and start
// time of the run: two runs at once do not mix.
func prefixOf(o *Options, base time.Time) string {
	return fmt.Sprintf("%s/%d-%x", o.Topic, os.Getpid(), base.UnixNano())
}

// connect brings up all subscribers, then all publishers, and links each
// publisher's window to the subscribers that get its messages.
func (r *run) connect(ctx context.Context) error {
	o := &r.opts
	idle := (o.Subscriptions + subscriptionsEach - 1) / subscriptionsEach
	files := churnAtOnce
	if o.Rate > 0 {
		files += len(r.plan.publishers) // clocks
	}
	var err error
	if r.dialer, err = newDialer(o, len(r.plan.publishers)+len(r.plan.subscribers)+o.Stalled+idle, files); err != nil {
		return err
	}
	r.bystanders = make([]*conn, idle)
	err = each(ctx, idle, r.connectBystander)
	if err != nil {
		return err
	}
	r.subscribers = make([]*subscriber, len(r.plan.subscribers))
	err = each(ctx, len(r.subscribers), r.connectSubscriber)
	if err != nil {
		return err
	}
	if err := r.connectStalled(ctx); err != nil {
		return err
	}
	r.publishers = make([]*publisher, len(r.plan.publishers))
	err = each(ctx, len(r.publishers), r.connectPublisher)
	if err != nil {
		return err
	}
	r.link()
	return nil
}

// each calls do for 0 to n-1, some at a time, and returns the first error.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, live := errgroup.WithContext(ctx)
	g.SetLimit(connectAtOnce)
	for i := range n {
		if live.Err() != nil {
			break
		}
		g.Go(func() error { return do(live, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (r *run) clientID(kind string, i int) string {
	return fmt.Sprintf("bench-%s-%d-%x", kind, i, r.base.UnixNano())
}

func (r *run) connectSubscriber(ctx context.Context, i int) error {
	plan := r.plan.subscribers[i]
	if r.opts.Client == Paho {
		return r.connectPahoSubscriber(ctx, i)
	}
	c, err := r.client(ctx, plan.kind, i, session{kept: r.opts.Kept})
	if err != nil {
		return err
	}
	r.subscribers[i] = &subscriber{conn: c, run: r, rec: r.recorders[i%len(r.recorders)], foreign: r.opts.Scenario == Sub}
	if r.subscribers[i].foreign {
		// The answer comes to the one who reads messages: some may be faster.
		return c.write(wire.AppendSubscribe(nil, c.version, &wire.Subscribe{PacketID: 1, Filters: plan.filters}))
	}
	return c.subscribe(plan.filters...)
}

func (r *run) connectPahoSubscriber(ctx context.Context, i int) error {
	plan := r.plan.subscribers[i]
	s := &subscriber{run: r, rec: r.recorders[i%len(r.recorders)], paho: &pahoReceiver{ready: make(chan struct{})}}
	var err error
	if s.paho.pahoClient, err = r.dialer.connectPaho(ctx, r.clientID(plan.kind, i), s.takePaho); err != nil {
		return err
	}
	r.made.Add(1)
	r.subscribers[i] = s
	return s.paho.subscribe(ctx, plan.filters...)
}

func (r *run) connectPublisher(ctx context.Context, i int) error {
	if r.opts.Client == Paho {
		c, err := r.dialer.connectPaho(ctx, r.clientID("pub", i), func(*paho.Publish) {})
		if err != nil {
			return err
		}
		r.made.Add(1)
		r.publishers[i], err = newPublisher(r, nil, c, uint32(i), r.plan.publishers[i])
		return err
	}
	c, err := r.client(ctx, "pub", i, session{})
	if err != nil {
		return err
	}
	if r.publishers[i], err = newPublisher(r, c, nil, uint32(i), r.plan.publishers[i]); err != nil {
		c.close()
	}
	return err
}

// client connects the i-th of a kind.
func (r *run) client(ctx context.Context, kind string, i int, s session) (*conn, error) {
	c, err := r.dialer.connect(ctx, r.clientID(kind, i), s)
	if err == nil {
		r.made.Add(1)
	}
	return c, err
}

// link makes a stream of all that a subscriber hears.
func (r *run) link() {
	for i, s := range r.subscribers {
		for _, h := range r.plan.subscribers[i].hears {
			st := stream{hearing: h, at: r.publishers[h.publisher].window.newPosition()}
			st.at.n.Store(h.offset)
			if topics := r.plan.publishers[h.publisher].topics; topics > 1 && h.stride == 1 {
				st.sequence.topics = make([]uint64, topics)
			}
			s.streams = append(s.streams, st)
		}
	}
}

// connectBystander brings up a client with subscriptions to which nobody
// publishes.
func (r *run) connectBystander(ctx context.Context, i int) error {
	c, err := r.client(ctx, "bystander", i, session{})
	if err != nil {
		return err
	}
	r.bystanders[i] = c
	first := i * subscriptionsEach
	filters := make([]wire.Filter, min(subscriptionsEach, r.opts.Subscriptions-first))
	for k := range filters {
		filters[k] = wire.Filter{Filter: fmt.Sprintf("%s/bystander/%d/%d", r.prefix, i, first+k), QoS: r.opts.QoS}
	}
	return c.subscribe(filters...)
}

// stalledBuffer is the receive buffer in bytes that a stalled subscriber asks
// the kernel for, so that it fills at once.
const stalledBuffer = 4 << 10

// connectStalled brings up the subscribers that get everything and read
// nothing. They have no keep alive, so that the broker has no reason to end
// them but the backlog.
func (r *run) connectStalled(ctx context.Context) error {
	for i := range r.opts.Stalled {
		c, err := r.client(ctx, "stalled", i, session{})
		if err != nil {
			return err
		}
		r.stalled = append(r.stalled, c)
		if tc, ok := c.net.(*net.TCPConn); ok {
			if err := tc.SetReadBuffer(stalledBuffer); err != nil {
				return fmt.Errorf("stall %s: %w", c.name, err)
			}
		}
		if err := c.subscribe(wire.Filter{Filter: r.prefix + "/#", QoS: r.opts.QoS}); err != nil {
			return err
		}
	}
	return nil
}
