package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// settleEvery is the number of rounds after which all must have arrived.
const settleEvery = 50

// killMode kills the broker at random moments: while it recovers, at work, and
// when it has just begun or removed a file, as it does around checkpoints.
func (r *run) killMode(ctx context.Context) error {
	rng := r.fleet.rng(1)
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for i := 1; i <= r.rounds; i++ {
		if err := r.killOnce(ctx, rng); err != nil {
			return err
		}
		if i%settleEvery == 0 && i < r.rounds {
			if err := r.settle(ctx); err != nil {
				return err
			}
			r.fleet.resume()
		}
	}
	return r.finish(ctx)
}

// killOnce kills a broker that is ready, and leaves one that is.
func (r *run) killOnce(ctx context.Context, rng *rand.Rand) error {
	kind := "at work"
	switch k := rng.IntN(100); {
	case k < 60:
		if err := pause(ctx, between(rng, time.Millisecond, 1500*time.Millisecond)); err != nil {
			return err
		}
	case k < 67:
		kind = "after long work"
		if err := pause(ctx, between(rng, 2*time.Second, 5*time.Second)); err != nil {
			return err
		}
	case k < 85:
		kind = "as files changed"
		if err := r.awaitFileChange(ctx, rng); err != nil {
			return err
		}
	default:
		kind = "in recovery"
		if err := r.kill("at work"); err != nil {
			return err
		}
		if err := r.broker.start(); err != nil {
			return err
		}
		r.fleet.trace.note(brokerTrace, "started")
		if err := pause(ctx, between(rng, 2*time.Millisecond, r.usualReady())); err != nil {
			return err
		}
	}
	if err := r.kill(kind); err != nil {
		return err
	}
	return r.up(ctx, "killed "+kind)
}

// usualReady is a little more than the time that the broker has taken of late.
func (r *run) usualReady() time.Duration {
	most := 10 * time.Millisecond
	for _, times := range r.times {
		most = max(most, times[len(times)-1])
	}
	return most + most/4
}

// awaitFileChange waits, for at most some seconds, until files appear or go in
// the data directory, and then a moment that may be none.
func (r *run) awaitFileChange(ctx context.Context, rng *rand.Rand) error {
	dir := filepath.Join(r.dir, "data")
	before := fileNames(dir)
	for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline) && fileNames(dir) == before; {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, time.Duration(rng.IntN(4))*time.Millisecond)
}
