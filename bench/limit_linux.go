package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// allowFiles makes sure that this process may have n files open.
func allowFiles(n int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("ask for the limit of open files: %w", err)
	}
	want := uint64(n)
	if l.Cur >= want {
		return nil
	}
	// Above the hard limit only root may go.
	raised := unix.Rlimit{Cur: want, Max: max(l.Max, want)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("%w: %d are needed and the hard limit is %d; run bench as root, or start it from a shell in which root has said `ulimit -Hn %d`, or raise nofile in /etc/security/limits.conf and log in again", errTooManyFiles, n, l.Max, n)
	}
	return nil
}

// bindLate is for net.Dialer.Control: a port of the local address is chosen
// when it is known where the connection goes, so that ports may serve for
// several destinations.
func bindLate(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); e != nil {
		return e
	}
	if err == unix.ENOPROTOOPT { // before Linux 4.2
		return nil
	}
	return err
}

// ephemeralPorts is how many ports there are for connections from one address
// to one other.
func ephemeralPorts() int {
	const usual = 60999 - 32768 + 1
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	return portsOf(b, usual)
}

// portsOf reads two port numbers, and gives usual if these are not there.
func portsOf(b []byte, usual int) int {
	f := bytes.Fields(b)
	if len(f) != 2 {
		return usual
	}
	from, err1 := strconv.Atoi(string(f[0]))
	to, err2 := strconv.Atoi(string(f[1]))
	if err1 != nil || err2 != nil || to < from {
		return usual
	}
	return to - from + 1
}
