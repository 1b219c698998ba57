//go:build linux

package statsd_test

import (
	"bufio"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
)

func TestAdmitted(t *testing.T) {
	for _, tt := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		mode     fs.FileMode
		want     bool
	}{
		{"root", 0, 0, nil, 0o600, true},
		{"the owner", 50, 9, nil, 0o600, true},
		{"the group", 9, 60, nil, 0o660, true},
		{"a further group", 9, 9, []uint32{1, 60}, 0o660, true},
		{"the group, which may not write", 9, 60, nil, 0o640, false},
		{"a stranger", 9, 9, []uint32{1}, 0o660, false},
		{"a stranger, where all may", 9, 9, nil, 0o666, true},
		{"root's group alone", 9, 0, nil, 0o660, false},
	} {
		if got := statsd.Admitted(tt.uid, tt.gid, tt.groups, 50, 60, tt.mode); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// kickAs asks, with the credentials of another user, to have a client kicked,
// and returns the status.
func kickAs(t *testing.T, path string, uid, gid, further int) (int, error) {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		// The thread ends with this goroutine, and its credentials with it.
		runtime.LockOSThread()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = become(uid, gid, further)
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- result{fd, err}
	}()
	r := <-done
	f := os.NewFile(uintptr(r.fd), "control")
	defer f.Close()
	if r.err != nil {
		return 0, r.err
	}
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://edgebroker/v1/clients/pump-7/kick", nil)
	if err == nil {
		err = req.Write(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

// Who connects is known by the kernel's word, and changes are logged with it.
func TestCallers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become others")
	}
	const group = 47111
	log := &brokertest.Log{}
	backend := newFakeBackend()
	r := startBackend(t, backend, backend, statsd.Options{Log: slog.New(slog.NewTextHandler(log, nil))}, nil)
	for dir := filepath.Dir(r.path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(r.path, 0, group); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ uid, gid, further int }{{0, 0, 0}, {40001, group, 7}, {40002, 7, group}} {
		if status, err := kickAs(t, r.path, tt.uid, tt.gid, tt.further); err != nil || status == http.StatusForbidden {
			t.Errorf("user %d: %d, %v", tt.uid, status, err)
		}
	}
	if _, err := kickAs(t, r.path, 40003, 7, 7); !errors.Is(err, unix.EACCES) {
		t.Errorf("the kernel lets a stranger in: %v", err)
	}
	// The same socket behind a file that lets everybody in.
	other := filepath.Join(filepath.Dir(r.path), "other.sock")
	if err := errors.Join(os.Rename(r.path, other), os.Chmod(other, 0o666)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(other)
	if status, err := kickAs(t, other, 40004, 7, 7); err != nil || status != http.StatusForbidden {
		t.Errorf("a stranger is answered with %d, %v", status, err)
	}
	if status, err := kickAs(t, other, 0, 0, 0); err != nil || status == http.StatusForbidden {
		t.Errorf("root is answered with %d, %v", status, err)
	}
	got := log.String()
	for _, want := range []string{"uid=40001", "uid=40002", "request=\"POST /v1/clients/pump-7/kick\""} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in the log:\n%s", want, got)
		}
	}
	if strings.Contains(got, "uid=40004") {
		t.Errorf("a change that was refused is logged as one:\n%s", got)
	}
}
