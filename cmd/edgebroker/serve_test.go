package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// TestServeTellsTheServiceManager runs serve as systemd does, with a watchdog.
func TestServeTellsTheServiceManager(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	t.Setenv("FDSTORE", "4")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	var log processLog // the watchdog's goroutine is not waited for
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{program, "serve", "--listen", "127.0.0.1:0", "--socket", filepath.Join(dir, "c.sock")}, strings.NewReader(""), &out, &log)
	}()
	next := func() string {
		buf := make([]byte, 512)
		_ = manager.SetReadDeadline(time.Now().Add(patience))
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := next(); got != "READY=1" {
		t.Errorf("first told %q", got)
	}
	// told waits for what begins with prefix, and returns what came before it.
	told := func(prefix string) (before []string) {
		for got := next(); !strings.HasPrefix(got, prefix); got = next() {
			before = append(before, got)
		}
		return before
	}
	told("STATUS=0 clients, 0 msg/s, state in memory")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil { // as a manager may that has been told so
		t.Error(err)
	}
	told("RELOADING=1\nMONOTONIC_USEC=")
	if between := told("READY=1"); slices.Contains(between, "STOPPING=1") {
		t.Errorf("in a reload: %q", between)
	}
	for range 2 {
		told("WATCHDOG=1")
	}
	wantCode(t, edgebroker(t, "health", "--socket", filepath.Join(dir, "c.sock")), exitOK)
	cancel()
	for _, got := range told("STOPPING=1") {
		if got != "WATCHDOG=1" {
			t.Errorf("before the end told %q", got)
		}
	}
	_ = manager.SetReadDeadline(time.Now().Add(patience))
	var kept strings.Builder // nobody has said that this is no restart
	var got int
	for ended := false; !ended; {
		select {
		case got = <-code:
			ended = true
		default:
			buf := make([]byte, 512)
			_ = manager.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := manager.Read(buf); err == nil {
				kept.WriteString(string(buf[:n]) + "\n")
			}
		}
	}
	if !strings.Contains(kept.String(), "FDSTORE=1\nFDNAME=edgebroker-handover\nFDPOLL=0\nBARRIER=1\n") {
		t.Errorf("at the end told %q", kept.String())
	}
	if got != exitOK || out.Len() > 0 || !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("exit code %d, stdout %q, stderr %q", got, out.String(), log.String())
	}
}

func TestStopWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errBusy := errors.New("busy")
		if err := stopWithin(time.Minute, func(context.Context) error { return errBusy }); !errors.Is(err, errBusy) {
			t.Errorf("got %v", err)
		}
		release := make(chan struct{})
		start := time.Now()
		err := stopWithin(10*time.Second, func(context.Context) error { <-release; return nil })
		if took := time.Since(start); err == nil || took != 11*time.Second {
			t.Errorf("a stop that hangs: %v after %v", err, took)
		}
		close(release)
	})
}

func TestServeConfigPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "eb.yml")
	if err := os.WriteFile(file, []byte("storage: {directory: /of/the/file}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, tt := range []struct {
		name        string
		unit, env   string
		args        []string
		want, fails string
	}{
		{name: "nobody says anything"},
		{name: "the unit", unit: "/of/the/unit", want: "/of/the/unit"},
		{name: "the file before the unit", unit: "/of/the/unit", args: []string{"--config", file}, want: "/of/the/file"},
		{name: "the environment before the file", unit: "/of/the/unit", env: "/of/the/env", args: []string{"--config", file}, want: "/of/the/env"},
		{name: "the flag before all", unit: "/of/the/unit", env: "/of/the/env", args: []string{"--config", file, "--data", "/of/the/flag"}, want: "/of/the/flag"},
		{name: "a flag from here on", args: []string{"--data", "state"}, want: filepath.Join(dir, "state")},
		{name: "no environment from here on", env: "state", fails: "EDGEBROKER_DATA: storage.directory: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", tt.unit)
			t.Setenv(appliance.EnvData, tt.env)
			command := serveCommand(&env{})
			var cfg appliance.Config
			command.Action = func(c *cli.Context) (err error) {
				cfg, err = serveConfig(c)
				return err
			}
			err := (&cli.App{Commands: []*cli.Command{command}}).Run(append([]string{program, "serve"}, tt.args...))
			if tt.fails != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.fails) {
					t.Errorf("got %v, want %s...", err, tt.fails)
				}
				return
			}
			if err != nil || cfg.Storage.Directory != tt.want {
				t.Errorf("got %q, %v; want %q", cfg.Storage.Directory, err, tt.want)
			}
		})
	}
}

// What was handed over and cannot be read keeps nobody from starting.
func TestServeWithABrokenParcel(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(pair[1], []byte("no parcel")); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(pair[1])
	t.Setenv(handover.EnvParcel, strconv.Itoa(pair[0]))
	t.Setenv("NOTIFY_SOCKET", "")
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log processLog
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{program, "serve", "--listen", "127.0.0.1:0", "--socket", filepath.Join(dir, "c.sock")}, strings.NewReader(""), io.Discard, &log)
	}()
	brokertest.WaitFor(t, "the broker to be ready", func() bool { return strings.Contains(log.String(), "msg=\"ready;") })
	cancel()
	if got := <-code; got != exitOK || !strings.Contains(log.String(), "have to connect anew") {
		t.Errorf("exit code %d, log %s", got, log.String())
	}
	if _, there := os.LookupEnv(handover.EnvParcel); there {
		t.Error("the next program would be told of it again")
	}
}

// Whoever is about to be replaced is told what the next program can take over, or
// why it cannot.
func TestServeTrial(t *testing.T) {
	t.Setenv(envTrial, "1")
	r := edgebroker(t, "serve", "--listen", "127.0.0.1:0")
	wantCode(t, r, exitOK)
	if r.stdout != trialAnswer()+"\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, edgebroker(t, "serve", "--config", bad), exitUsage)
}
