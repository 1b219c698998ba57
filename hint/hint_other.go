//go:build !linux

package hint

import "log/slog"

// Hints vouches for nothing: there is nobody to ask.
type Hints struct{}

// New returns Hints that vouch for nothing.
func New(*slog.Logger) *Hints { return &Hints{} }

// Watch makes a watch that vouches for nothing and never calls hint.
func (*Hints) Watch(func()) (attend func([]string) bool, end func()) {
	return func([]string) bool { return false }, func() {}
}

// Close does nothing.
func (*Hints) Close() error { return nil }
