package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

// broker is the process that is looked at.
type broker struct {
	address string
	pid     int
	process *child.Process // nil: somebody else's
	dir     string
}

// startBroker runs edgebroker with its defaults, but for its port and a bound of
// connections that fits the crowd.
func startBroker(ctx context.Context, o options) (*broker, error) {
	dir, err := os.MkdirTemp("", "many")
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir}
	config := filepath.Join(dir, "edgebroker.yml")
	text := fmt.Sprintf("log: {format: json}\nlimits: {max_connections: %d}\n", o.clients+100)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	args := []string{"serve", "--config", config, "--listen", "127.0.0.1:0", "--socket", filepath.Join(dir, "c.sock")}
	if o.data {
		args = append(args, "--data", filepath.Join(dir, "data"))
	}
	if b.process, err = child.Start(exec.Command(o.binary, args...), nil); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b.pid = b.process.PID()
	if b.address, err = b.process.Listening(ctx, 20*time.Second); err == nil {
		err = b.settle(ctx)
	}
	if err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *broker) stop() {
	b.process.Kill()
	_ = os.RemoveAll(b.dir)
}

// spare is how many more descriptors than at first are no leak: those that the
// runtime and the log take when they are needed.
const spare = 4

var errOpen = errors.New("the broker keeps sockets of clients that have gone")

// awaitDescriptors waits until the broker has as few descriptors as at first.
func (b *broker) awaitDescriptors(ctx context.Context, first int) error {
	return await(ctx, func() (bool, error) {
		f, err := child.Look(b.pid)
		return f.Descriptors <= first+spare, err
	}, errOpen)
}

// settle waits until the broker has used no processor time for a moment.
func (b *broker) settle(ctx context.Context) error {
	last, still := time.Duration(-1), 0
	return await(ctx, func() (bool, error) {
		f, err := child.Look(b.pid)
		if f.Processor != last {
			last, still = f.Processor, 0
		}
		still++
		return still > 5, err
	}, errors.New("the broker does not come to rest"))
}

// await polls until done, or returns otherwise after half a minute.
func await(ctx context.Context, done func() (bool, error), otherwise error) error {
	look, end := time.NewTicker(50*time.Millisecond), time.NewTimer(30*time.Second)
	defer look.Stop()
	defer end.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-look.C:
		case <-end.C:
			return otherwise
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
