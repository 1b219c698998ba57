package statsd

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// mosquittoMetrics are the values of $SYS/broker with the names that exporters
// for mosquitto give them, so that dashboards made for those show this broker.
// They are whatever values returns, and so cannot differ from what subscribers
// to $SYS get.
type mosquittoMetrics struct {
	values func() []SysValue
}

// Describe describes nothing: which values there are, only values knows.
func (mosquittoMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m mosquittoMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, v := range m.values() {
		if name := strings.TrimPrefix(v.Topic, sysPrefix); slices.Contains(notExported, name) {
			continue
		}
		number, _, _ := strings.Cut(v.Value, " ")
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			continue // not a number: no metric
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(exporterName(v.Topic), v.Topic, nil, nil), exporterKind(v.Topic), value)
	}
}

// exporterName is the name of a topic's metric: the topic without "$SYS/", and
// "_" for what separates words.
func exporterName(topic string) string {
	return strings.NewReplacer("/", "_", " ", "_").Replace(strings.TrimPrefix(topic, "$SYS/"))
}

// notExported are the topics that exporters leave out: a text, and old names.
var notExported = []string{"version", "clients/active", "clients/inactive"}

// exporterKind is what exporters say of a topic: they know some totals, and take
// everything else for a gauge.
func exporterKind(topic string) prometheus.ValueType {
	switch strings.TrimPrefix(topic, sysPrefix) {
	case "bytes/received", "bytes/sent", "messages/received", "messages/sent",
		"publish/messages/received", "publish/messages/sent", "publish/messages/dropped":
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}
