//go:build !linux

package bench

import "io"

// isTerminal is known on Linux only.
func isTerminal(io.Writer) bool { return false }
