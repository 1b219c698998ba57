//go:build !linux

package dial

import "syscall"

// Shallow does nothing here.
func Shallow(_, _ string, _ syscall.RawConn) error { return nil }
