package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

// broker is edgebroker as a child process with the default configuration, but
// for its port.
type broker struct {
	dir     string
	binary  string
	process *child.Process
	address string
	group   string // folder of its control group; empty: none could be made
}

// groupFiles are where a control group with a limit of memory may be made, and
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
	b := &broker{dir: dir, binary: o.binary, group: makeGroup(o.limit)}
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
	if b.process, err = child.Start(exec.Command(args[0], args[1:]...), nil); err != nil {
		b.clean()
		return nil, err
	}
	if b.address, err = b.process.Listening(ctx, 20*time.Second); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *broker) socket() string { return filepath.Join(b.dir, "c.sock") }

func (b *broker) stop() {
	b.process.Kill()
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
	if !b.process.Gone() {
		return nil
	}
	err := fmt.Errorf("the broker has ended: %v", b.process.State())
	for _, g := range groupFiles {
		text, _ := os.ReadFile(filepath.Join(b.group, g.kills))
		for line := range strings.Lines(string(text)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok && b.group != "" && strings.TrimSpace(n) != "0" {
				err = fmt.Errorf("%w; %w", err, errKilled)
			}
		}
	}
	return fmt.Errorf("%w\n%s", err, b.process.Log.Tail(5))
}

// peak is the most bytes that were resident, and that its group has used.
func (b *broker) peak() (resident, group int64) {
	if f, err := child.Look(b.process.PID()); err == nil {
		resident = f.Peak
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
