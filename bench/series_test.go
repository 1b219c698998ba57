package bench_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

func collect(into *[]bench.Result) func(bench.Result) error {
	return func(r bench.Result) error { *into = append(*into, r); return nil }
}

func TestSeriesRepeatsInTurn(t *testing.T) {
	addr := startBroker(t)
	var got []bench.Result
	runs := []bench.Options{{Address: addr, Count: 5, Clients: 1}, {Address: addr, Count: 5, Clients: 1, QoS: 1}}
	if err := bench.Series(t.Context(), runs, 2, collect(&got)); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range got {
		order = append(order, fmt.Sprintf("%d/%d", r.Repetition, r.QoS))
	}
	if want := []string{"1/0", "1/1", "2/0", "2/1"}; !slices.Equal(order, want) {
		t.Errorf("runs were %v instead of %v", order, want)
	}
}

// A share of saturation is one of what has just been measured, once for all
// shares.
func TestSeriesShares(t *testing.T) {
	brokertest.NoLeaks(t)
	o := bench.Options{Address: startBroker(t), Clients: 2, Duration: 200 * time.Millisecond, Warmup: 20 * time.Millisecond, QoS: 1, Window: 4}
	low, high := o, o
	low.RateShare, high.RateShare = 0.02, 0.1
	var got []bench.Result
	if err := bench.Series(t.Context(), []bench.Options{low, high}, 1, collect(&got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Rate != 0 || got[0].RateShare != 0 || got[1].RateShare != 0.02 || got[2].RateShare != 0.1 {
		t.Fatalf("got %+v", got)
	}
	for _, r := range got[1:] {
		if want := got[0].PubsPerSec / 2 * r.RateShare; r.Rate < want*0.999 || r.Rate > want*1.001 || !r.Clean() {
			t.Errorf("%v of %v/s of two is %v/s", r.RateShare, got[0].PubsPerSec, r.Rate)
		}
	}
}

func TestSeriesEnds(t *testing.T) {
	addr := startBroker(t)
	proxy := newProxy(t, addr, func(n int) fault { return fault{drop: n >= 10} })
	var got []bench.Result
	runs := []bench.Options{
		{Address: addr, Count: 5, Clients: 1},
		{Address: proxy, Count: 50, Clients: 1, StallAfter: 100 * time.Millisecond},
		{Address: addr, Count: 5, Clients: 1},
	}
	err := bench.Series(t.Context(), runs, 1, collect(&got))
	if !errors.Is(err, bench.ErrStalled) || len(got) != 2 || got[1].Lost == 0 {
		t.Errorf("%d results, %v", len(got), err)
	}
	got = nil
	err = bench.Series(t.Context(), []bench.Options{{Address: addr, Count: 5}, {Address: addr, QoS: 3}}, 1, collect(&got))
	if err == nil || !strings.Contains(err.Error(), "qos") || len(got) != 0 {
		t.Errorf("%d runs before the mistake was seen, %v", len(got), err)
	}
	full := errors.New("disk full")
	if err := bench.Series(t.Context(), runs[:1], 3, func(bench.Result) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
