package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// broker is the process that is looked at.
type broker struct {
	address string
	pid     int
	cmd     *exec.Cmd // nil: somebody else's
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
	b.cmd = exec.Command(o.binary, args...)
	log, err := b.cmd.StderrPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the broker: %w", err), os.RemoveAll(dir))
	}
	b.pid = b.cmd.Process.Pid
	patience := time.AfterFunc(20*time.Second, func() { _ = b.cmd.Process.Kill() })
	defer patience.Stop()
	said := make([]byte, 0, 4096)
	for piece := make([]byte, 4096); b.address == ""; {
		n, err := log.Read(piece)
		said = append(said, piece[:n]...)
		if b.address = addressIn(said); err != nil && b.address == "" {
			b.stop()
			return nil, fmt.Errorf("the broker was not ready in time:\n%s", said)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // ends with the broker
	if err := b.settle(ctx); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// addressIn finds the address in a log as JSON.
func addressIn(log []byte) string {
	for line := range bytes.Lines(log) {
		var said struct{ Msg, Address string }
		if json.Unmarshal(line, &said) == nil && strings.HasPrefix(said.Msg, "listening") {
			return said.Address
		}
	}
	return ""
}

func (b *broker) stop() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // how it ended is known
	_ = os.RemoveAll(b.dir)
}

// figures are what the kernel says of a process.
type figures struct {
	resident, anonymous  int64
	descriptors, threads int
	processor            time.Duration
}

const clockTick = 10 * time.Millisecond // USER_HZ, the same on all our machines

func (b *broker) look() (f figures, err error) {
	dir := fmt.Sprintf("/proc/%d", b.pid)
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	number := func(key string) int64 {
		_, rest, _ := strings.Cut(string(text), "\n"+key+":")
		n, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
		return n
	}
	f.resident, f.anonymous, f.threads = number("VmRSS")<<10, number("RssAnon")<<10, int(number("Threads"))
	open, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	f.descriptors = len(open)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if words := strings.Fields(rest); len(words) > 12 {
		for _, w := range words[11:13] { // utime, stime
			n, _ := strconv.ParseInt(w, 10, 64)
			f.processor += time.Duration(n) * clockTick
		}
	}
	return f, nil
}

// spare is how many more descriptors than at first are no leak: those that the
// runtime and the log take when they are needed.
const spare = 4

var errOpen = errors.New("the broker keeps sockets of clients that have gone")

// awaitDescriptors waits until the broker has as few descriptors as at first.
func (b *broker) awaitDescriptors(ctx context.Context, first int) error {
	return await(ctx, func() (bool, error) {
		f, err := b.look()
		return f.descriptors <= first+spare, err
	}, errOpen)
}

// settle waits until the broker has used no processor time for a moment.
func (b *broker) settle(ctx context.Context) error {
	last, still := time.Duration(-1), 0
	return await(ctx, func() (bool, error) {
		f, err := b.look()
		if f.processor != last {
			last, still = f.processor, 0
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
