// Package unixsocket frees the path at which a unix socket is to be bound.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// MaxPath is how long a socket's path may be, in bytes: what sockaddr_un
// holds, less its final zero.
const MaxPath = 107

// probeTimeout bounds the attempt to reach whoever owns a socket file.
const probeTimeout = time.Second

// Why Free leaves a file where it is.
var (
	ErrNotSocket = errors.New("not a socket")
	ErrAnswered  = errors.New("somebody answers")
)

// UnsureError says that nobody could be reached, but not because nobody is
// there: the owner may be alive, only busy or out of our reach.
type UnsureError struct{ Err error }

func (e *UnsureError) Error() string { return "cannot tell whether somebody answers: " + e.Err.Error() }

// Unwrap returns why nobody could be reached.
func (e *UnsureError) Unwrap() error { return e.Err }

// Free removes a socket file at path that nobody answers on; that there is no
// file is as good. Anything else stays, and is ErrNotSocket, ErrAnswered, an
// *UnsureError, or an error of the file system.
func Free(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return ErrNotSocket
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	switch {
	case err == nil:
		_ = conn.Close()
		return ErrAnswered
	case !errors.Is(err, syscall.ECONNREFUSED):
		return &UnsureError{err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
