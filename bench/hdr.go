package bench

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// ticksPerHalf is how many lines there are from a percentile to the one half as
// far from 100, as HdrHistogram's tools have them.
const ticksPerHalf = 5

// WriteHDR writes the latencies of r in milliseconds as HdrHistogram's tools
// write their percentile distribution (.hgrm), which its plotters read. It is an
// error if there are none.
//
// It is written from our own histogram: that of hdrhistogram-go would cost each
// receiver ten times the memory, and a search for the right bucket, for digits
// that the clock does not have.
func WriteHDR(w io.Writer, r Result) error {
	h := r.histogram
	if h == nil || h.total == 0 {
		return errors.New("no latency was measured, of which a distribution could be written; scenarios idle and sub, and pub at qos 0, have none")
	}
	_, err := w.Write(h.appendHDR(nil))
	return err
}

func (h *histogram) appendHDR(b []byte) []byte {
	const ms = 1e6
	b = fmt.Appendf(b, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	var seen uint64
	level := 0.0 // what the next line has to reach
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		seen += n
		value := float64(h.valueOf(i)) / ms
		for seen < h.total && float64(seen) >= level*float64(h.total) {
			b = fmt.Appendf(b, "%12.3f %2.12f %10d %14.2f\n", value, level, seen, 1/(1-level))
			level += step(level)
		}
	}
	b = fmt.Appendf(b, "%12.3f %2.12f %10d\n", float64(h.max)/ms, 1.0, h.total)
	mean, deviation := h.moments()
	b = fmt.Appendf(b, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean/ms, deviation/ms)
	b = fmt.Appendf(b, "#[Max     = %12.3f, Total count    = %12d]\n", float64(h.max)/ms, h.total)
	return fmt.Appendf(b, "#[Buckets = %12d, SubBuckets     = %12d]\n", bucketCount/subBuckets, subBuckets)
}

// step is from a percentile to the next line: as large as it can be with
// ticksPerHalf lines to the percentile half as far from 100.
func step(level float64) float64 {
	return math.Pow(2, -1-math.Floor(math.Log2(1/(1-level)))) / ticksPerHalf
}

// valueOf is the largest value that may be in bucket i of h.
func (h *histogram) valueOf(i int) int64 {
	if i == bucketCount-1 {
		return h.max
	}
	return min(bucketEnd(i), h.max)
}

// moments are mean and standard deviation in nanoseconds, of the middles of
// buckets.
func (h *histogram) moments() (mean, deviation float64) {
	middle := func(i int) float64 {
		if i == 0 {
			return 0
		}
		return (float64(h.valueOf(i)) + float64(bucketEnd(i-1)+1)) / 2
	}
	total := float64(h.total)
	for i, n := range h.counts {
		if n > 0 {
			mean += middle(i) * float64(n) / total
		}
	}
	for i, n := range h.counts {
		if n > 0 {
			d := middle(i) - mean
			deviation += d * d * float64(n) / total
		}
	}
	return mean, math.Sqrt(deviation)
}
