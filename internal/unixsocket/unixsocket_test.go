package unixsocket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/internal/unixsocket"
)

func TestFree(t *testing.T) {
	listen := func(t *testing.T, path string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
		gone bool
	}{
		"nothing there":  {func(*testing.T, string) {}, nil, true},
		"nobody answers": {func(t *testing.T, path string) { _ = listen(t, path).Close() }, nil, true},
		"somebody does":  {func(t *testing.T, path string) { listen(t, path) }, unixsocket.ErrAnswered, false},
		"a plain file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, unixsocket.ErrNotSocket, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			c.make(t, path)
			if err := unixsocket.Free(path); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) != c.gone {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	t.Run("another kind of socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var unsure *unixsocket.UnsureError
		if err := unixsocket.Free(path); !errors.As(err, &unsure) {
			t.Errorf("got %v, want an UnsureError", err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	})
}
