package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// broker is edgebroker as a child process that is started again and again on
// the same data. One goroutine starts and kills it; any may ask where it is.
type broker struct {
	binary string
	dir    string // its folder: config, sockets, log
	files  int    // limit of open files, 0: what this process has

	machine string // where it is reached on a machine of its own; empty: it is here

	starts int
	mu     sync.Mutex
	tcp    string // address of the TCP listener, empty while there is none
	child  *child
}

// child is one life of the broker.
type child struct {
	cmd    *exec.Cmd
	begin  time.Time
	ready  chan struct{} // closed when it says that it is
	exited chan struct{} // closed when it is gone
	log    *logTail
}

// config of the broker. Bounds are so wide that only the disk is a limit.
func (b *broker) writeConfig(data string) error {
	text := fmt.Sprintf(`listeners:
  - {name: unix, type: unix, address: %q}
  - {name: tcp, address: "127.0.0.1:0"}
control: {socket: %q}
limits: {max_connections: 0}
sessions: {max_queued_messages: 10000000, max_queued_bytes: 4GiB, total_queued_bytes: 8GiB}
storage: {directory: %q, segment_size: 4MiB, max_bytes: 4GiB}
log: {format: json}
`, b.unix(), filepath.Join(b.dir, "c.sock"), data)
	return os.WriteFile(filepath.Join(b.dir, "edgebroker.yml"), []byte(text), 0o600)
}

func (b *broker) unix() string { return filepath.Join(b.dir, "mqtt.sock") }

// where is the address for a client: half of them come over TCP, half over the
// unix socket. It is no address while the broker is down.
func (b *broker) where(client int) string {
	if b.machine != "" {
		return b.machine
	}
	if client%2 == 0 {
		return "unix:" + b.unix()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tcp
}

// start runs the broker and does not wait for it.
func (b *broker) start() error {
	if b.machine != "" {
		return b.startMachine()
	}
	b.starts++
	socket := filepath.Join(b.dir, fmt.Sprintf("n%d", b.starts)) // a dead broker's READY=1 must not count for the next
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listen where the broker reports that it is ready: %w", err)
	}
	args := []string{b.binary, "serve", "--config", filepath.Join(b.dir, "edgebroker.yml")}
	if b.files > 0 { // both limits: Go raises the soft one to the hard one
		args = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, b.files)}, args...)
	}
	c := &child{cmd: exec.Command(args[0], args[1:]...), ready: make(chan struct{}), exited: make(chan struct{})}
	c.log = &logTail{listening: func(listener, address string) {
		if listener == "tcp" {
			b.mu.Lock()
			b.tcp = address
			b.mu.Unlock()
		}
	}}
	c.cmd.Stderr, c.cmd.Stdout = c.log, c.log
	c.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	c.begin = time.Now()
	if err := c.cmd.Start(); err != nil {
		manager.Close()
		return fmt.Errorf("start the broker: %w", err)
	}
	go func() {
		buf, ready := make([]byte, 512), false
		for {
			n, err := manager.Read(buf)
			if err != nil {
				return
			}
			if !ready && bytes.HasPrefix(buf[:n], []byte("READY=1")) {
				close(c.ready)
				ready = true // and read on, or the broker would have to wait
			}
		}
	}()
	go func() {
		_ = c.cmd.Wait() // how it ended is in ProcessState
		manager.Close()
		os.Remove(socket)
		close(c.exited)
	}()
	b.mu.Lock()
	b.child, b.tcp = c, ""
	b.mu.Unlock()
	return nil
}

// errExited means that the broker has ended without being told to.
var errExited = errors.New("the broker has ended by itself")

// awaitReady waits until the broker says that it is ready, and returns how long
// that took since its start.
func (b *broker) awaitReady(ctx context.Context, limit time.Duration) (time.Duration, error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-b.child.ready:
		return time.Since(b.child.begin), nil
	case <-b.child.exited:
		return 0, fmt.Errorf("%w (%v) before it was ready:\n%s", errExited, b.child.cmd.ProcessState, b.child.log)
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.C:
		return 0, fmt.Errorf("not ready after %v:\n%s", limit, b.child.log)
	}
}

// signal sends one to the running broker.
func (b *broker) signal(s syscall.Signal) error { return b.child.cmd.Process.Signal(s) }

// kill sends SIGKILL and waits until the process is gone. A broker that was
// gone already is an error wrapping errExited.
func (b *broker) kill() error {
	select {
	case <-b.child.exited:
		return fmt.Errorf("%w (%v):\n%s", errExited, b.child.cmd.ProcessState, b.child.log)
	default:
	}
	_ = b.child.cmd.Process.Kill() // fails only if it is gone, which is judged below
	<-b.child.exited
	if ws, ok := b.child.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%w (%v):\n%s", errExited, b.child.cmd.ProcessState, b.child.log)
	}
	return nil
}

// stop kills the broker if one runs.
func (b *broker) stop() {
	if b.child != nil {
		_ = b.child.cmd.Process.Kill()
		<-b.child.exited
	}
}

// logTail keeps the last lines of a log and looks for the addresses in it.
type logTail struct {
	listening func(listener, address string)

	mu      sync.Mutex
	partial []byte
	lines   []string
}

// tailLines is how many lines of the log are kept.
const tailLines = 40

func (t *logTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, p...)
	for {
		line, rest, ok := bytes.Cut(t.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		t.partial = rest
		var said struct{ Msg, Listener, Address string }
		if json.Unmarshal(line, &said) == nil && strings.HasPrefix(said.Msg, "listening") && said.Address != "" {
			t.listening(said.Listener, said.Address)
		}
		t.lines = append(t.lines, string(line))
		if len(t.lines) > 2*tailLines {
			t.lines = append([]string(nil), t.lines[tailLines:]...)
		}
	}
}

func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines[max(0, len(t.lines)-tailLines):]
	return "    " + strings.Join(lines, "\n    ")
}
