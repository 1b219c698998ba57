package main

import "runtime/debug"

// gcPercent lets the heap grow to five times what is live before it is
// collected, or until the memory budget is used up. What is live is a few MiB on
// an ordinary gateway, and at Go's default of 100 the collector was a quarter of
// the broker's processor time under load at QoS 1.
const gcPercent = 400

// fitMemory sets how often the process collects garbage, unless the
// environment says that already with GOGC. How much memory it keeps to is the
// broker's affair.
func fitMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
