package statsd

import (
	"errors"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// callerOf asks the kernel who has connected.
func callerOf(c net.Conn) (out caller) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return out
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return out
	}
	_ = raw.Control(func(fd uintptr) { // fails only if it is closed, and then nobody asks
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		out = caller{known: true, uid: cred.Uid, gid: cred.Gid, pid: cred.Pid, groups: groupsOf(fd)}
	})
	return out
}

// groupsOf is the further groups of whoever has connected; none before Linux
// 4.13.
func groupsOf(fd uintptr) []uint32 {
	for n := 64; n <= 1<<16; n *= 4 { // as many as a process may have
		list := make([]uint32, n)
		size := uint32(4 * n)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return list[:size/4]
		case !errors.Is(errno, unix.ERANGE):
			return nil
		}
	}
	return nil
}

// hasACL reports whether the file at path has an access control list.
func hasACL(path string) bool {
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
