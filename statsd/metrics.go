package statsd

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metric is one Prometheus metric made from a Snapshot.
type metric struct {
	desc description
	kind prometheus.ValueType
	// samples calls emit once for each combination of label values.
	samples func(s *Snapshot, emit func(value float64, labels ...string))
}

// gauge describes a metric without labels that goes up and down.
func gauge(name, help string, value func(s *Snapshot) float64) metric {
	return metric{describe(name, help), prometheus.GaugeValue, func(s *Snapshot, emit func(float64, ...string)) { emit(value(s)) }}
}

// counter describes a metric without labels that only grows.
func counter(name, help string, value func(s *Snapshot) uint64) metric {
	return metric{describe(name, help), prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) { emit(float64(value(s))) }}
}

// byQoS describes a count of messages with the label qos.
func byQoS(name, help string, traffic func(s *Snapshot) Traffic) metric {
	return metric{describe(name, help, "qos"), prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) {
		t := traffic(s)
		emit(float64(t.QoS0), "0")
		emit(float64(t.QoS1), "1")
		emit(float64(t.QoS2), "2")
	}}
}

// byReason describes a count with the label reason. Reasons are words of a fixed
// set. What is not a word is added up as otherReason: one bad label value would
// make the whole scrape fail.
func byReason(name, help string, counts func(s *Snapshot) map[string]uint64) metric {
	return byWord("reason", name, help, counts)
}

// byWord is a counter for each word of a fixed set.
func byWord(label, name, help string, counts func(s *Snapshot) map[string]uint64) metric {
	return metric{describe(name, help, label), prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) {
		var other uint64
		for reason, n := range counts(s) {
			if isWord(reason) && reason != otherReason {
				emit(float64(n), reason)
			} else {
				other += n
			}
		}
		if other > 0 {
			emit(float64(other), otherReason)
		}
	}}
}

// otherReason stands for reasons that cannot be label values.
const otherReason = "other"

// isWord reports whether s is a short word in lower case, as reasons are.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// description is how a metric is called.
type description struct {
	*prometheus.Desc
	name   string // without the prefix edgebroker_
	help   string
	labels []string
}

func describe(name, help string, labels ...string) description {
	return description{prometheus.NewDesc("edgebroker_"+name, help, labels, nil), name, help, labels}
}

// metricTable lists the broker's metrics.
func metricTable() []metric {
	return []metric{
		{describe("build_info", "Version of the running edgebroker; always 1.", "version", "goversion"), prometheus.GaugeValue,
			func(s *Snapshot, emit func(float64, ...string)) {
				emit(1, SafeText(s.Version, maxText), runtime.Version())
			}},
		gauge("uptime_seconds", "Time since the start.", func(s *Snapshot) float64 { return s.Uptime }),

		gauge("clients_connected", "Clients connected now.", func(s *Snapshot) float64 { return float64(s.ClientCount) }),
		gauge("clients_connected_maximum", "Most clients connected at one time since the start.", func(s *Snapshot) float64 { return float64(s.Connections.Maximum) }),
		{describe("connections_total", "Connections of clients, by result.", "result"), prometheus.CounterValue,
			func(s *Snapshot, emit func(float64, ...string)) {
				emit(float64(s.Connections.Total), "accepted")
				emit(float64(s.Connections.Refused), "refused")
			}},
		byReason("disconnections_total", "Connections that ended, by reason.", func(s *Snapshot) map[string]uint64 { return s.Disconnections }),

		byWord("what", "refusals_total", "What clients asked for and were denied, and how often one was slowed down (publish_rate).", func(s *Snapshot) map[string]uint64 { return s.Refusals }),

		byQoS("publish_received_total", "Messages received from clients.", func(s *Snapshot) Traffic { return s.Received }),
		byQoS("publish_sent_total", "Messages sent to clients.", func(s *Snapshot) Traffic { return s.Sent }),
		counter("publish_received_bytes_total", "Payload of the messages received from clients.", func(s *Snapshot) uint64 { return s.Received.PayloadBytes }),
		counter("publish_sent_bytes_total", "Payload of the messages sent to clients.", func(s *Snapshot) uint64 { return s.Sent.PayloadBytes }),
		counter("received_packets_total", "MQTT packets of every type received from clients.", func(s *Snapshot) uint64 { return s.Received.Packets }),
		counter("sent_packets_total", "MQTT packets of every type sent to clients.", func(s *Snapshot) uint64 { return s.Sent.Packets }),
		counter("received_bytes_total", "Bytes received from clients, headers included.", func(s *Snapshot) uint64 { return s.Received.Bytes }),
		counter("sent_bytes_total", "Bytes sent to clients, headers included.", func(s *Snapshot) uint64 { return s.Sent.Bytes }),
		byReason("messages_dropped_total", "Messages and deliveries lost, by reason.", func(s *Snapshot) map[string]uint64 { return s.Dropped.ByReason }),

		gauge("sessions", "MQTT sessions, with and without a connected client.", func(s *Snapshot) float64 { return float64(s.Sessions.Total) }),
		gauge("sessions_kept", "MQTT sessions that wait for their client to come back.", func(s *Snapshot) float64 { return float64(s.Sessions.Kept) }),
		gauge("subscriptions", "Subscriptions, shared ones included.", func(s *Snapshot) float64 { return float64(s.Subscriptions.Total) }),
		gauge("shared_subscriptions", "Members of share groups.", func(s *Snapshot) float64 { return float64(s.Subscriptions.Shared) }),
		gauge("retained_messages", "Retained messages held.", func(s *Snapshot) float64 { return float64(s.Retained.Messages) }),
		gauge("retained_bytes", "Payload of the retained messages held.", func(s *Snapshot) float64 { return float64(s.Retained.Bytes) }),
		gauge("queued_messages", "Messages that wait for a client.", func(s *Snapshot) float64 { return float64(s.Queued.Messages) }),
		gauge("queued_bytes", "Memory of the messages that wait for clients; a payload of 4 KiB or more counts once, however many it waits for.", func(s *Snapshot) float64 { return float64(s.Queued.Bytes) }),
		gauge("inflight_messages", "Messages sent and not yet acknowledged.", func(s *Snapshot) float64 { return float64(s.Queued.Inflight) }),

		expiryMetric(),
		gauge("memory_budget_bytes", "Memory that the broker keeps to; 0 is no bound.", func(s *Snapshot) float64 { return float64(s.Budget.Bytes) }),
		gauge("memory_used_bytes", "Memory in use of the budget: what is alive of the heap, and stacks.", func(s *Snapshot) float64 { return float64(s.Budget.Used) }),
		gauge("memory_used_maximum_bytes", "Most memory in use of the budget since the start.", func(s *Snapshot) float64 { return float64(s.Budget.Most) }),
		gauge("memory_pressure", "How short memory is: 0 calm, 1 guarded, 2 shedding, 3 severe.", func(s *Snapshot) float64 { return float64(s.Budget.Pressure) }),
		gauge("memory_outbound_bytes", "Memory for what waits in connections to be sent.", func(s *Snapshot) float64 { return float64(s.Budget.Outbound) }),
		gauge("memory_input_bytes", "Memory for packets that have not arrived whole.", func(s *Snapshot) float64 { return float64(s.Budget.Input) }),
		byWord("what", "memory_shed_total", "What was given up for lack of memory.", func(s *Snapshot) map[string]uint64 { return s.Budget.Shed }),
		gauge("outbound_bytes", "Bytes sent on connections that the network has not taken yet.", func(s *Snapshot) float64 { return float64(s.Outbound.Bytes) }),
		counter("sessions_expired_total", "MQTT sessions that ended because their client did not come back in time.", func(s *Snapshot) uint64 { return s.Sessions.Expired }),
		gauge("sockets_open", "Sockets of clients that are open, those included that have not finished CONNECT.", func(s *Snapshot) float64 { return float64(s.Connections.Sockets) }),
		{describe("listener_sockets_open", "Sockets of clients that are open, by the listener that they came by; without a sample where no listener is bound.", "listener", "type"), prometheus.GaugeValue,
			func(s *Snapshot, emit func(float64, ...string)) {
				open := make(map[[2]string]int64) // names that are long may be equal when they are cut
				for _, l := range s.Listeners {
					open[[2]string{SafeText(l.Name, maxText), SafeText(l.Type, maxText)}] += l.Sockets
				}
				for labels, n := range open {
					emit(float64(n), labels[:]...)
				}
			}},
		counter("sockets_opened_total", "Sockets of clients that were taken.", func(s *Snapshot) uint64 { return s.Connections.Opened }),

		counter("push_datagrams_total", "Datagrams handed to the network for a StatsD server.", func(s *Snapshot) uint64 { return s.Push.Datagrams }),
		counter("push_dropped_datagrams_total", "Datagrams that could not be sent to a StatsD server; what they counted goes with later ones.", func(s *Snapshot) uint64 { return s.Push.Dropped }),

		counter("otlp_reports_total", "Reports that an OpenTelemetry collector has taken.", func(s *Snapshot) uint64 { return s.OTLP.Reports }),
		counter("otlp_failed_reports_total", "Attempts to report to an OpenTelemetry collector that failed; later reports say what these would have.", func(s *Snapshot) uint64 { return s.OTLP.Failed }),
		counter("otlp_rejected_values_total", "Values in its reports that an OpenTelemetry collector has not taken.", func(s *Snapshot) uint64 { return s.OTLP.Rejected }),

		gauge("event_listeners", "Listeners on the event bus.", func(s *Snapshot) float64 { return float64(s.Events.Listeners) }),
		counter("events_published_total", "Events offered while somebody listened.", func(s *Snapshot) uint64 { return s.Events.Published }),
		counter("events_dropped_total", "Events lost because a listener was too slow.", func(s *Snapshot) uint64 { return s.Events.Dropped }),
		counter("events_unrecorded_total", "Events that the flight recorder could not keep: too long, or the disk failed or was full.", func(s *Snapshot) uint64 { return s.Events.Unrecorded }),
	}
}

// allMetrics lists what Prometheus scrapes and what is pushed to StatsD and by OTLP, but
// for the histograms.
func allMetrics() []metric {
	return slices.Concat(metricTable(), storageTable(), bridgeTable(), sinkTable())
}

// collector collects the broker's metrics. Each scrape reads one Snapshot, so
// that its numbers belong together; between scrapes it costs nothing.
type collector struct {
	read       func() Snapshot
	table      []metric
	histograms []histogram
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.table {
		ch <- m.desc.Desc
	}
	for _, h := range c.histograms {
		ch <- h.desc.Desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.read()
	for _, m := range c.table {
		m.samples(&s, func(value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(m.desc.Desc, m.kind, value, labels...)
		})
	}
	for _, h := range c.histograms {
		if m := h.collect(&s); m != nil {
			ch <- m
		}
	}
}

// newMetrics registers the broker's metrics, and those of the Go runtime and
// the process, with reg. read is called once per scrape, by any goroutine, and so
// is sys, which may be nil.
func newMetrics(reg prometheus.Registerer, read func() Snapshot, sys func() []SysValue) {
	reg.MustRegister(
		&collector{read: read, table: allMetrics(), histograms: histogramTable()},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if sys != nil {
		reg.MustRegister(mosquittoMetrics{sys})
	}
}

// metricsHandler serves the metrics from a registry of its own: the global one
// holds whatever a program that embeds edgebroker put there.
func metricsHandler(read func() Snapshot, sys func() []SysValue, log *slog.Logger) http.Handler {
	reg := prometheus.NewRegistry()
	newMetrics(reg, read, sys)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.HTTPErrorOnError,
	})
}
