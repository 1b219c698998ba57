package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/synthetism/edgebroker/internal/unixsocket"
)

// ErrListen is wrapped by every error of binding an address.
var ErrListen = errors.New("cannot listen")

var (
	errNoTLS       = errors.New("no TLS configuration")
	errWrongSocket = errors.New("socket of the wrong kind")
)

// bindError says what to do about cause.
type bindError struct {
	text  string
	cause error
}

func (e *bindError) Error() string   { return e.text }
func (e *bindError) Unwrap() []error { return []error{ErrListen, e.cause} }

// bind opens the socket of cfg.
func bind(cfg *Config) (net.Listener, error) {
	var nl net.Listener
	var err error
	switch cfg.Type {
	case TypeTCP, TypeWebSocket, TypeTLS, TypeWebSocketTLS:
		if cfg.Bound != nil && cfg.Bound.Addr().Network() != "tcp" {
			return nil, &bindError{fmt.Sprintf("listener %q: the socket that it was given is no TCP socket; set its type to %q", cfg.ID, TypeUnix), errWrongSocket}
		}
		if (cfg.Type == TypeTLS || cfg.Type == TypeWebSocketTLS) && cfg.TLS == nil {
			return nil, &bindError{fmt.Sprintf("listener %q: type %q needs a TLS configuration", cfg.ID, cfg.Type), errNoTLS}
		}
		if nl = cfg.Bound; nl == nil {
			nl, err = new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Address)
		}
	case TypeUnix:
		if cfg.Bound != nil && cfg.Bound.Addr().Network() != "unix" { // by which the network would come in as if it were local
			return nil, &bindError{fmt.Sprintf("listener %q: the socket that it was given is no unix socket; set its type to %q", cfg.ID, TypeTCP), errWrongSocket}
		}
		if nl = cfg.Bound; nl == nil {
			nl, err = bindUnix(cfg)
		}
	default:
		err = fmt.Errorf("type %q is not known; use %q, %q, %q, %q or %q", cfg.Type, TypeTCP, TypeWebSocket, TypeTLS, TypeWebSocketTLS, TypeUnix)
	}
	if err != nil {
		return nil, &bindError{fmt.Sprintf("listener %q: %s", cfg.ID, remedy(cfg, err)), err}
	}
	return nl, nil
}

// remedy explains err and says how to mend it.
func remedy(cfg *Config, err error) string {
	where := "the listener's address"
	if cfg.Key != "" {
		where = cfg.Key
	}
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("address %s is in use by another process; stop it or choose another address in %s", cfg.Address, where)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("no network interface has address %s; choose another in %s, or \":port\" for all interfaces", cfg.Address, where)
	case errors.Is(err, fs.ErrPermission) && cfg.Type != TypeUnix:
		return fmt.Sprintf("no permission to bind %s; choose a port above 1023 in %s or grant CAP_NET_BIND_SERVICE", cfg.Address, where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("no permission to create %s; give this user write access to its folder or choose another path in %s", cfg.Address, where)
	case errors.Is(err, fs.ErrNotExist) && cfg.Type == TypeUnix:
		return fmt.Sprintf("folder %s does not exist; create it or choose another path in %s", filepath.Dir(cfg.Address), where)
	case errors.As(err, &op):
		return fmt.Sprintf("cannot bind %s: %v; correct %s", cfg.Address, op.Err, where)
	}
	return fmt.Sprintf("cannot bind %s: %v; correct %s", cfg.Address, err, where)
}

// bindUnix binds a unix socket, in place of one that nobody serves any more.
func bindUnix(cfg *Config) (net.Listener, error) {
	path := cfg.Address
	if len(path) > unixsocket.MaxPath {
		return nil, fmt.Errorf("path has %d bytes, a unix socket's has %d at most", len(path), unixsocket.MaxPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	nl, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if cfg.Mode != 0 {
		if err := os.Chmod(path, cfg.Mode.Perm()); err != nil {
			return nil, errors.Join(err, nl.Close())
		}
	}
	return nl, nil
}

// removeStale removes path if it is a socket at which nobody answers.
func removeStale(path string) error {
	err := unixsocket.Free(path)
	var unsure *unixsocket.UnsureError
	switch {
	case errors.Is(err, unixsocket.ErrNotSocket):
		return errors.New("a file that is not a socket is in the way")
	case errors.Is(err, unixsocket.ErrAnswered):
		return syscall.EADDRINUSE
	case errors.As(err, &unsure):
		return fmt.Errorf("%w: %w", syscall.EADDRINUSE, unsure.Err)
	}
	return err
}
