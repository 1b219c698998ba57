package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// A machine of its own, which the broker's binary starts and has configured, takes
// long to boot, and all that it does.
const (
	bootLimit  = 10 * time.Minute
	powerQuiet = 2 * time.Minute // without any progress
)

// startMachine starts what boots the machine on which the broker is.
func (b *broker) startMachine() error {
	p, err := child.Start(exec.Command(b.binary), nil)
	if err != nil {
		return fmt.Errorf("the machine: %w", err)
	}
	c := &life{Process: p, ready: make(chan struct{})}
	go func() {
		for !c.Gone() {
			if b.answers() {
				close(c.ready)
				return
			}
			_ = pause(context.Background(), 200*time.Millisecond)
		}
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life = c
	return nil
}

// answers reports whether the broker lets a client in.
func (b *broker) answers() bool {
	l, _, err := link.Open(context.Background(), b.machine, &wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "is-it-up"}, replyWait)
	if err != nil {
		return false
	}
	_ = l.Write(wire.AppendDisconnect(nil, wire.V5, wire.Success, ""))
	_, _ = io.Copy(io.Discard, l.Conn)
	return l.Conn.Close() == nil
}

// powerMode cuts the power of the broker's machine at random moments, of which one
// in four is while it boots.
func (r *run) powerMode(ctx context.Context) error {
	rng := r.fleet.rng(1)
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for i := range r.rounds {
		if err := r.cutPower(ctx, rng); err != nil {
			return err
		}
		fmt.Fprintf(r.log, "torture: cut %d of %d, %4.0f s: %s\n", i+1, r.rounds, time.Since(r.begin).Seconds(), r.fleet.books.summary())
	}
	return r.finish(ctx)
}

// cutPower ends a machine whose broker is ready, and leaves one that is.
func (r *run) cutPower(ctx context.Context, rng *rand.Rand) error {
	kind := "at work"
	if err := pause(ctx, between(rng, 100*time.Millisecond, 15*time.Second)); err != nil {
		return err
	}
	if rng.IntN(4) == 0 {
		kind = "in boot"
		if err := r.kill("at work"); err != nil {
			return err
		}
		if err := r.broker.start(); err != nil {
			return err
		}
		if err := pause(ctx, between(rng, time.Second, r.usualReady())); err != nil {
			return err
		}
	}
	if err := r.kill(kind); err != nil {
		return err
	}
	return r.up(ctx, "power cut "+kind)
}
