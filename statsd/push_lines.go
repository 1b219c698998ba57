package statsd

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// TagStyle is how StatsD lines carry labels.
type TagStyle string

// The styles of tags.
const (
	TagsNone      TagStyle = "none"      // name.value: values are levels of the name
	TagsDogStatsD TagStyle = "dogstatsd" // name:1|c|#key:value,key:value
	TagsInflux    TagStyle = "influx"    // name,key=value,key=value:1|c
	TagsGraphite  TagStyle = "graphite"  // name;key=value;key=value:1|c
)

// MetricLabels are the labels that metrics have by themselves, sorted.
func MetricLabels() []string {
	var all []string
	for _, m := range allMetrics() {
		all = append(all, m.desc.labels...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// namer makes the StatsD names of metrics: the Prometheus name with the prefix
// and a dot in place of edgebroker_, less _total, and the labels in style.
type namer struct {
	prefix string // may be empty
	style  TagStyle
	keys   []string // of labels that every line has, sorted
	values []string
}

func newNamer(prefix string, style TagStyle, labels map[string]string) *namer {
	n := &namer{prefix: prefix, style: style}
	if prefix != "" {
		n.prefix += "."
	}
	for k := range labels {
		n.keys = append(n.keys, k)
	}
	slices.Sort(n.keys)
	for _, k := range n.keys {
		n.values = append(n.values, labels[k])
	}
	return n
}

// name is what stands before the colon of a line, and after its type.
func (n *namer) name(d *description, values []string) (head, tail string) {
	var b, tags strings.Builder
	b.WriteString(n.prefix + strings.TrimSuffix(d.name, "_total"))
	if n.style == TagsNone {
		for _, v := range values {
			b.WriteString("." + strings.ReplaceAll(tagText(v), ".", "_"))
		}
		return b.String(), ""
	}
	mark, is := ",", "="
	switch n.style {
	case TagsDogStatsD:
		is = ":"
	case TagsGraphite:
		mark = ";"
	}
	add := func(keys, values []string) {
		for i, k := range keys {
			tags.WriteString(mark + tagText(k) + is + tagText(values[i]))
		}
	}
	add(n.keys, n.values)
	add(d.labels, values)
	if n.style == TagsDogStatsD {
		if tags.Len() > 0 {
			tail = "|#" + tags.String()[1:]
		}
		return b.String(), tail
	}
	return b.String() + tags.String(), ""
}

// tagText is s without what any style of tags gives a meaning to: letters, digits
// and "_-./" stay, everything else becomes "_", one for each character, and
// nothing at all becomes "_".
func tagText(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./", r) {
			return r
		}
		return '_'
	}, s)
}

// series is one counter or gauge with its labels.
type series struct {
	head, tail string
	sent       float64 // what of a counter has been reported
}

// unit is lines that belong into one datagram, and what they report.
type unit struct {
	text   string
	of     *series // nil for a gauge
	counts float64 // where the counter of stands
}

// reporter makes the units that report s.
type reporter struct{ known *tracker[series] }

func newReporter(n *namer) *reporter {
	return &reporter{newTracker(func(d *description, labels []string) *series {
		sr := &series{}
		sr.head, sr.tail = n.name(d, labels)
		return sr
	})}
}

// begin makes s what has been reported.
func (r *reporter) begin(s *Snapshot) {
	r.known.each(s, func(_ *metric, sr *series, value float64) { sr.sent = value })
}

// units makes units of what is to be reported of s: every gauge, and the
// counters that have grown.
func (r *reporter) units(s *Snapshot) []unit {
	var out []unit
	r.known.each(s, func(m *metric, sr *series, value float64) {
		switch {
		case math.IsNaN(value) || math.IsInf(value, 0):
		case m.kind == prometheus.GaugeValue:
			out = append(out, unit{text: gaugeText(sr, value)})
		case value > sr.sent:
			out = append(out, unit{sr.head + ":" + number(value-sr.sent) + "|c" + sr.tail, sr, value})
		case value < sr.sent: // it has begun anew
			sr.sent = 0
			if value > 0 {
				out = append(out, unit{sr.head + ":" + number(value) + "|c" + sr.tail, sr, value})
			}
		}
	})
	return out
}

// gaugeText sets a gauge. One with a sign would be added to what the server has,
// so that a negative one is set to zero first.
func gaugeText(sr *series, value float64) string {
	line := sr.head + ":" + number(value) + "|g" + sr.tail
	if value < 0 {
		return sr.head + ":0|g" + sr.tail + "\n" + line
	}
	return line
}

func number(v float64) string { return strconv.FormatFloat(v+0, 'f', -1, 64) } // +0: never "-0"
