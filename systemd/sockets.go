package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is where the sockets begin, as sd_listen_fds(3) has it.
const firstFD = 3

// Socket is a listening socket that the service manager has bound.
type Socket struct {
	Name     string // FileDescriptorName of the socket unit; by default the unit's name
	Listener net.Listener
}

// Sockets takes over the sockets that the service manager has passed, see
// systemd.socket(5), in their order; several may have one name. Call it once:
// programs that this one starts do not get them, nor does a second call. It
// returns none outside of socket activation. With an error, which says which
// socket cannot be used, none is left open. What has one of the names in kept is
// left alone: see [Kept].
func Sockets(kept ...string) (list []Socket, err error) {
	count, names, err := passed(os.Getenv, os.Getpid())
	for _, key := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		err = errors.Join(err, os.Unsetenv(key))
	}
	if err != nil {
		return nil, err
	}
	return takeOver(firstFD, count, names, kept...)
}

// passed is how many sockets there are, and their names, as far as they have
// any.
func passed(getenv func(string) string, pid int) (count int, names []string, err error) {
	if getenv("LISTEN_FDS") == "" || getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return 0, nil, nil
	}
	const most = 1024
	count, err = strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || count < 0 || count > most {
		return 0, nil, fmt.Errorf("take over sockets: LISTEN_FDS %q is not a number up to %d", getenv("LISTEN_FDS"), most)
	}
	if text := getenv("LISTEN_FDNAMES"); text != "" {
		names = strings.Split(text, ":")
	}
	return count, names, nil
}

// takeOver makes listeners of the descriptors from first on.
func takeOver(first, count int, names []string, kept ...string) (list []Socket, err error) {
	for i := range count {
		syscall.CloseOnExec(first + i)
	}
	var errs []error
	for i := range count {
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		if slices.Contains(kept, name) {
			continue
		}
		f := os.NewFile(uintptr(first+i), name)
		l, err := net.FileListener(f)
		_ = f.Close() // the listener has a descriptor of its own
		if err != nil {
			errs = append(errs, fmt.Errorf("take over socket %d, %q: %w; the unit must listen with ListenStream=", i+1, name, err))
			continue
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the manager's
		}
		list = append(list, Socket{name, l})
	}
	if len(errs) > 0 {
		for _, s := range list {
			_ = s.Listener.Close()
		}
		return nil, errors.Join(errs...)
	}
	return list, nil
}
