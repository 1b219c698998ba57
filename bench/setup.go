package bench

import (
	"context"
	"fmt"
	"net"
	"os"
)

// connect brings up all subscribers, then all publishers, and links each
// publisher's window to the subscribers that get its messages. Topics carry
// the process id and start time of the run: two runs at once do not mix.
func (r *run) connect(ctx context.Context) error {
	o := &r.opts
	prefix := fmt.Sprintf("bench/%d-%x", os.Getpid(), r.base.UnixNano())
	publishers, subscribers := o.counts()
	for i := range subscribers {
		filter := prefix + "/+"
		if o.Scenario == Pairs {
			filter = fmt.Sprintf("%s/%d", prefix, i)
		}
		c, err := dial(ctx, o, fmt.Sprintf("bench-sub-%d-%x", i, r.base.UnixNano()), o.Kept)
		if err != nil {
			return err
		}
		s := &subscriber{conn: c, run: r}
		r.subscribers = append(r.subscribers, s)
		if err := c.subscribe(filter, o.QoS); err != nil {
			return err
		}
	}
	if err := r.connectStalled(ctx, prefix); err != nil {
		return err
	}
	for i := range publishers {
		c, err := dial(ctx, o, fmt.Sprintf("bench-pub-%d-%x", i, r.base.UnixNano()), false)
		if err != nil {
			return err
		}
		p := newPublisher(r, c, uint32(i), fmt.Sprintf("%s/%d", prefix, i))
		r.publishers = append(r.publishers, p)
		for j, s := range r.subscribers {
			if o.Scenario == Pairs && j != i {
				continue
			}
			s.streams = append(s.streams, stream{publisher: uint32(i), at: p.window.newPosition()})
		}
	}
	return nil
}

// stalledBuffer is the receive buffer in bytes that a stalled subscriber asks
// the kernel for, so that it fills at once.
const stalledBuffer = 4 << 10

// connectStalled brings up the subscribers that get everything and read
// nothing. They have no keep alive, so that the broker has no reason to end
// them but the backlog.
func (r *run) connectStalled(ctx context.Context, prefix string) error {
	for i := range r.opts.Stalled {
		c, err := dial(ctx, &r.opts, fmt.Sprintf("bench-stalled-%d-%x", i, r.base.UnixNano()), false)
		if err != nil {
			return err
		}
		r.stalled = append(r.stalled, c)
		if tc, ok := c.net.(*net.TCPConn); ok {
			if err := tc.SetReadBuffer(stalledBuffer); err != nil {
				return fmt.Errorf("stall %s: %w", c.name, err)
			}
		}
		if err := c.subscribe(prefix+"/+", r.opts.QoS); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the kept sessions of the run, as a client does that connects
// without wanting one. The subscribers' connections are closed. A broker that
// cannot be reached keeps its sessions.
func (r *run) forget(ctx context.Context) {
	if !r.opts.Kept {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	for _, s := range r.subscribers {
		c, err := dial(ctx, &r.opts, s.conn.name, false)
		if err != nil {
			return
		}
		c.close()
	}
}
