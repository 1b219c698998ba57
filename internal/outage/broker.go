package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
)

// broker is a process that is started again and again on the same data.
type broker struct {
	name    string
	command []string
	address string
	gently  bool // it is stopped, not killed
	cmd     *exec.Cmd
	log     *os.File
	peak    string
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
func (b *broker) start(ctx context.Context) error {
	log, err := os.CreateTemp("", "outage-log")
	if err != nil {
		return err
	}
	b.log = log
	b.cmd = exec.Command(b.command[0], b.command[1:]...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start the %s: %w", b.name, err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		nc, err := dial.Broker(ctx, b.address, time.Second)
		if err == nil {
			return nc.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the %s does not let clients in: %w\n%s", b.name, err, b.tail())
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *broker) tail() string {
	text, _ := os.ReadFile(b.log.Name())
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// end ends the broker as hard as it is made for.
func (b *broker) end() error {
	if !b.gently {
		b.kill()
		return nil
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	_ = b.cmd.Wait()
	b.cmd = nil
	return nil
}

func (b *broker) endWord() string {
	if b.gently {
		return "stopped"
	}
	return "killed"
}

func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	b.peak = b.memory()
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	b.cmd = nil
	_ = os.Remove(b.log.Name())
	_ = b.log.Close()
}

// memory is the most that the process has had in memory.
func (b *broker) memory() string {
	if b.cmd == nil {
		return b.peak
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(peak)
		}
	}
	return "unknown"
}

// cpu is the processor time that the process has used.
func (b *broker) cpu() time.Duration {
	if b.cmd == nil {
		return 0
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var sum time.Duration
	for _, i := range []int{11, 12} { // utime, stime, in hundredths of a second
		if i < len(fields) {
			n, _ := strconv.Atoi(fields[i])
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// size is how large the files in a folder are.
func size(dir string) string {
	var sum int64
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return fmt.Sprintf("%d MiB", sum>>20)
}
