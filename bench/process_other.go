//go:build !linux

package bench

import (
	"errors"
	"time"
)

var errNoProcess = errors.New("CPU time and memory of the broker can be read on Linux only; leave out the pid")

func processCPU(int) (time.Duration, error) { return 0, errNoProcess }

func processMemory(int) (rss, peak uint64, err error) { return 0, 0, errNoProcess }

func processSwitches(int) (voluntary, involuntary uint64, err error) { return 0, 0, errNoProcess }

func processWritten(int) (uint64, error) { return 0, errNoProcess }

func ownCPU() time.Duration { return 0 }
