// Package systemd tells the service manager how the process is doing: ready,
// stopping, a line of status, still alive; gives it descriptors to keep over a
// restart, and takes those and its sockets; says which folders it has made for
// the process; and sends records to its journal. It speaks these protocols
// directly and needs no library. Beside it lies edgebroker.service, the unit that
// relies on it.
//
// Outside systemd notifying is a no-op and nothing is found, so callers need not ask
// where they run; only Keep fails, as what was to be kept is not. All functions may
// be called from any goroutine, unless they say otherwise; order between concurrent
// calls is the caller's business.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// notifyTimeout bounds one notification. The manager drains its socket at
// once; if it does not, the broker must not wait for it.
const notifyTimeout = 2 * time.Second

// Notify sends state, one or more newline-separated KEY=VALUE assignments as
// in sd_notify(3), to the socket named by NOTIFY_SOCKET: a path, or an
// abstract socket when the name starts with "@". It returns nil without doing
// anything when NOTIFY_SOCKET is unset or empty. It blocks for at most two
// seconds. A failure means the manager was not told; the process is otherwise
// unharmed.
func Notify(state string) error {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return nil
	}
	return notify(addr, state, notifyTimeout)
}

// Managed reports whether there is a service manager to tell things.
func Managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Ready reports that start-up is complete: every listener is bound and a
// client that connects now is served. Units of Type=notify count as started
// from here on. It also ends what Reloading has begun.
func Ready() error { return Notify("READY=1") }

// Stopping reports that shutdown has begun, so that the manager shows the unit
// as stopping rather than running.
func Stopping() error { return Notify("STOPPING=1") }

// Status sets the line that systemctl status shows. Line breaks become spaces:
// what follows one would be read as an assignment of its own.
func Status(line string) error {
	return Notify("STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(line))
}

func notify(addr, state string, timeout time.Duration) error {
	if addr[0] != '/' && addr[0] != '@' {
		return fmt.Errorf("notify service manager: NOTIFY_SOCKET %q is neither a path nor an abstract socket", addr)
	}
	if state == "" {
		return errors.New("notify service manager: empty state")
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}
