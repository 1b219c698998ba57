package dial

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes wait in the kernel that have not been sent yet.
const unsent = 16 << 10

// Shallow is for net.Dialer.Control: what has been written is soon on the line,
// however slow that is, and does not wait in the kernel for long. It does not
// keep a fast line from being full.
func Shallow(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) }); e != nil {
		return e
	}
	if err == unix.ENOPROTOOPT { // before Linux 3.12
		return nil
	}
	return err
}
