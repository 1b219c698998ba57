//go:build !linux

package appliance

import "context"

// onClockSet calls nothing: there is nobody to ask.
func onClockSet(context.Context, func()) error { return nil }
