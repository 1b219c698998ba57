package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramEmpty(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestHistogramBucketsAreContiguous(t *testing.T) {
	for i := range bucketCount - 1 {
		end := bucketEnd(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, but holds %d and the next starts at bucket %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
	if got := bucketOf(math.MaxInt64); got != bucketCount-1 {
		t.Errorf("the longest duration is in bucket %d", got)
	}
}

// TestHistogramQuantile compares with the exact quantile of the same values:
// never below it, and at most one bucket width above.
func TestHistogramQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-5, 1<<maxExponent-1), 1, 300).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		split := rapid.IntRange(0, len(values)).Draw(t, "split")
		var h, other histogram
		for i, v := range values {
			if i < split {
				other.record(time.Duration(v))
			} else {
				h.record(time.Duration(v))
			}
			values[i] = max(v, 0)
		}
		h.merge(&other)
		slices.Sort(values)
		rank := min(max(int(q*float64(len(values))+0.5), 1), len(values))
		exact := values[rank-1]
		got := int64(h.quantile(q))
		if got < exact || got > exact+exact/subBuckets {
			t.Fatalf("quantile %v of %v is %d instead of %d", q, values, got, exact)
		}
		if h.max != values[len(values)-1] || h.total != uint64(len(values)) {
			t.Fatalf("max %d of %d values, total %d", h.max, len(values), h.total)
		}
	})
}

func TestHistogramBeyondRange(t *testing.T) {
	var h histogram
	h.record(math.MaxInt64)
	if got := h.quantile(0.5); got != math.MaxInt64 {
		t.Errorf("got %v", got)
	}
}
