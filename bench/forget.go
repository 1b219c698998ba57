package bench

import (
	"context"

	"github.com/synthetism/edgebroker/wire"
)

// forget removes what a run would leave behind in the broker: kept sessions,
// as a client does that connects without wanting one, and retained messages.
// All connections are closed. A broker that cannot be reached keeps both.
func (r *run) forget(ctx context.Context) {
	if r.dialer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if r.opts.Kept {
		_ = each(ctx, len(r.subscribers), func(ctx context.Context, i int) error {
			if r.subscribers[i] == nil {
				return nil
			}
			c, err := r.dialer.connect(ctx, r.subscribers[i].conn.name, session{})
			if err == nil {
				c.close()
			}
			return err
		})
	}
	r.clearRetained(ctx)
}

// clearRetained publishes nothing to each topic that has a retained message,
// which removes it.
func (r *run) clearRetained(ctx context.Context) {
	var out []byte
	for i, p := range r.plan.publishers {
		if !p.retain || r.publishers == nil || r.publishers[i] == nil {
			continue
		}
		for k := range min(uint64(p.topics), r.publishers[i].window.sent.Load()) {
			out = wire.AppendPublish(out, &wire.Out{Version: r.opts.Version, Retain: true, Topic: []byte(topicOf(p.base, p.topics, int(k)))}, 0)
		}
	}
	if out == nil {
		return
	}
	c, err := r.dialer.connect(ctx, r.clientID("clear", 0), session{})
	if err != nil {
		return
	}
	defer c.close()
	// The answer says that the broker has read all that stands before.
	_, _ = c.exchange(wire.AppendPing(out, wire.PINGREQ), wire.PINGRESP)
}
