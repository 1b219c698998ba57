package statsd

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// DescribedMetric is a metric, but no histogram, as docs/REFERENCE.md lists it.
type DescribedMetric struct {
	Name    string // as Prometheus has it
	StatsD  string // as StatsD has it without tags; values of labels in capitals
	Counter bool   // else a gauge
	Labels  []string
	Help    string
}

// DescribeMetrics lists all metrics but the histograms.
func DescribeMetrics() []DescribedMetric {
	var out []DescribedMetric
	namer := newNamer("edgebroker", TagsNone, nil)
	for _, m := range allMetrics() {
		var levels []string
		for _, l := range m.desc.labels {
			levels = append(levels, strings.ToUpper(l))
		}
		head, _ := namer.name(&m.desc, levels)
		out = append(out, DescribedMetric{"edgebroker_" + m.desc.name, head, m.kind == prometheus.CounterValue, m.desc.labels, m.desc.help})
	}
	return out
}

// DescribedHistogram is a histogram as docs/REFERENCE.md lists it.
type DescribedHistogram struct {
	Name, Help  string
	First, Last float64 // of the upper bounds of its buckets
	Step        float64 // by which one of them is larger than the one before
}

// DescribeHistograms lists all histograms.
func DescribeHistograms() []DescribedHistogram {
	var out []DescribedHistogram
	for _, h := range histogramTable() {
		b := h.bounds
		out = append(out, DescribedHistogram{"edgebroker_" + h.desc.name, h.desc.help, b.of(b.first), b.of(b.last), b.of(b.first+1) / b.of(b.first)})
	}
	return out
}
