package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// fileLimit leaves the broker room for the fleet and its store, and little more.
const fileLimit = 64

// filesMode lets strangers use up the broker's file descriptors again and
// again, and kills it now and then meanwhile.
func (r *run) filesMode(ctx context.Context) error {
	rng := r.fleet.rng(3)
	r.broker.files = fileLimit
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for i := 1; i <= r.rounds; i++ {
		idle := r.crowd(ctx)
		r.fleet.trace.note(brokerTrace, "%d idle connections", len(idle))
		err := pause(ctx, between(rng, 20*time.Millisecond, 2*time.Second))
		if err == nil && rng.IntN(4) == 0 {
			if err = r.kill("without file descriptors"); err == nil {
				err = r.up(ctx, "killed without file descriptors")
			}
		} else if err == nil {
			r.kinds["file descriptors used up"]++
			r.fleet.books.checks(alive)
		}
		for _, conn := range idle {
			conn.Close()
		}
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := r.ping(ctx); err != nil {
			return fmt.Errorf("reach the broker after the crowd has gone: %w", err)
		}
		r.judgeReady("descriptors free again", time.Since(begin))
		if i%settleEvery == 0 && i < r.rounds {
			if err := r.settle(ctx); err != nil {
				return err
			}
			r.fleet.resume()
		}
	}
	return r.finish(ctx)
}

// crowd connects clients that do nothing, more than there are descriptors for.
func (r *run) crowd(ctx context.Context) (idle []net.Conn) {
	for i := range 2 * fileLimit {
		conn, err := dial.Broker(ctx, r.broker.where(0), 50*time.Millisecond)
		if err != nil {
			break // the queue of the listener is full as well
		}
		idle = append(idle, conn)
		c := wire.Connect{Version: wire.V311, CleanStart: true, ClientID: fmt.Sprintf("idle-%d", i)}
		if err := link.New(conn, c.Version, replyWait).Write(wire.AppendConnect(nil, &c)); err != nil {
			break
		}
	}
	return idle
}
