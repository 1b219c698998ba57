package brokertest

import (
	"errors"
	"syscall"
)

// isReset tells whether the peer closed with unread data in its buffer, which
// to a client is one way of being cut off.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
