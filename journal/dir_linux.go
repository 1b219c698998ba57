package journal

import (
	"errors"
	"os"
	"syscall"
)

// allocate makes f size bytes long, with blocks where the file system can.
func allocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	for range 100 {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
			return f.Truncate(size)
		}
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return &os.PathError{Op: "fallocate", Path: f.Name(), Err: syscall.EINTR}
}

// syncData is fdatasync: the size goes with it when it has changed.
func syncData(f *os.File) error {
	for range 100 {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
	return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: syscall.EINTR}
}
