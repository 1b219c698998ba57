package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// stopMode freezes the broker for a while, as a hypervisor, a debugger or a
// suspended machine does, and kills it frozen now and then.
func (r *run) stopMode(ctx context.Context) error {
	rng := r.fleet.rng(2)
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for i := 1; i <= r.rounds; i++ {
		if err := pause(ctx, between(rng, 5*time.Millisecond, time.Second)); err != nil {
			return err
		}
		r.fleet.trace.note(brokerTrace, "SIGSTOP")
		if err := r.broker.signal(syscall.SIGSTOP); err != nil {
			return fmt.Errorf("%w: %w", errExited, err)
		}
		if err := pause(ctx, between(rng, time.Millisecond, 3*time.Second)); err != nil {
			return err
		}
		if rng.IntN(8) == 0 {
			if err := r.kill("while stopped"); err != nil {
				return err
			}
			if err := r.up(ctx, "killed while stopped"); err != nil {
				return err
			}
			continue
		}
		r.kinds["stopped and continued"]++
		r.fleet.books.checks(alive)
		r.fleet.trace.note(brokerTrace, "SIGCONT")
		begin := time.Now()
		if err := r.broker.signal(syscall.SIGCONT); err != nil {
			return fmt.Errorf("%w: %w", errExited, err)
		}
		if err := r.ping(ctx); err != nil {
			return err
		}
		r.judgeReady("continued", time.Since(begin))
		if i%settleEvery == 0 && i < r.rounds {
			if err := r.settle(ctx); err != nil {
				return err
			}
			r.fleet.resume()
		}
	}
	return r.finish(ctx)
}

// ping connects as a new client and makes a round trip. It tries again until
// that succeeds, for at most readyLimit.
func (r *run) ping(ctx context.Context) error {
	for deadline := time.Now().Add(readyLimit); ; {
		err := r.pingOnce(ctx)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (r *run) pingOnce(ctx context.Context) error {
	c := wire.Connect{Version: wire.V311, CleanStart: true, ClientID: "ping"}
	l, _, err := link.Open(ctx, r.broker.where(0), &c, replyWait)
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	if err := l.Write(wire.AppendPing(nil, wire.PINGREQ)); err != nil {
		return err
	}
	_, err = l.ReadWithin(replyWait)
	return err
}
