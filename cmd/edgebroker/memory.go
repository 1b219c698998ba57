package main

import (
	"log/slog"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to five times what is live before it is
	// collected. What is live is a few MiB on an ordinary gateway, and at Go's
	// default of 100 the collector was a quarter of the broker's processor
	// time under load at QoS 1.
	gcPercent = 400

	// memoryShare of the memory that the control group, or else the machine,
	// has is where the collector begins to work harder than gcPercent says.
	memoryShare = 0.5
)

// fitMemory sets how the process uses memory, except for what the environment
// says already with GOGC and GOMEMLIMIT. The machine's memory comes from
// provider, in bytes.
func fitMemory(log *slog.Logger, getenv func(string) string, provider memlimit.Provider) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(provider))
	if err != nil {
		log.Debug("memory of the machine is not known, so garbage is collected without a limit", "error", err)
		return
	}
	log.Debug("memory limit of the garbage collector", "bytes", limit)
}

// machineMemory is the limit of the control group or, without one, the memory
// of the machine.
func machineMemory() memlimit.Provider {
	return memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)
}
