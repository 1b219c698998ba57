package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, log bytes.Buffer
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
	for range 2 {
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("then told %q", got)
		}
	}
	wantCode(t, edgebroker(t, "health", "--socket", filepath.Join(dir, "c.sock")), exitOK)
	cancel()
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Errorf("before the end told %q", got)
		}
	}
	if got := <-code; got != exitOK || out.Len() > 0 || !strings.Contains(log.String(), "msg=stopped") {
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
