package statsd

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"
)

// memoryEvery is how long one reading of the memory is good for.
const memoryEvery = time.Second

// memoryReader reads the memory of the process, at most once in memoryEvery.
// The zero value is ready.
type memoryReader struct {
	mu   sync.Mutex
	at   time.Time
	last Memory
}

// read returns a reading that is at most memoryEvery old at the time now.
func (r *memoryReader) read(now time.Time) Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || now.Sub(r.at) >= memoryEvery {
		r.at, r.last = now, readMemory()
	}
	return r.last
}

// readMemory asks the runtime and the system. Unlike runtime.ReadMemStats this
// does not stop the world.
func readMemory() Memory {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later runtime may drop a metric
		}
		return samples[i].Value.Uint64()
	}
	return Memory{
		Heap:       value(0),
		Sys:        value(1) - value(2),
		Resident:   residentBytes(),
		Goroutines: int(value(3)),
	}
}

// residentBytes returns the physical memory of the process, or 0 where the
// system does not tell.
func residentBytes() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	// Pages: total, resident, and more. See proc_pid_statm(5).
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
