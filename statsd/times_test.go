package statsd_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
	"pgregory.net/rapid"
)

// Of what has been counted, p of 100 are below the percentile, and not p of 100
// below the next bound that is lower.
func TestPercentile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOfN(rapid.Uint64Range(0, 1000), 0, 26).Draw(t, "counts")
		p := rapid.SampledFrom([]int{50, 90, 99}).Draw(t, "p")
		got := statsd.Percentile(counts, p)
		below := func(bound float64) (n float64) {
			for i, c := range counts[:max(len(counts)-1, 0)] { // what is in the last has no bound
				if math.Ldexp(1e-6, i) <= bound*1.0000001 {
					n += float64(c)
				}
			}
			return n
		}
		var total float64
		for _, c := range counts {
			total += float64(c)
		}
		rank := total * float64(p) / 100
		switch {
		case total == 0:
			if got != 0 {
				t.Fatalf("%v of nothing", got)
			}
		case below(math.Inf(1)) < rank: // it is in the last
			if want := math.Ldexp(1e-6, len(counts)-2); math.Abs(got-want) > want/1e6 {
				t.Fatalf("%v; want %v, where the last begins", got, want)
			}
		case below(got) < rank || below(got/2) >= rank:
			t.Fatalf("%v: %v and half of it %v of %v are below", got, below(got), below(got/2), total)
		}
	})
}

func TestNewDelivery(t *testing.T) {
	d := statsd.NewDelivery([]uint64{0, 3, 1, 0}, 5*time.Microsecond)
	if d.Measured != 4 || d.Seconds != 5e-6 || d.P50 != 2e-6 || d.P99 != 4e-6 || len(d.Times) != 4 {
		t.Errorf("%+v", d)
	}
}

// What a scraper makes of the histograms: the buckets of the document, whose
// counts never fall and end with all.
func TestHistograms(t *testing.T) {
	got := samples(t, scrapeSnapshot(t, exampleSnapshot()))
	for _, h := range []struct {
		name        string
		count, sum  float64
		first, step float64
		buckets     int
		some        map[int]float64 // by place
	}{
		{"edgebroker_delivery_seconds", 5000, 1.5, 8e-6, 2, 22, map[int]float64{0: 1000, 3: 1000, 4: 3000, 5: 4900, 9: 4990, 20: 4990, 21: 4999}},
		{"edgebroker_message_size_bytes", 1234567, 123456789, 16, 4, 13, map[int]float64{0: 200000, 1: 1200000, 2: 1230000, 12: 1234567}},
	} {
		if n, sum := got[h.name+"_count"], got[h.name+"_sum"]; n != h.count || sum != h.sum {
			t.Errorf("%s: %v with sum %v; want %v, %v", h.name, n, sum, h.count, h.sum)
		}
		last := 0.0
		for i := range h.buckets {
			bound := strconv.FormatFloat(h.first*math.Pow(h.step, float64(i)), 'g', -1, 64)
			n, there := got[h.name+`_bucket{le="`+bound+`"}`]
			if !there || n < last {
				t.Errorf("%s up to %s: %v (%v), before %v", h.name, bound, n, there, last)
			}
			if want, tested := h.some[i]; tested && n != want {
				t.Errorf("%s up to %s: %v, want %v", h.name, bound, n, want)
			}
			last = n
		}
		if n := got[h.name+`_bucket{le="+Inf"}`]; n != h.count {
			t.Errorf("%s up to +Inf: %v", h.name, n)
		}
	}
}

// A broker that has counted nothing has the same buckets.
func TestHistogramsOfNothing(t *testing.T) {
	got := samples(t, scrapeSnapshot(t, statsd.Snapshot{}))
	if n, there := got[`edgebroker_delivery_seconds_bucket{le="8e-06"}`]; n != 0 || !there {
		t.Errorf("%v, %v", n, there)
	}
	if n, there := got[`edgebroker_message_size_bytes_bucket{le="1024"}`]; n != 0 || !there {
		t.Errorf("%v, %v", n, there)
	}
}
