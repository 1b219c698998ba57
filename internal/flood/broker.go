package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// broker is edgebroker as a child process with the default configuration, but
// for its port.
type broker struct {
	dir     string
	binary  string
	cmd     *exec.Cmd
	address string
	group   string        // folder of its control group; empty: none could be made
	exited  chan struct{} // closed when it is gone
	log     *logText
}

// groupRoots are where a control group with a limit of memory may be made, and
// the files that say its limit, its peak, and how often something was killed.
var groupFiles = []struct{ root, limit, peak, kills string }{
	{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"},
	{"/sys/fs/cgroup", "memory.max", "memory.peak", "memory.events"},
}

// makeGroup makes a control group of limit bytes. It returns "" where that is
// not possible.
func makeGroup(limit int64) string {
	for _, g := range groupFiles {
		dir := filepath.Join(g.root, fmt.Sprintf("edgebroker-flood-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(dir, g.limit), []byte(strconv.FormatInt(limit, 10)), 0o644) == nil {
			return dir
		}
		os.Remove(dir)
	}
	return ""
}

func startBroker(ctx context.Context, o options) (*broker, error) {
	dir, err := os.MkdirTemp("", "flood")
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir, binary: o.binary, group: makeGroup(o.limit), exited: make(chan struct{}), log: &logText{ready: make(chan string, 1)}}
	args := []string{b.binary, "serve", "--listen", "127.0.0.1:0", "--socket", b.socket()}
	if o.data {
		args = append(args, "--data", filepath.Join(dir, "data"))
	}
	config := filepath.Join(dir, "edgebroker.yml")
	text := "log: {format: json}\n"
	if b.group == "" && o.limit > 0 { // it cannot find out
		text += fmt.Sprintf("memory: %dB\n", o.limit*4/5)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args = append(args, "--config", config)
	if b.group != "" {
		args = append([]string{"/bin/sh", "-c", `echo $$ >"$0"/cgroup.procs && exec "$@"`, b.group}, args...)
	}
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.Stderr, b.cmd.Stdout = b.log, b.log
	if err := b.cmd.Start(); err != nil {
		b.clean()
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	go func() {
		_ = b.cmd.Wait() // how it ended is in ProcessState
		close(b.exited)
	}()
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	select {
	case b.address = <-b.log.ready:
		return b, nil
	case <-b.exited:
	case <-patience.C:
	case <-ctx.Done():
	}
	b.stop()
	return nil, fmt.Errorf("the broker was not ready in time:\n%s", b.log)
}

func (b *broker) socket() string { return filepath.Join(b.dir, "c.sock") }

func (b *broker) stop() {
	_ = b.cmd.Process.Kill()
	<-b.exited
	b.clean()
}

func (b *broker) clean() {
	os.RemoveAll(b.dir)
	if b.group != "" {
		os.Remove(b.group)
	}
}

var errKilled = errors.New("the kernel has killed it for its memory")

// alive returns an error if the broker has ended.
func (b *broker) alive() error {
	select {
	case <-b.exited:
	default:
		return nil
	}
	err := fmt.Errorf("the broker has ended: %v", b.cmd.ProcessState)
	for _, g := range groupFiles {
		text, _ := os.ReadFile(filepath.Join(b.group, g.kills))
		for line := range strings.Lines(string(text)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok && b.group != "" && strings.TrimSpace(n) != "0" {
				err = fmt.Errorf("%w; %w", err, errKilled)
			}
		}
	}
	return fmt.Errorf("%w\n%s", err, b.log.tail(5))
}

// peak is the most bytes that were resident, and that its group has used.
func (b *broker) peak() (resident, group int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
				resident = n << 10
			}
		}
	}
	for _, g := range groupFiles {
		if text, err := os.ReadFile(filepath.Join(b.group, g.peak)); err == nil && b.group != "" {
			group, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
	}
	return resident, group
}

// figures are what the broker says of itself.
func (b *broker) figures(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.binary, "stats", "--socket", b.socket()).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// logText is the log of a broker in JSON. It looks for its first address.
type logText struct {
	ready chan string

	mu      sync.Mutex // guards everything that follows
	partial []byte
	lines   []string
}

const maxLogLines = 2000

// Write implements io.Writer.
func (t *logText) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, p...)
	for {
		line, rest, ok := bytes.Cut(t.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		var said struct{ Msg, Address string }
		if json.Unmarshal(line, &said) == nil && strings.HasPrefix(said.Msg, "listening") {
			select {
			case t.ready <- said.Address:
			default:
			}
		}
		if len(t.lines) < maxLogLines {
			t.lines = append(t.lines, string(line))
		}
		t.partial = rest
	}
}

// String is the log so far.
func (t *logText) String() string { return t.tail(maxLogLines) }

func (t *logText) tail(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, l := range t.lines[max(0, len(t.lines)-n):] {
		b.WriteString("    " + l + "\n")
	}
	return b.String()
}
