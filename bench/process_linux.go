package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU returns the CPU time that all threads of a process have used, in
// user and kernel mode. It reads the process's CPU clock, which is what
// utime+stime in /proc/PID/stat is made of, without their rounding to 10 ms.
func processCPU(pid int) (time.Duration, error) {
	// The kernel's encoding of a process's scheduler clock, as
	// clock_getcpuclockid(3) returns it.
	const schedulerClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedulerClock, &ts); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// processRSS returns the resident memory of a process in bytes.
func processRSS(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/statm", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, fmt.Errorf("read the memory of process %d: %s has %d fields instead of 7", pid, path, len(fields))
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

// processWritten returns the bytes that a process has caused to be written to
// disks. Only the process's own user and root may ask.
func processWritten(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/io", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read what process %d has written: %w", pid, err)
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read what process %d has written: %w", pid, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("read what process %d has written: %s has no write_bytes", pid, path)
}

// ownCPU returns the CPU time that this process has used.
func ownCPU() time.Duration {
	d, _ := processCPU(os.Getpid()) // cannot fail for oneself
	return d
}
