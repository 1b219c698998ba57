package statsd_test

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// become changes the credentials of this thread alone.
func become(uid, gid, further int) error {
	list := [1]uint32{uint32(further)}
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&list[0])), 0},
		{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	runtime.KeepAlive(&list)
	return nil
}
