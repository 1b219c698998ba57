package main

import "github.com/synthetism/edgebroker/memory"

// fitMemory sets how often the process collects garbage, unless the
// environment says that already with GOGC. How much memory it keeps to is the
// broker's affair.
func fitMemory(getenv func(string) string) (stop func()) {
	if getenv("GOGC") != "" {
		return func() {}
	}
	return memory.KeepPace()
}
