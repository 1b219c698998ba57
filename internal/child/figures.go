package child

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Figures are what the kernel says of a process.
type Figures struct {
	Resident, Anonymous  int64 // bytes of memory; Anonymous is what no file is behind
	Peak                 int64 // the most that was resident
	Descriptors, Threads int
	Processor            time.Duration // of all threads, in steps of 10 ms
}

const clockTick = 10 * time.Millisecond // USER_HZ, the same on all our machines

// Look reads the Figures of a process that runs.
func Look(pid int) (f Figures, err error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	number := func(key string) int64 {
		_, rest, _ := strings.Cut(string(status), "\n"+key+":")
		n, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
		return n
	}
	f.Resident, f.Anonymous, f.Peak = number("VmRSS")<<10, number("RssAnon")<<10, number("VmHWM")<<10
	f.Threads = int(number("Threads"))
	open, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	f.Descriptors = len(open)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return f, fmt.Errorf("look at the broker: %w", err)
	}
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(words) > 12 {
		for _, w := range words[11:13] { // utime, stime
			n, _ := strconv.ParseInt(w, 10, 64)
			f.Processor += time.Duration(n) * clockTick
		}
	}
	return f, nil
}

// Size is how many bytes the files in a folder have; what goes meanwhile has none.
func Size(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
