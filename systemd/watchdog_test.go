package systemd

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestWatchdogInterval(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	parent := strconv.Itoa(os.Getppid())
	for _, tc := range []struct {
		name, usec, pid string
		want            time.Duration
		fails           bool
	}{
		{name: "none set"},
		{name: "for this process", usec: "30000000", pid: self, want: 30 * time.Second},
		{name: "for any process", usec: "1500000", want: 1500 * time.Millisecond},
		{name: "for another process", usec: "30000000", pid: parent},
		{name: "largest", usec: "9223372036854775", want: 9223372036854775 * time.Microsecond},
		{name: "too large for a duration", usec: "9223372036854776", fails: true},
		{name: "not a number", usec: "30s", fails: true},
		{name: "zero", usec: "0", fails: true},
		{name: "negative", usec: "-1", fails: true},
		{name: "pid is not a number", usec: "30000000", pid: "self", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", tc.usec)
			t.Setenv("WATCHDOG_PID", tc.pid)
			got, err := WatchdogInterval()
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("WatchdogInterval() = %v, %v; want %v, failure %v", got, err, tc.want, tc.fails)
			}
		})
	}
}
