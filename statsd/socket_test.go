package statsd_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/statsd"
)

// listenOn makes a server listen on path and closes it when the test ends.
func listenOn(t *testing.T, path string, mode fs.FileMode) error {
	t.Helper()
	s := statsd.NewServer(newFakeBackend(), statsd.Options{})
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("close: %v", err)
		}
	})
	return s.Listen(path, mode)
}

func TestListenMode(t *testing.T) {
	// The mode must not depend on the umask.
	for _, umask := range []int{0, 0o022, 0o077} {
		for _, mode := range []fs.FileMode{0, 0o600, 0o666} {
			old := syscall.Umask(umask)
			path := filepath.Join(t.TempDir(), "c.sock")
			err := listenOn(t, path, mode)
			syscall.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			want := mode
			if want == 0 {
				want = 0o660
			}
			if info.Mode().Perm() != want || info.Mode().Type() != fs.ModeSocket {
				t.Errorf("umask %03o, mode %03o: got %v, want a socket with %v", umask, mode, info.Mode(), want)
			}
		}
	}
}

func TestListen(t *testing.T) {
	t.Run("makes the directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "run", "edgebroker", "c.sock")
		if err := listenOn(t, path, 0); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 1 || entries[0].Name() != "c.sock" {
			t.Errorf("directory holds %v, want c.sock alone (%v)", entries, err)
		}
	})
	t.Run("replaces a socket that nobody answers on", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false) // as after a crash
		l.Close()
		if err := listenOn(t, path, 0); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the new socket does not answer: %v", err)
		}
		conn.Close()
	})
	t.Run("leaves a socket alone that somebody answers on", func(t *testing.T) {
		r := start(t, newFakeBackend(), statsd.Options{}, nil)
		err := listenOn(t, r.path, 0)
		if !errors.Is(err, statsd.ErrInUse) || !strings.Contains(err.Error(), "another edgebroker answers on "+r.path) {
			t.Errorf("error %v", err)
		}
		if _, err := r.control.Stats(t.Context()); err != nil {
			t.Errorf("the first server was harmed: %v", err)
		}
	})
	t.Run("leaves a socket of another kind alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := listenOn(t, path, 0); err == nil || !strings.Contains(err.Error(), "cannot tell whether somebody answers") {
			t.Errorf("error %v", err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it was removed: %v", err)
		}
	})
	for name, make := range map[string]func(path string) error{
		"file":      func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":      func(path string) error { return os.Symlink("/nowhere", path) },
	} {
		t.Run("leaves alone a "+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.sock")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			err := listenOn(t, path, 0)
			if err == nil || !strings.Contains(err.Error(), "not a socket") {
				t.Errorf("error %v", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("it was removed: %v", err)
			}
		})
	}
	t.Run("path length", func(t *testing.T) {
		dir := t.TempDir()
		longest := dir + "/" + strings.Repeat("d", 107-15-1-len(dir)) + "/" + strings.Repeat("x", 14)
		if err := listenOn(t, longest, 0); err != nil {
			t.Errorf("%d bytes: %v", len(longest), err)
		}
		for _, path := range []string{longest + "x", filepath.Dir(longest) + "d/x"} {
			err := listenOn(t, path, 0)
			if err == nil || !strings.Contains(err.Error(), "1 bytes too long for a socket; choose a shorter one") {
				t.Errorf("%s: error %v", path, err)
			}
		}
	})
	t.Run("twice is an error, and after Close too", func(t *testing.T) {
		s := statsd.NewServer(newFakeBackend(), statsd.Options{})
		path := filepath.Join(t.TempDir(), "c.sock")
		if err := s.Serve(); err == nil {
			t.Error("Serve worked without Listen")
		}
		if err := s.Listen(path, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(path+"2", 0); err == nil {
			t.Error("second Listen worked")
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(path, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
		if err := s.Serve(); err != nil {
			t.Errorf("Serve after Close: %v", err)
		}
	})
}

func TestCloseSocket(t *testing.T) {
	t.Run("removes its file", func(t *testing.T) {
		r := start(t, newFakeBackend(), statsd.Options{}, nil)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(r.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there (%v)", err)
		}
		if err := r.server.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
	t.Run("leaves a successor's file", func(t *testing.T) {
		r := start(t, newFakeBackend(), statsd.Options{}, nil)
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		if err := listenOn(t, r.path, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(r.path); err != nil {
			t.Errorf("the successor's file is gone: %v", err)
		}
	})
}
