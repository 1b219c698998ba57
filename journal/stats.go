package journal

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// syncBuckets is how many buckets Stats.SyncTimes has.
const syncBuckets = 24

// counters are totals since Open.
type counters struct {
	commits, batches, records, syncs, written  atomic.Uint64
	checkpoints, recycled, failures, syncNanos atomic.Uint64
	syncTimes                                  [syncBuckets]atomic.Uint64
}

// Stats is the log at one instant. Totals count from Open.
type Stats struct {
	State State
	Since time.Time // when it became State
	Err   error     // why State is not OK

	Segments    int // files with records, spares excepted
	Spares      int
	Root, Head  uint32 // segment numbers: where replay begins, and the last
	UsedBytes   int64  // of all files
	BudgetBytes int64  // 0: no bound
	Reserved    int64  // of them, put aside for writing the state anew
	HeldBytes   int64  // of records held
	Backlog     int64  // bytes appended and not yet written

	Records      uint64 // written
	WrittenBytes uint64 // to files: records, marks and headers
	Commits      uint64
	Batches      uint64 // writes that were synced
	Syncs        uint64 // of files
	SyncTime     time.Duration
	// SyncTimes counts syncs by duration: bucket i is those of less than
	// 2^i microseconds and no less than half of that; the last has the rest.
	SyncTimes   [syncBuckets]uint64
	Checkpoints uint64
	Recycled    uint64
	Failures    uint64
	Clock       time.Duration
}

func (c *counters) synced(d time.Duration) {
	i := min(bits.Len64(uint64(max(d, 0)/time.Microsecond)), syncBuckets-1)
	c.syncTimes[i].Add(1)
	c.syncs.Add(1)
	c.syncNanos.Add(uint64(max(d, 0)))
}

// Stats is the log now.
func (l *Log) Stats() Stats {
	c := &l.counters
	st := Stats{
		BudgetBytes:  l.o.MaxBytes,
		Backlog:      l.Backlog(),
		Records:      c.records.Load(),
		WrittenBytes: c.written.Load(),
		Commits:      c.commits.Load(),
		Batches:      c.batches.Load(),
		Syncs:        c.syncs.Load(),
		SyncTime:     time.Duration(c.syncNanos.Load()),
		Checkpoints:  c.checkpoints.Load(),
		Recycled:     c.recycled.Load(),
		Failures:     c.failures.Load(),
		Clock:        l.Clock(),
	}
	for i := range st.SyncTimes {
		st.SyncTimes[i] = c.syncTimes[i].Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	st.State, st.Since, st.Err = l.State(), l.since, l.why
	st.Root, st.Head = l.root, l.head
	st.Spares = len(l.spares)
	st.UsedBytes = l.usedLocked()
	if l.o.MaxBytes > 0 {
		st.Reserved = l.reserveLocked()
	}
	for _, s := range l.segs {
		if s.name != "" {
			st.Segments++
		}
		st.HeldBytes += s.held
	}
	return st
}
