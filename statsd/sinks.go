package statsd

import "github.com/prometheus/client_golang/prometheus"

// EventSink is one place where events go.
type EventSink struct {
	Name    string `json:"name"`
	Sent    uint64 `json:"sent"`    // events handed over
	Dropped uint64 `json:"dropped"` // events given up, those included for which there was no room
	Errors  uint64 `json:"errors"`  // attempts that failed
	Waiting int64  `json:"waiting"` // events
	Bytes   int64  `json:"bytes"`   // of those that have left the queue of the bus
}

// sinkTable lists the metrics of event sinks.
func sinkTable() []metric {
	each := func(kind prometheus.ValueType, name, help string, value func(*EventSink) float64) metric {
		return metric{describe(name, help, "sink"), kind, func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Sinks {
				emit(value(&s.Sinks[i]), s.Sinks[i].Name)
			}
		}}
	}
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	return []metric{
		each(c, "event_sink_sent_total", "Events that a sink has handed over.", func(s *EventSink) float64 { return float64(s.Sent) }),
		each(c, "event_sink_dropped_total", "Events that a sink has given up.", func(s *EventSink) float64 { return float64(s.Dropped) }),
		each(c, "event_sink_errors_total", "Attempts of a sink that failed.", func(s *EventSink) float64 { return float64(s.Errors) }),
		each(g, "event_sink_waiting_events", "Events that wait for a sink.", func(s *EventSink) float64 { return float64(s.Waiting) }),
	}
}
