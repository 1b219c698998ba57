package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// errNotStayed is a connection that was made, and ended while it was to stay.
var errNotStayed = errors.New("the broker ended the connection while it was to stay")

// unreachable is a connection that could not be made.
func unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("connect to the broker: %w; does the broker run, and listen there?", err)
	}
	return fmt.Errorf("connect to the broker: %w", err)
}

// reasonOf is a short name for why a connection has failed, out of few, so that
// failures can be counted by it.
func reasonOf(err error) string {
	var refused refusal
	var unverified *tls.CertificateVerificationError
	var name *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.Is(err, errNotStayed):
		return "ended while staying"
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &unverified):
		return "certificate not trusted"
	case errors.As(err, &name):
		return "host not found"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no free port on this machine"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files on this machine"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "no answer in time"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, errClosed), errors.Is(err, io.EOF):
		return "closed before CONNACK"
	}
	// The innermost error does not name the client.
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
