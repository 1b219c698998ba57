package main

import (
	"strings"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	zone := time.FixedZone("x", 2*3600)
	now := time.Date(2026, 3, 1, 14, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2h":                   now.Add(-2 * time.Hour),
		"1d12h":                now.Add(-36 * time.Hour),
		"0s":                   now,
		"14:05":                time.Date(2026, 3, 1, 14, 5, 0, 0, zone),
		"14:05:09":             time.Date(2026, 3, 1, 14, 5, 9, 0, zone),
		"15:00":                time.Date(2026, 2, 28, 15, 0, 0, 0, zone), // yesterday, for it has not come today
		"2026-02-01":           time.Date(2026, 2, 1, 0, 0, 0, 0, zone),
		"2026-02-01 08:00":     time.Date(2026, 2, 1, 8, 0, 0, 0, zone),
		"2026-02-01T08:00":     time.Date(2026, 2, 1, 8, 0, 0, 0, zone),
		"2026-02-01T08:00:00Z": time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "2", "25:00", "2026-13-01", "9999999d"} {
		if got, err := moment(text, now); err == nil || !strings.Contains(err.Error(), "write how long ago") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
