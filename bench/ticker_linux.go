package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ticker is a periodic clock that counts ticks nobody waited for. It is a
// timerfd in the runtime's poller: Go's own timers are rounded to whole
// milliseconds when the process is idle, which would show as broker latency.
type ticker struct {
	file  *os.File
	close func()
}

// newTicker ticks at start and every interval after it, without drift.
func newTicker(start time.Time, interval time.Duration) (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	t := &ticker{file: os.NewFile(uintptr(fd), "timerfd")}
	t.close = sync.OnceFunc(func() { t.file.Close() })
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(interval)),
		Value:    unix.NsecToTimespec(int64(max(time.Until(start), 1))),
	}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		t.close()
		return nil, fmt.Errorf("timerfd_settime: %w", err)
	}
	return t, nil
}

// wait returns how many ticks have passed since the last wait, at least one.
// It fails after close.
func (t *ticker) wait() (uint64, error) {
	var b [8]byte
	if _, err := t.file.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}
