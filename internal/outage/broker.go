package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
	"github.com/synthetism/edgebroker/internal/dial"
)

// broker is a process that is started again and again on the same data.
type broker struct {
	name    string
	command []string
	address string
	gently  bool           // it is stopped, not killed
	process *child.Process // nil while it does not run
	peak    int64          // bytes of memory, of the process before
}

// brokers writes the configurations of both.
func (o options) brokers() (far, near *broker, err error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, nil, err
	}
	write := func(name, text string) (string, error) {
		path := filepath.Join(o.dir, name)
		return path, os.WriteFile(path, []byte(text), 0o600)
	}
	far = &broker{name: "far broker", address: ports[0]}
	if o.mosquitto != "" {
		_, port, _ := net.SplitHostPort(ports[0])
		if err := os.MkdirAll(filepath.Join(o.dir, "far"), 0o777); err != nil {
			return nil, nil, err
		}
		path, err := write("far.conf", fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nmax_inflight_messages 100\nuser root\n", port, filepath.Join(o.dir, "far")))
		if err != nil {
			return nil, nil, err
		}
		far.command, far.gently = []string{o.mosquitto, "-c", path}, true
	} else {
		path, err := write("far.yml", fmt.Sprintf("listeners: [{name: tcp, address: %q}]\ncontrol: {socket: %q}\n"+bounds, ports[0], filepath.Join(o.dir, "far.sock"), filepath.Join(o.dir, "far")))
		if err != nil {
			return nil, nil, err
		}
		far.command = []string{o.binary, "serve", "--config", path}
	}
	near = &broker{name: "gateway", address: ports[1], command: []string{o.binary, "serve", "--config", filepath.Join(o.dir, "near.yml")}}
	return far, near, o.uplinkTo(near, far.address)
}

// uplinkTo writes the configuration of the gateway.
func (o options) uplinkTo(near *broker, address string) error {
	return os.WriteFile(near.command[3], fmt.Appendf(nil, "listeners: [{name: tcp, address: %q}]\ncontrol: {socket: %q}\n"+bounds+
		"bridges:\n  - name: up\n    address: %q\n    keep_alive: 5s\n    ack_timeout: 5s\n    retry_max: 2s\n    max_queued_messages: 10000000\n    max_queued_bytes: 4GiB\n%s",
		near.address, filepath.Join(o.dir, "near.sock"), filepath.Join(o.dir, "near"), "mqtt://"+address, o.drainConfig()), 0o600)
}

// bounds are those of both brokers, and where their data lies.
const bounds = "sessions: {max_queued_messages: 10000000, max_queued_bytes: 4GiB, total_queued_bytes: 64MiB, max_expiry: 240h}\nstorage: {directory: %q, max_bytes: 8GiB}\n"

func freePorts(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// start waits until the broker lets clients in.
func (b *broker) start(ctx context.Context) (err error) {
	if b.process, err = child.Start(exec.Command(b.command[0], b.command[1:]...), nil); err != nil {
		return fmt.Errorf("the %s: %w", b.name, err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		nc, err := dial.Broker(ctx, b.address, time.Second)
		if err == nil {
			return nc.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the %s does not let clients in: %w\n%s", b.name, err, b.process.Log)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end ends the broker as hard as it is made for.
func (b *broker) end() {
	if !b.gently {
		b.kill()
		return
	}
	b.process.Stop()
	b.process = nil
}

func (b *broker) endWord() string {
	if b.gently {
		return "stopped"
	}
	return "killed"
}

func (b *broker) kill() {
	if b.process == nil {
		return
	}
	b.peak = b.memory()
	b.process.Kill()
	b.process = nil
}

// memory is the most that the process has had in memory, in bytes.
func (b *broker) memory() int64 {
	if b.process == nil {
		return b.peak
	}
	f, err := child.Look(b.process.PID())
	if err != nil {
		return b.peak
	}
	return f.Peak
}

// cpu is the processor time that the process has used.
func (b *broker) cpu() time.Duration {
	if b.process == nil {
		return 0
	}
	f, _ := child.Look(b.process.PID()) // none if it is gone
	return f.Processor
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
