package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"testing"
)

func TestFitMemory(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, tc := range map[string]struct {
		gogc     string
		provider func() (uint64, error)
		percent  int
		limit    int64
	}{
		"a machine of 256 MiB":    {"", func() (uint64, error) { return 256 << 20, nil }, gcPercent, 128 << 20},
		"GOGC is set":             {"50", func() (uint64, error) { return 64 << 20, nil }, 100, 32 << 20},
		"the memory is not known": {"", func() (uint64, error) { return 0, errors.New("no /proc") }, gcPercent, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", "") // so that it is restored afterwards
			if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
				t.Fatal(err)
			}
			percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
			defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
			fitMemory(log, func(string) string { return tc.gogc }, tc.provider)
			if got := debug.SetGCPercent(100); got != tc.percent {
				t.Errorf("GC percent %d, want %d", got, tc.percent)
			}
			if got := debug.SetMemoryLimit(-1); got != tc.limit {
				t.Errorf("memory limit %d, want %d", got, tc.limit)
			}
		})
	}
}

func TestMachineMemory(t *testing.T) {
	if n, err := machineMemory()(); err != nil || n < 1<<20 {
		t.Errorf("the machine has %d bytes, %v", n, err)
	}
}
