package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// smallDisk is the size of the file system that is filled.
const smallDisk = 64 << 20

// mountSmall mounts an empty file system in memory at dir.
func mountSmall(dir string) (unmount func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a place for the small disk: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		return nil, fmt.Errorf("mount a small disk at %s: %w; this needs root", dir, err)
	}
	return func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }, nil
}

const (
	fullWait    = 120 * time.Second // until a disk that cannot hold more is noticed
	recoverWait = 30 * time.Second  // until space that is back is noticed
)

// fullMode fills the disk: in turn with the messages of subscribers that stay
// away, and with a file of somebody else. The broker must refuse, go on with
// what needs no disk, survive a kill, and accept again when there is space.
func (r *run) fullMode(ctx context.Context) error {
	rng := r.fleet.rng(4)
	r.fleet.rate = max(r.fleet.rate, 6000)
	if err := r.up(ctx, "at first"); err != nil {
		return err
	}
	r.fleet.start(ctx)
	for i := 1; i <= r.rounds; i++ {
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		filler := filepath.Join(r.dir, "data", "filler")
		r.fleet.away.Store(true)
		r.fleet.freely.Store(true)
		kind := "filled by messages"
		if i%2 == 0 {
			kind = "filled by others"
			if err := fill(filler, int64(rng.IntN(8<<20))); err != nil {
				return err
			}
		}
		r.kinds[kind]++
		r.fleet.trace.note(brokerTrace, kind)
		if err := r.whileFull(ctx, rng.IntN(2) == 0); err != nil {
			return err
		}
		r.fleet.away.Store(false)
		r.fleet.freely.Store(false)
		if err := os.Remove(filler); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		r.fleet.trace.note(brokerTrace, "space again")
		begin := time.Now()
		before := r.fleet.books.counts()
		// Publishers wait until subscribers have caught up; one that may go on
		// must be accepted.
		r.fleet.freely.Store(true)
		err := r.await(ctx, recoverWait, func() bool { return r.fleet.books.counts().accepted >= before.accepted+100 })
		r.fleet.freely.Store(false)
		if err != nil {
			r.fleet.books.breach(answered, nil, "%s, then space again for %v, and still nothing is accepted", kind, recoverWait)
			return errUnsettled
		}
		r.times["accepting again"] = append(r.times["accepting again"], time.Since(begin))
		if err := r.settle(ctx); err != nil {
			return err
		}
		if i < r.rounds {
			r.fleet.resume()
		}
	}
	return r.finish(ctx)
}

// whileFull waits until the broker refuses, and sees what else it does.
func (r *run) whileFull(ctx context.Context, kill bool) error {
	before := r.fleet.books.counts()
	if err := r.await(ctx, fullWait, func() bool { return r.fleet.books.counts().refusals >= before.refusals+20 }); err != nil {
		r.fleet.books.breach(answered, nil, "the disk is full and nothing was refused for %v (%s)", fullWait, r.fleet.books.summary())
		return errUnsettled
	}
	r.fleet.books.checks(alive)
	if err := r.unstored(ctx); err != nil {
		r.fleet.books.breach(notLost, nil, "QoS 0 does not flow while the disk is full: %v", err)
	}
	if !kill {
		return nil
	}
	if err := r.kill("while full"); err != nil {
		return err
	}
	if err := r.up(ctx, "killed while full"); err != nil {
		return err
	}
	return pause(ctx, time.Second)
}

// unstored sends a message that needs no disk, and receives it.
func (r *run) unstored(ctx context.Context) error {
	c := wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "unstored"}
	l, _, err := link.Open(ctx, r.broker.where(0), &c, replyWait)
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	sub := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "unstored"}}}
	b := wire.AppendSubscribe(nil, wire.V5, &sub)
	b = wire.AppendPublish(b, &wire.Out{Version: wire.V5, Topic: []byte("unstored"), Payload: []byte("x")}, 0)
	if err := l.Write(b); err != nil {
		return err
	}
	for {
		f, err := l.ReadWithin(replyWait)
		if err != nil || f.Type == wire.PUBLISH {
			return err
		}
	}
}

// await polls until ok is true, for at most limit.
func (r *run) await(ctx context.Context, limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			return os.ErrDeadlineExceeded
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a file that leaves the file system no more than left bytes.
func fill(path string, left int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<16)
	for free := int64(fs.Bavail) * int64(fs.Bsize); free > left; free -= int64(len(chunk)) {
		if _, err := f.Write(chunk); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}
