package statsd

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// otlpStream is one series as OpenTelemetry knows it.
type otlpStream struct {
	attributes []*commonpb.KeyValue
	last       float64   // of a counter, as last told
	since      time.Time // that it counts from; zero: the start of the broker
}

// otlpReport makes reports of snapshots: every metric and histogram, with totals
// since the start of the broker, or of what they count if that has begun anew.
type otlpReport struct {
	resource   *resourcepb.Resource
	version    string
	streams    *tracker[otlpStream]
	histograms []histogram

	start time.Time // of the broker; zero: not known yet
	told  time.Time // of the last report
}

func newOTLPReport(resource map[string]string) *otlpReport {
	r := &otlpReport{resource: &resourcepb.Resource{}, version: resource["service.version"], histograms: histogramTable()}
	for _, key := range slices.Sorted(maps.Keys(resource)) {
		r.resource.Attributes = append(r.resource.Attributes, attribute(key, resource[key]))
	}
	r.streams = newTracker(func(d *description, labels []string) *otlpStream {
		s := &otlpStream{}
		for i, key := range d.labels {
			s.attributes = append(s.attributes, attribute(key, labels[i]))
		}
		return s
	})
	return r
}

// protoText is s as far as it is UTF-8, without which nothing can be encoded.
func protoText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func attribute(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: protoText(key), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: protoText(value)}}}
}

// otlpName is the name and unit of a metric: the name that Prometheus has, less
// _total, and the unit by its code in UCUM. Whoever makes Prometheus metrics of it
// adds _total to what only grows, and the unit to names that do not end in it, so
// that the names are the same again. A unit of "1" would make ratios of gauges, so
// what is counted has none.
func otlpName(name string) (full, unit string) {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		unit = "s"
	case strings.HasSuffix(name, "_bytes"):
		unit = "By"
	}
	return "edgebroker_" + name, unit
}

func newOTLPMetric(d *description) *metricspb.Metric {
	name, unit := otlpName(d.name)
	return &metricspb.Metric{Name: name, Unit: unit, Description: d.help}
}

// encode is the body of a request that reports s, which was read at now.
//
// It is a MetricsData where the protocol has an ExportMetricsServiceRequest: both
// are one field, number 1, repeated ResourceMetrics, and so the same bytes. The
// package of the latter brings gRPC along, which is 6 MB in the binary.
func (r *otlpReport) encode(s *Snapshot, now time.Time) ([]byte, error) {
	if r.start.IsZero() || !r.start.Before(now) { // the clock has been set back
		r.start = s.StartedAt
		if r.start.IsZero() || r.start.After(now) {
			r.start = now
		}
	}
	metrics := append(r.metrics(s, now), r.distributions(s, now)...)
	r.told = now
	return proto.Marshal(&metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: r.resource,
		ScopeMetrics: []*metricspb.ScopeMetrics{{
			Scope:   &commonpb.InstrumentationScope{Name: "github.com/synthetism/edgebroker", Version: protoText(r.version)},
			Metrics: metrics,
		}},
	}}})
}

func (r *otlpReport) metrics(s *Snapshot, now time.Time) []*metricspb.Metric {
	var out []*metricspb.Metric
	var of *metric
	var points *[]*metricspb.NumberDataPoint
	r.streams.each(s, func(m *metric, st *otlpStream, value float64) {
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return
		}
		if of != m {
			made := newOTLPMetric(&m.desc)
			if m.kind == prometheus.CounterValue {
				sum := &metricspb.Sum{AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, IsMonotonic: true}
				made.Data, points = &metricspb.Metric_Sum{Sum: sum}, &sum.DataPoints
			} else {
				g := &metricspb.Gauge{}
				made.Data, points = &metricspb.Metric_Gauge{Gauge: g}, &g.DataPoints
			}
			of, out = m, append(out, made)
		}
		p := &metricspb.NumberDataPoint{Attributes: st.attributes, TimeUnixNano: nanos(now), Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value}}
		if m.kind == prometheus.CounterValue {
			p.StartTimeUnixNano = nanos(r.startOf(st, value, now))
		}
		*points = append(*points, p)
	})
	return out
}

// startOf is the time from which a counter that is now at value counts. One that
// is less than it was counts something new, such as an uplink that was set up
// again: since the last report, before which it was more.
func (r *otlpReport) startOf(st *otlpStream, value float64, now time.Time) time.Time {
	if value < st.last {
		st.since = r.told
	}
	st.last = value
	if st.since.After(now) { // the clock has been set back
		st.since = time.Time{}
	}
	if st.since.IsZero() {
		return r.start
	}
	return st.since
}

func (r *otlpReport) distributions(s *Snapshot, now time.Time) []*metricspb.Metric {
	var out []*metricspb.Metric
	for i := range r.histograms {
		h := &r.histograms[i]
		d, ok := h.distribution(s)
		if !ok {
			continue
		}
		counts := make([]uint64, len(d.within)+1)
		var below uint64
		for i, n := range d.within {
			counts[i], below = n-below, n
		}
		counts[len(d.within)] = d.total - below
		made := newOTLPMetric(&h.desc)
		made.Data = &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
			AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
			DataPoints: []*metricspb.HistogramDataPoint{{StartTimeUnixNano: nanos(r.start), TimeUnixNano: nanos(now),
				Count: d.total, Sum: &d.sum, BucketCounts: counts, ExplicitBounds: d.bounds}},
		}}
		out = append(out, made)
	}
	return out
}

// nanos is t as the protocol has it; 0, which means unknown, for what cannot be.
func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }
