package bench

import (
	"math/bits"
	"time"
)

const (
	// subBits sets the precision: 64 buckets for each power of two, so a
	// bucket is at most 1/64 (1.6 %) as wide as the values in it.
	subBits    = 6
	subBuckets = 1 << subBits
	// maxExponent bounds the range: 2^41 ns are 36 minutes.
	maxExponent = 41
	bucketCount = (maxExponent - subBits + 1) * subBuckets
)

// histogram counts durations in buckets whose width grows with the value.
// Recording allocates nothing. It is not safe for concurrent use: each
// goroutine records into its own and the owner merges them afterwards.
type histogram struct {
	counts [bucketCount]uint64
	total  uint64
	max    int64 // ns, exact
}

// record counts one duration. Negative ones count as zero, those beyond the
// range in the last bucket; max stays exact.
func (h *histogram) record(d time.Duration) {
	v := max(int64(d), 0)
	h.counts[bucketOf(v)]++
	h.total++
	h.max = max(h.max, v)
}

// merge adds the counts of o.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// after is what has been recorded since h was before. Its maximum is that of its
// highest bucket.
func (h *histogram) after(before *histogram) *histogram {
	diff := &histogram{}
	for i, n := range h.counts {
		if k := n - before.counts[i]; k > 0 {
			diff.counts[i] = k
			diff.total += k
			diff.max = min(bucketEnd(i), h.max)
		}
	}
	return diff
}

// quantile returns a duration that the fraction q of the recorded ones do not
// exceed, rounded up to the end of its bucket but never above the maximum. It
// is zero when nothing was recorded.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q*float64(h.total) + 0.5)
	rank = min(max(rank, 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			if i == bucketCount-1 {
				break
			}
			return time.Duration(min(bucketEnd(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// bucketOf returns the bucket of v. Values below subBuckets have one each.
func bucketOf(v int64) int {
	exp := bits.Len64(uint64(v)) - subBits - 1
	if exp <= 0 {
		return int(v)
	}
	// v>>exp is in [subBuckets, 2*subBuckets), so each power of two fills the
	// next subBuckets buckets.
	return min(exp<<subBits+int(v>>exp), bucketCount-1)
}

// bucketEnd returns the largest value of bucket i.
func bucketEnd(i int) int64 {
	exp := max(i>>subBits-1, 0)
	return (int64(i-exp<<subBits)+1)<<exp - 1
}
