package systemd

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"time"
)

// WatchdogInterval is how long the service manager waits between two signs of
// life before it kills the process, or 0 when no watchdog is set for this
// process. Send Notify("WATCHDOG=1") at half of it, and only while the process
// does its work: a timer that feeds the watchdog regardless defeats it.
//
// An error means that WATCHDOG_USEC or WATCHDOG_PID is not what systemd
// writes; a manager that set it is about to kill the process.
func WatchdogInterval() (time.Duration, error) {
	text := os.Getenv("WATCHDOG_USEC")
	if text == "" {
		return 0, nil
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return 0, fmt.Errorf("read WATCHDOG_PID: %q is not a process id", pid)
		}
		if n != os.Getpid() { // inherited: meant for another process
			return 0, nil
		}
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > math.MaxInt64/int64(time.Microsecond) {
		return 0, fmt.Errorf("read WATCHDOG_USEC: %q is not a number of microseconds", text)
	}
	return time.Duration(usec) * time.Microsecond, nil
}
