package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager is the receiving end of NOTIFY_SOCKET.
type manager struct{ conn *net.UnixConn }

// startManager listens on addr and points NOTIFY_SOCKET at it.
func startManager(t *testing.T, addr string) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", addr)
	return manager{conn}
}

// next is the datagram that the process sent; datagrams are already queued
// when a notification returns, so the deadline only ends a failed test.
func (m manager) next(t *testing.T) string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// sockets are the two kinds of address that systemd hands out.
func sockets(t *testing.T) map[string]string {
	return map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@edgebroker-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	}
}

func TestNotify(t *testing.T) {
	for kind, addr := range sockets(t) {
		t.Run(kind+" socket", func(t *testing.T) {
			m := startManager(t, addr)
			for _, tc := range []struct {
				name string
				send func() error
				want string
			}{
				{"raw", func() error { return Notify("READY=1\nSTATUS=up") }, "READY=1\nSTATUS=up"},
				{"ready", Ready, "READY=1"},
				{"stopping", Stopping, "STOPPING=1"},
				{"reloading", func() error { return Reloading(90*time.Second + 1500*time.Nanosecond) }, "RELOADING=1\nMONOTONIC_USEC=90000001"},
				{"more time", func() error { return ExtendTimeout(90 * time.Second) }, "EXTEND_TIMEOUT_USEC=90000000"},
				{"status", func() error { return Status("3 clients") }, "STATUS=3 clients"},
				{"status with line breaks", func() error { return Status("a\nMAINPID=1\r\nb") }, "STATUS=a MAINPID=1  b"},
			} {
				t.Run(tc.name, func(t *testing.T) {
					if err := tc.send(); err != nil {
						t.Fatal(err)
					}
					if got := m.next(t); got != tc.want {
						t.Errorf("manager received %q, want %q", got, tc.want)
					}
				})
			}
		})
	}
}

func TestNotifyWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if Managed() {
		t.Error("outside systemd there is a manager")
	}
	for _, err := range []error{Notify("READY=1"), Ready(), Stopping(), Status("idle"), Reloading(0), ExtendTimeout(1)} {
		if err != nil {
			t.Errorf("outside systemd: %v", err)
		}
	}
}

func TestNotifyErrors(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name, addr, state, want string
	}{
		{"vsock", "vsock:2:1234", "READY=1", "neither a path nor an abstract socket"},
		{"relative path", "notify", "READY=1", "neither a path nor an abstract socket"},
		{"nobody listens", filepath.Join(dir, "gone"), "READY=1", "no such file"},
		{"name too long", "/" + strings.Repeat("x", 200), "READY=1", "invalid argument"},
		{"empty state", filepath.Join(dir, "gone"), "", "empty state"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", tc.addr)
			err := Notify(tc.state)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Notify = %v, want an error about %q", err, tc.want)
			}
		})
	}
}

func TestNotifyDoesNotWaitForAStuckManager(t *testing.T) {
	addr := filepath.Join(t.TempDir(), "notify")
	startManager(t, addr) // never reads
	const sends = 1 << 20 // far beyond any queue of datagrams
	for range sends {
		err := notify(addr, "STATUS=x", 10*time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatalf("notify = %v, want success or a deadline error", err)
		}
	}
	t.Fatalf("%d notifications went into a socket that nobody reads", sends)
}
