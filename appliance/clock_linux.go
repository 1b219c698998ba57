package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// farOff is when the timer would fire. A time of 32 bits must hold it.
const farOff = 365 * 24 * time.Hour

// onClockSet calls set each time that somebody has set the clock, and once a year,
// until ctx ends. It waits for a timer that is cancelled by that, see timerfd_create(2):
// a process that has nothing to do is not woken up.
func onClockSet(ctx context.Context, set func()) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timer that is cancelled when the clock is set")
	defer timer.Close()
	defer context.AfterFunc(ctx, func() { _ = timer.Close() })() // ends Read
	for {
		then := unix.ItimerSpec{Value: unix.NsecToTimespec(time.Now().Add(farOff).UnixNano())}
		if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &then, nil); err != nil {
			return fmt.Errorf("timerfd_settime: %w", err)
		}
		_, err := timer.Read(make([]byte, 8))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ECANCELED):
			return fmt.Errorf("wait for the clock to be set: %w", err)
		}
		set()
	}
}
