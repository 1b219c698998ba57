// Package lab boots gateways for tests: a small Debian whose first process is
// systemd, in a container with a network of its own. It needs root and some Debian
// packages; see Need.
//
// Everything that a test has made, it removes at its end.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Options say what a container is like.
type Options struct {
	Suite  string // of Debian: "bookworm"
	Memory int64  // bytes for the whole container; 0: as much as there is
	CPU    int    // percent of one processor; 0: all

	// ReadOnly lets nothing be written but below /run, /tmp and these folders, which
	// are in memory; nil: everything can.
	ReadOnly []string
}

// Container is a gateway. Between New and Boot its files can be changed.
type Container struct {
	t     testing.TB
	o     Options
	root  string // its file system, as seen from outside
	first int    // process id of its systemd, outside; 0 before Boot
	host  string // its address
	log   string // what its console says
}

// bootTime bounds how long a gateway may take to boot: a small one is slow.
const bootTime = 2 * time.Minute

var containers atomic.Int32

// New makes a container.
func New(t testing.TB, o Options) *Container {
	t.Helper()
	dir := t.TempDir()
	return &Container{t: t, o: o, root: overlay(t, Root(t, o.Suite), dir), log: filepath.Join(dir, "console")}
}

// Boot boots it. It is halted at the end of the test.
func (c *Container) Boot() {
	t, o := c.t, c.o
	t.Helper()
	n := containers.Add(1)
	name := fmt.Sprintf("eb%d-%d", os.Getpid()%100_000, n)
	c.host = network(t, name, int(n))
	console, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	args := []string{"--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--machine=" + name,
		"--network-namespace-path=/run/netns/" + name, "--directory=" + c.root}
	if o.ReadOnly != nil {
		args = append(args, "--read-only")
		for _, dir := range o.ReadOnly {
			if err := os.MkdirAll(c.Path(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--tmpfs="+dir)
		}
	}
	cmd := exec.Command("systemd-nspawn", args...)
	cmd.Env = append(os.Environ(), "UNIFIED_CGROUP_HIERARCHY=1")
	cmd.Stdout, cmd.Stderr = console, console
	confine(t, cmd, name, o)
	if err := cmd.Start(); err != nil {
		t.Fatalf("boot: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			text, _ := os.ReadFile(c.log)
			t.Logf("the console ends in:\n%s", tail(string(text), 30))
		}
	})
	Until(t, "systemd to answer", bootTime, func() bool {
		c.first = child(cmd.Process.Pid) // at first another, which prepares it
		if c.first == 0 {
			return isClosed(ended)
		}
		_, err := os.Stat(c.Path("/run/systemd/private"))
		return err == nil || isClosed(ended)
	})
	if isClosed(ended) {
		t.Fatal("the container has ended")
	}
	if out, err := c.Try("systemctl", "is-system-running", "--wait"); err != nil && !strings.Contains(out, "degraded") {
		t.Fatalf("boot: %v: %s", err, out)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// child is the process that parent has started, 0 if there is none.
func child(parent int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Path is where a file of the container's lies for this process.
func (c *Container) Path(inside string) string {
	if c.first != 0 { // what is mounted inside is there as well
		return fmt.Sprintf("/proc/%d/root%s", c.first, inside)
	}
	return filepath.Join(c.root, inside)
}

// Address is where others reach a port of the container's.
func (c *Container) Address(port int) string { return fmt.Sprintf("%s:%d", c.host, port) }

// Command is a program that is to run inside.
func (c *Container) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target=" + strconv.Itoa(c.first), "--all", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root",
		"DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// Try runs a program inside and returns what it has written, both ways.
func (c *Container) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), bootTime)
	defer cancel()
	var out bytes.Buffer
	cmd := c.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return strings.TrimSpace(out.String()), err
}

// Run is Try for what must work.
func (c *Container) Run(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Write makes a file inside.
func (c *Container) Write(path, text string, mode os.FileMode) {
	c.t.Helper()
	outside := c.Path(path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(outside), 0o755), os.WriteFile(outside, []byte(text), mode), os.Chmod(outside, mode)); err != nil {
		c.t.Fatal(err)
	}
}

// Copy copies a file from outside.
func (c *Container) Copy(from, to string, mode os.FileMode) {
	c.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Write(to, string(data), mode)
}

// Until waits for a condition, which is looked at again and again.
func Until(t testing.TB, what string, within time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", within, what)
		}
		pause()
	}
}

func pause() {
	t := time.NewTimer(20 * time.Millisecond)
	<-t.C
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
