package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// barrierTimeout bounds how long the manager may take to have read what it was
// sent.
const barrierTimeout = 3 * time.Second

// Keeps reports whether the service manager keeps descriptors for the next
// process of this unit: it is told so by $FDSTORE, which systemd sets from version
// 254 on, and before that the unit.
func Keeps() bool {
	n, err := strconv.Atoi(os.Getenv("FDSTORE"))
	return err == nil && n > 0 && os.Getenv("NOTIFY_SOCKET") != ""
}

// Keep has the service manager keep f under a name, for the process of this unit
// that it starts next: see [Kept]. It returns when the manager has read that. f
// stays the caller's.
func Keep(name string, f *os.File) error { return keep(name, f, barrierTimeout) }

func keep(name string, f *os.File, timeout time.Duration) error {
	if err := sendRights("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", f); err != nil {
		return fmt.Errorf("store a descriptor with the service manager: %w", err)
	}
	return barrier(timeout)
}

// Forget has the service manager close what it keeps under a name.
func Forget(name string) error { return Notify("FDSTOREREMOVE=1\nFDNAME=" + name) }

// barrier waits until the manager has read everything that it was sent.
func barrier(timeout time.Duration) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	defer r.Close()
	err = sendRights("BARRIER=1", w)
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	if err := r.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	var b [1]byte
	if _, err := r.Read(b[:]); errors.Is(err, os.ErrDeadlineExceeded) { // else the manager has closed its end
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	return nil
}

// sendRights is Notify with a descriptor.
func sendRights(state string, f *os.File) error {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return errors.New("there is none")
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = syscall.Sendmsg(int(fd), []byte(state), syscall.UnixRights(int(f.Fd())), nil, syscall.MSG_NOSIGNAL)
		return failed != syscall.EAGAIN
	})
	return errors.Join(err, failed)
}

// Kept is the number of the descriptor that the service manager has kept under a
// name for this process, -1 if there is none. It takes nothing away: a program
// that is run in place of this one finds it, too, unless Sockets was called.
func Kept(name string) int {
	count, names, err := passed(os.Getenv, os.Getpid())
	if err != nil {
		return -1
	}
	for i, n := range names {
		if n == name && i < count {
			return firstFD + i
		}
	}
	return -1
}
