package main

import (
	"runtime/debug"
	"testing"
)

func TestFitMemory(t *testing.T) {
	for name, tc := range map[string]struct {
		gogc    string
		percent int
	}{
		"nobody has said anything": {"", 400},
		"GOGC is set":              {"50", 100},
	} {
		t.Run(name, func(t *testing.T) {
			percent := debug.SetGCPercent(100)
			defer debug.SetGCPercent(percent)
			defer fitMemory(func(string) string { return tc.gogc })()
			if got := debug.SetGCPercent(100); got != tc.percent {
				t.Errorf("GC percent %d, want %d", got, tc.percent)
			}
		})
	}
}
