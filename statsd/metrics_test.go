package statsd_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/synthetism/edgebroker/statsd"
)

// scrape returns the sample lines and help lines of our own metrics.
func scrape(t *testing.T, r *running) (own []string, all []byte) {
	t.Helper()
	all, err := r.control.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, "edgebroker_") {
			own = append(own, strings.ReplaceAll(line, runtime.Version(), "GOVERSION"))
		}
	}
	return own, all
}

func TestMetrics(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	own, all := scrape(t, r)
	golden(t, "metrics.txt", []byte(strings.Join(own, "")))

	for _, want := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !bytes.Contains(all, []byte("\n"+want)) {
			t.Errorf("%s is missing", want)
		}
	}
	problems, err := promlint.New(bytes.NewReader(all)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "edgebroker_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// awkward is a broker whose reasons are no words, and that counts its scrapes.
type awkward struct {
	*fakeBackend
	scrapes atomic.Int32
}

func (a *awkward) Snapshot() statsd.Snapshot {
	a.scrapes.Add(1)
	return statsd.Snapshot{
		Version:        "\xff",
		Certificates:   []statsd.Certificate{{Subject: "CN=\xff", NotAfter: time.Unix(1, 0)}, {Subject: "CN=\\xff", NotAfter: time.Unix(2, 0)}},
		Dropped:        statsd.Dropped{ByReason: map[string]uint64{"queue_full": 1, "\xff": 2, "": 3, "other": 4, strings.Repeat("x", 65): 5, "Not a word": 6}},
		Disconnections: map[string]uint64{},
	}
}

func TestMetricsSurviveAwkwardReasons(t *testing.T) {
	backend := &awkward{fakeBackend: newFakeBackend()}
	r := startBackend(t, backend, backend.fakeBackend, statsd.Options{}, nil)
	own, _ := scrape(t, r)
	own = slices.DeleteFunc(own, func(line string) bool { return !strings.HasPrefix(line, "edgebroker_messages_dropped_total{") })
	want := []string{"edgebroker_messages_dropped_total{reason=\"other\"} 20\n", "edgebroker_messages_dropped_total{reason=\"queue_full\"} 1\n"}
	if fmt.Sprint(own) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", own, want)
	}
	if n := backend.scrapes.Load(); n != 1 {
		t.Errorf("one scrape read %d snapshots: its numbers would not belong together", n)
	}
}

// Two servers in one process do not share metrics, nor use the global registry.
func TestTwoServers(t *testing.T) {
	for range 2 {
		r := start(t, newFakeBackend(), statsd.Options{}, nil)
		if own, _ := scrape(t, r); len(own) == 0 {
			t.Error("no metrics")
		}
	}
}
