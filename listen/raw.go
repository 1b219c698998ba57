package listen

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawRead, rawWrite and rawWritev are read(2), write(2) and writev(2) for sockets that
// do not block. They leave out what Go does around system calls that may: telling
// the scheduler, which wakes the runtime's monitor thread whenever the process
// has been idle. At a few messages per millisecond that thread's naps were a
// third of the processor time of a message.

func rawRead(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func rawWrite(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// rawWritev writes the pieces of v, of which there are at most writeVecs and at
// least one, none of them empty.
func rawWritev(fd uintptr, v *vector, list [][]byte) (int, error) {
	for i, p := range list {
		v.iov[i].Base = &p[0]
		v.iov[i].SetLen(len(p))
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&v.iov[0])), uintptr(len(list)))
	clear(v.iov[:len(list)])
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
