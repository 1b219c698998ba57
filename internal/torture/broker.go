package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

// broker is edgebroker as a child process that is started again and again on
// the same data. One goroutine starts and kills it; any may ask where it is.
type broker struct {
	binary string
	dir    string // its folder: config, sockets, log
	files  int    // limit of open files, 0: what this process has

	port    string // of the TCP listener; empty: any that is free
	machine string // where it is reached on a machine of its own; empty: it is here

	starts int
	mu     sync.Mutex
	life   *life
}

// life is one life of the broker.
type life struct {
	*child.Process
	ready chan struct{} // closed when it says that it is
}

// config of the broker. Bounds are so wide that only the disk is a limit. more is
// what it has besides.
func (b *broker) writeConfig(data, more string) error {
	text := fmt.Sprintf(`listeners:
  - {name: unix, type: unix, address: %q}
  - {name: tcp, address: "127.0.0.1:%s"}
control: {socket: %q}
limits: {max_connections: 0}
sessions: {max_queued_messages: 10000000, max_queued_bytes: 4GiB, total_queued_bytes: 8GiB}
storage: {directory: %q, segment_size: 4MiB, max_bytes: 4GiB}
log: {format: json}
%s`, b.unix(), cmp.Or(b.port, "0"), b.socket(), data, more)
	return os.WriteFile(filepath.Join(b.dir, "edgebroker.yml"), []byte(text), 0o600)
}

func (b *broker) socket() string { return filepath.Join(b.dir, "c.sock") }

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
	if b.life == nil || b.life.Gone() {
		return ""
	}
	return b.life.Log.Address("tcp")
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
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	p, err := child.Start(cmd, func() {
		manager.Close()
		os.Remove(socket)
	})
	if err != nil {
		manager.Close()
		return err
	}
	c := &life{Process: p, ready: make(chan struct{})}
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
	b.mu.Lock()
	b.life = c
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
	case <-b.life.ready:
		return time.Since(b.life.Began), nil
	case <-b.life.Exited():
		return 0, fmt.Errorf("%w (%v) before it was ready:\n%s", errExited, b.life.State(), b.life.Log)
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-t.C:
		return 0, fmt.Errorf("not ready after %v:\n%s", limit, b.life.Log)
	}
}

// current is the life that the broker has now.
func (b *broker) current() *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.life
}

// signal sends one to the running broker.
func (b *broker) signal(s syscall.Signal) error { return b.life.Signal(s) }

// kill sends SIGKILL and waits until the process is gone. A broker that was
// gone already is an error wrapping errExited.
func (b *broker) kill() error {
	gone := b.life.Gone()
	b.life.Kill()
	ws, ok := b.life.State().Sys().(syscall.WaitStatus)
	if gone || ok && ws.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%w (%v):\n%s", errExited, b.life.State(), b.life.Log)
	}
	return nil
}

// stop kills the broker if one runs.
func (b *broker) stop() {
	if b.life != nil {
		b.life.Kill()
	}
}
