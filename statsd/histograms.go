package statsd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// histogram is one Prometheus histogram made from a Snapshot.
type histogram struct {
	desc   description
	bounds bounds
	// read returns what bounds are for, and the sum of all. ok is false if there
	// is nothing to count.
	read func(s *Snapshot) (counts []uint64, sum float64, ok bool)
}

// bounds are the upper bounds of counts, of which those from first to last are
// shown: what is less is not worth buckets of its own.
type bounds struct {
	of          func(i int) float64
	first, last int
}

// microseconds are those of times.
func microseconds(first, last int) bounds {
	return bounds{func(i int) float64 { return (time.Microsecond << i).Seconds() }, first, last}
}

// histogramTable lists the histograms, of which StatsD gets none.
func histogramTable() []histogram {
	return []histogram{
		{describe("delivery_seconds", "Time from taking a message on to handing it to the connection of a subscriber, of some messages."), microseconds(3, 24),
			func(s *Snapshot) ([]uint64, float64, bool) { return s.Delivery.Times, s.Delivery.Seconds, true }},
		{describe("message_size_bytes", "Payload of the messages received from clients."),
			bounds{func(i int) float64 { return float64(uint64(16) << (2 * i)) }, 0, 12},
			func(s *Snapshot) ([]uint64, float64, bool) {
				return s.PayloadSizes, float64(s.Received.PayloadBytes), true
			}},
		{describe("journal_sync_seconds", "How long the disk takes to make a write stable."), microseconds(6, 22),
			func(s *Snapshot) ([]uint64, float64, bool) {
				st := &s.Storage
				return st.SyncTimes, st.SyncSeconds, st.State != "" && st.State != StorageNone
			}},
	}
}

// distribution is what a histogram shows of one Snapshot.
type distribution struct {
	bounds []float64 // upper ones, of all buckets but the last, which has none
	within []uint64  // what is at most the bound of that place
	total  uint64
	sum    float64
}

// distribution counts what s holds. ok is false if there is nothing to count.
func (h *histogram) distribution(s *Snapshot) (d distribution, ok bool) {
	counts, sum, ok := h.read(s)
	if !ok {
		return d, false
	}
	d.sum = sum
	for i := range max(len(counts), h.bounds.last+1) {
		if i < len(counts) {
			d.total += counts[i]
		}
		if i >= h.bounds.first && i <= h.bounds.last {
			d.bounds, d.within = append(d.bounds, h.bounds.of(i)), append(d.within, d.total)
		}
	}
	return d, true
}

// collect makes the metric of s, and nil if there is nothing to count.
func (h *histogram) collect(s *Snapshot) prometheus.Metric {
	d, ok := h.distribution(s)
	if !ok {
		return nil
	}
	buckets := make(map[float64]uint64)
	for i, bound := range d.bounds {
		buckets[bound] = d.within[i]
	}
	return prometheus.MustNewConstHistogram(h.desc.Desc, d.total, d.sum, buckets)
}
