package statsd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/synthetism/edgebroker/internal/unixsocket"
)

// ErrInUse is wrapped by the error of Listen when a running edgebroker already
// answers on the socket.
var ErrInUse = errors.New("another edgebroker answers")

// privateLen is how much the name that the socket is first bound to adds to
// the directory: "/.s", up to ten digits, "/s".
const privateLen = 15

// socket is a bound unix socket and the file that leads to it.
type socket struct {
	path     string
	listener *net.UnixListener
	file     fs.FileInfo // to tell our file from a successor's
}

// listenSocket binds a unix socket at path with the given mode.
//
// A socket file gets its mode from the umask, which belongs to the whole
// process: changing it for an instant would change the mode of files that other
// goroutines create at that instant. So the socket is bound in a fresh directory
// that only the owner may enter, gets its mode there, and is then linked to its
// place. Nobody can connect before the mode is right, and a link, unlike a
// rename, never replaces a file that appeared meanwhile.
func listenSocket(path string, mode fs.FileMode) (*socket, error) {
	dir := filepath.Dir(path)
	if over := max(len(path), len(dir)+privateLen) - unixsocket.MaxPath; over > 0 {
		return nil, fmt.Errorf("%s: path is %d bytes too long for a socket; choose a shorter one", path, over)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(dir, ".s")
	if err != nil {
		return nil, fmt.Errorf("create private directory: %w", err)
	}
	defer os.RemoveAll(private)

	bound := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // the name it was bound to will be gone
	file, err := publishSocket(bound, path, mode)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &socket{path: path, listener: l, file: file}, nil
}

// publishSocket gives the socket file its mode and its final name.
func publishSocket(bound, path string, mode fs.FileMode) (fs.FileInfo, error) {
	if err := os.Chmod(bound, mode); err != nil {
		return nil, fmt.Errorf("set mode of %s: %w", path, err)
	}
	file, err := os.Lstat(bound)
	if err != nil {
		return nil, err
	}
	if err := os.Link(bound, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%w on %s: it started at the same time; stop one of them", ErrInUse, path)
		}
		return nil, fmt.Errorf("put socket in place: %w", err)
	}
	return file, nil
}

// removeStale removes a socket file at path that nobody answers on.
func removeStale(path string) error {
	err := unixsocket.Free(path)
	var unsure *unixsocket.UnsureError
	switch {
	case errors.Is(err, unixsocket.ErrNotSocket):
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", path)
	case errors.Is(err, unixsocket.ErrAnswered):
		return fmt.Errorf("%w on %s; stop it or choose another path", ErrInUse, path)
	case errors.As(err, &unsure):
		return fmt.Errorf("cannot tell whether somebody answers on %s: %w; remove it if not", path, unsure.Err)
	}
	return err
}

// remove removes the socket file, unless another process has put its own there.
func (s *socket) remove() {
	now, err := os.Lstat(s.path)
	if err == nil && os.SameFile(now, s.file) {
		_ = os.Remove(s.path)
	}
}
