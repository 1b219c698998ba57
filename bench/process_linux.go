package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
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

// processMemory returns the resident memory of a process in bytes, now and the
// most that it has been.
func processMemory(pid int) (rss, peak uint64, err error) {
	v, err := statusOf(fmt.Sprintf("/proc/%d/status", pid), "VmRSS", "VmHWM")
	if err != nil {
		return 0, 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return v[0] << 10, v[1] << 10, nil
}

// processSwitches returns how often the threads that a process has now have
// been switched away from: of their own accord, and not.
func processSwitches(pid int) (voluntary, involuntary uint64, err error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("read the threads of process %d: %w", pid, err)
	}
	for _, thread := range threads {
		v, err := statusOf(dir+"/"+thread.Name()+"/status", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // has ended meanwhile
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read the threads of process %d: %w", pid, err)
		}
		voluntary += v[0]
		involuntary += v[1]
	}
	return voluntary, involuntary, nil
}

// processWritten returns the bytes that a process has caused to be written to
// disks. Only the process's own user and root may ask.
func processWritten(pid int) (uint64, error) {
	v, err := statusOf(fmt.Sprintf("/proc/%d/io", pid), "write_bytes")
	if err != nil {
		return 0, fmt.Errorf("read what process %d has written: %w", pid, err)
	}
	return v[0], nil
}

// statusOf reads numbers of a file in which each stands after its name and a
// colon; a unit may follow.
func statusOf(path string, names ...string) ([]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values, found := make([]uint64, len(names)), 0
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		i := slices.Index(names, string(name))
		if i < 0 {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) == 0 {
			return nil, fmt.Errorf("%s has nothing after %s", path, names[i])
		}
		if values[i], err = strconv.ParseUint(string(f[0]), 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, names[i], err)
		}
		found++
	}
	if found != len(names) {
		return nil, fmt.Errorf("%s has %d of %v", path, found, names)
	}
	return values, nil
}

// ownCPU returns the CPU time that this process has used.
func ownCPU() time.Duration {
	d, _ := processCPU(os.Getpid()) // cannot fail for oneself
	return d
}
