package statsd

import (
	"fmt"
	"time"
)

// Delivery is how long the broker takes to hand on what is published: see
// docs/MONITORING.md for what is measured.
type Delivery struct {
	Measured uint64  `json:"measured"` // deliveries
	Seconds  float64 `json:"seconds"`  // that they took together
	P50      float64 `json:"p50"`      // seconds: half of them took less; see Percentile
	P99      float64 `json:"p99"`      // and 99 of 100
	// Times counts them by duration, as Storage.SyncTimes does.
	Times []uint64 `json:"times,omitempty"`
}

// NewDelivery describes deliveries that are counted by duration, as
// Storage.SyncTimes are, and took total together.
func NewDelivery(counts []uint64, total time.Duration) Delivery {
	return Delivery{Measured: times(counts).total(), Seconds: total.Seconds(), P50: Percentile(counts, 50), P99: Percentile(counts, 99), Times: counts}
}

// Percentile is what p of 100 took less than, in seconds and as exactly as counts
// tell, which are those of Storage.SyncTimes: the end of a bucket. For the last
// bucket, which has none, it is its beginning. Of nothing it is 0.
func Percentile(counts []uint64, p int) float64 {
	d, _ := times(counts).percentile(p)
	return d.Seconds()
}

// times counts by duration: entry i what took less than 2^i microseconds and no
// less than half of that, the last all that took longer.
type times []uint64

func (t times) total() (n uint64) {
	for _, c := range t {
		n += c
	}
	return n
}

// bound is what entry i took less than.
func (t times) bound(i int) time.Duration { return time.Microsecond << i }

// percentile returns the end of the bucket that holds the slowest of p of 100. ok
// is false if it has none: then it returns its beginning, and 0 if t is empty.
func (t times) percentile(p int) (d time.Duration, ok bool) {
	var seen uint64
	rank := float64(t.total()) * float64(p) / 100
	for i, n := range t {
		if seen += n; n == 0 || float64(seen) < rank {
			continue
		}
		if i == len(t)-1 {
			return t.bound(i) / 2, false
		}
		return t.bound(i), true
	}
	return 0, false
}

// text says what half and nearly all stay below.
func (t times) text() string {
	say := func(p int) string {
		d, ok := t.percentile(p)
		if !ok {
			return fmt.Sprintf("%d%% beyond %s", 100-p, shortSpan(d))
		}
		return fmt.Sprintf("%d%% under %s", p, shortSpan(d))
	}
	if t.total() == 0 {
		return "none yet"
	}
	return say(50) + ", " + say(99)
}

// deliveryGroup has no rows if nothing has been measured.
func (s Snapshot) deliveryGroup() group {
	g := group{title: "delivery"}
	d := s.Delivery
	if d.Measured == 0 {
		return g
	}
	mean := seconds(d.Seconds / float64(d.Measured))
	g.rows = [][2]string{
		{"takes", times(d.Times).text()},
		{"measured", fmt.Sprintf("%s deliveries, %s on average", count(d.Measured), shortSpan(mean))},
	}
	return g
}
