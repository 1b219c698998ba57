package systemd

import (
	"fmt"
	"time"
)

// Reloading reports that the configuration is being read again; Ready must follow.
// now is what CLOCK_MONOTONIC shows: by it a manager of Type=notify-reload tells
// this from what was said before it asked.
func Reloading(now time.Duration) error {
	return Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Microseconds()))
}

// ExtendTimeout reports that starting or stopping goes on, and asks for so much
// time from now on until it is ready, has stopped, or asks again. A manager that
// waits for longer anyway does so.
func ExtendTimeout(by time.Duration) error {
	return Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()))
}
