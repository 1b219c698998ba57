package statsd_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// otlpPoint is one value of a series as a collector sees it.
type otlpPoint struct {
	value       float64
	start, time time.Time // start is zero for a gauge
}

// otlpContent is a report, taken apart. Histograms are series as Prometheus has
// them.
type otlpContent struct {
	resource map[string]string
	series   map[string]otlpPoint // by name and labels, as Prometheus writes them
	units    map[string]string    // by name
	sums     map[string]bool      // whether the metric only grows, by name
}

func texts(list []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range list {
		m[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	return m
}

// seriesName is a sample's name and labels as Prometheus writes them.
func seriesName(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[k])+`"`)
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// readOTLP takes a report apart. The error says what no collector would accept.
func readOTLP(body []byte) (c otlpContent, err error) {
	var data metricspb.MetricsData
	if err := proto.Unmarshal(body, &data); err != nil {
		return c, err
	}
	if len(data.GetResourceMetrics()) != 1 || len(data.ResourceMetrics[0].GetScopeMetrics()) != 1 || len(data.ProtoReflect().GetUnknown()) > 0 {
		return c, fmt.Errorf("not one resource with one scope: %v", &data)
	}
	rm := data.ResourceMetrics[0]
	c = otlpContent{texts(rm.GetResource().GetAttributes()), make(map[string]otlpPoint), make(map[string]string), make(map[string]bool)}
	put := func(name string, labels map[string]string, value float64, start, at uint64) {
		key := seriesName(name, labels)
		if _, twice := c.series[key]; twice {
			err = fmt.Errorf("%s is there twice", key)
		}
		p := otlpPoint{value: value, time: time.Unix(0, int64(at))}
		if start != 0 {
			p.start = time.Unix(0, int64(start))
		}
		if start > at || at == 0 {
			err = fmt.Errorf("%s counts from %v, at %v", key, p.start, p.time)
		}
		c.series[key] = p
	}
	for _, m := range rm.ScopeMetrics[0].GetMetrics() {
		name := m.GetName()
		if _, twice := c.units[name]; twice || m.GetDescription() == "" {
			err = fmt.Errorf("%s is there twice, or says nothing of itself", name)
		}
		c.units[name] = m.GetUnit()
		const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
		switch {
		case m.GetGauge() != nil:
			for _, p := range m.GetGauge().GetDataPoints() {
				put(name, texts(p.GetAttributes()), p.GetAsDouble(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
			}
		case m.GetSum() != nil:
			if c.sums[name] = true; !m.GetSum().GetIsMonotonic() || m.GetSum().GetAggregationTemporality() != cumulative {
				err = fmt.Errorf("%s is no cumulative counter", name)
			}
			for _, p := range m.GetSum().GetDataPoints() {
				put(name+"_total", texts(p.GetAttributes()), p.GetAsDouble(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
			}
		default:
			if m.GetHistogram().GetAggregationTemporality() != cumulative {
				err = fmt.Errorf("%s is no cumulative histogram", name)
			}
			for _, p := range m.GetHistogram().GetDataPoints() {
				if len(p.BucketCounts) != len(p.ExplicitBounds)+1 || !slices.IsSorted(p.ExplicitBounds) {
					return c, fmt.Errorf("%s has %d buckets with %d bounds", name, len(p.BucketCounts), len(p.ExplicitBounds))
				}
				labels, seen := texts(p.GetAttributes()), uint64(0)
				for i, n := range p.BucketCounts {
					seen += n
					labels["le"] = "+Inf"
					if i < len(p.ExplicitBounds) {
						labels["le"] = number(p.ExplicitBounds[i])
					}
					put(name+"_bucket", labels, float64(seen), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
				}
				delete(labels, "le")
				if seen != p.GetCount() {
					err = fmt.Errorf("%s counts %d in buckets, %d in all", name, seen, p.GetCount())
				}
				put(name+"_sum", labels, p.GetSum(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
				put(name+"_count", labels, float64(p.GetCount()), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
			}
		}
	}
	return c, err
}

// otlpServer is a collector, reached without a network so that its time can be a
// test's. It takes reports as told by answer.
type otlpServer struct {
	// answer answers the n-th request, from 1; nil: with success.
	answer func(n int, w http.ResponseWriter, r *http.Request)
	// dial, if not nil, says why the n-th request finds nobody.
	dial func(n int) error

	mu      sync.Mutex // guards what follows
	n       int
	busy    int // requests that are under way
	made    int // transports
	at      []time.Time
	got     []otlpContent // what was taken
	headers []http.Header
	faults  []string
}

func (s *otlpServer) transport() (http.RoundTripper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return s, nil
}

// RoundTrip implements http.RoundTripper.
func (s *otlpServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.n++
	n := s.n
	s.at = append(s.at, time.Now())
	if s.busy++; s.busy > 1 {
		s.faults = append(s.faults, "two requests at once")
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.busy--
		s.mu.Unlock()
	}()
	if s.dial != nil {
		if err := s.dial(n); err != nil {
			return nil, err
		}
	}
	w := httptest.NewRecorder()
	s.serve(n, w, r)
	if err := context.Cause(r.Context()); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (s *otlpServer) serve(n int, w *httptest.ResponseRecorder, r *http.Request) {
	content, err := readRequest(r)
	if s.answer != nil {
		s.answer(n, w, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.faults = append(s.faults, err.Error())
	}
	if s.headers = append(s.headers, r.Header.Clone()); w.Code == http.StatusOK && r.Context().Err() == nil {
		s.got = append(s.got, content)
	}
}

func readRequest(r *http.Request) (c otlpContent, err error) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return c, fmt.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return c, err
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return c, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return c, err
		}
	}
	return readOTLP(body)
}

// state is what has come so far.
func (s *otlpServer) state(t tb) (at []time.Time, got []otlpContent) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		t.Fatalf("%v", s.faults)
	}
	return slices.Clone(s.at), slices.Clone(s.got)
}
