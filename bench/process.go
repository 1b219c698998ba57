package bench

import "time"

// usage is what a process has used since it started, or holds now.
type usage struct {
	cpu         time.Duration // of all threads, in user and kernel mode
	rss, peak   uint64        // resident memory in bytes, now and at most
	written     uint64        // bytes written to disks
	voluntary   uint64        // context switches: threads that waited
	involuntary uint64        // context switches: threads that had to make room
}

// usageOf reads the figures of a process. What cannot be read is zero: only
// the process's own user and root may see all, and one that has gone shows by
// its connections.
func usageOf(pid int) (u usage) {
	if pid <= 0 {
		return u
	}
	u.cpu, _ = processCPU(pid)
	u.rss, u.peak, _ = processMemory(pid)
	u.written, _ = processWritten(pid)
	u.voluntary, u.involuntary, _ = processSwitches(pid)
	return u
}
