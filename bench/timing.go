package bench

import (
	"sync/atomic"
	"time"
)

// timing measures one publisher's way to the broker and back, where nobody
// receives its messages: from sending, or from when that was due, to the
// acknowledgement. The publisher calls sent, its reader arrived; the window
// keeps the two apart by less than its size.
type timing struct {
	at       []int64 // by message number modulo its length
	done     uint64  // acknowledged before
	rec      *recorder
	recordAt *atomic.Int64
}

func newTiming(window int, rec *recorder, recordAt *atomic.Int64) *timing {
	return &timing{at: make([]int64, window), rec: rec, recordAt: recordAt}
}

// sent says that n messages from number first on belong to the time at.
func (t *timing) sent(first, n uint64, at int64) {
	for i := range n {
		t.at[(first+i)%uint64(len(t.at))] = at
	}
}

// arrived says that at now all before number n are acknowledged.
func (t *timing) arrived(n uint64, now time.Duration) {
	if n == t.done {
		return
	}
	from := t.recordAt.Load()
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	for ; t.done < n; t.done++ {
		if at := t.at[t.done%uint64(len(t.at))]; at >= from {
			t.rec.latency.record(now - time.Duration(at))
		}
	}
}
