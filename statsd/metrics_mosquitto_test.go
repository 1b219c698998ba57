package statsd_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/synthetism/edgebroker/statsd"
)

// scrapeSys is what a broker answers to a scrape whose $SYS has the values.
func scrapeSys(t *testing.T, values []statsd.SysValue) []byte {
	t.Helper()
	r := start(t, newFakeBackend(), statsd.Options{Sys: func() []statsd.SysValue { return values }}, nil)
	_, all := scrape(t, r)
	return all
}

// brokerMetrics are the samples that mosquitto's exporters have.
func brokerMetrics(t *testing.T, text []byte) map[string]float64 {
	t.Helper()
	got := samples(t, text)
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "broker_") })
	return got
}

// The metrics are, name by name and number by number, what an exporter makes of
// the topics, but for those that it leaves out.
func TestMosquittoMetrics(t *testing.T) {
	s, begin := exampleSnapshot(), time.Now()
	s.Bridges = nil // their states are among the project's own metrics, by name
	tree := statsd.NewSysTree(&statsd.Snapshot{}, begin)
	want := exported(tree.Update(&s, begin.Add(time.Minute)))
	for _, name := range []string{"broker_version", "broker_clients_active", "broker_clients_inactive"} {
		delete(want, name)
	}
	text := scrapeSys(t, tree.Values())
	if got := brokerMetrics(t, text); !maps.Equal(got, want) || len(got) < 50 {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for name, kind := range map[string]string{
		"broker_bytes_received": "counter", "broker_publish_messages_dropped": "counter", "broker_clients_maximum": "gauge",
		"broker_load_messages_received_1min": "gauge", "broker_uptime": "gauge", "broker_retained_messages_count": "gauge",
	} {
		if line := "# TYPE " + name + " " + kind + "\n"; !bytes.Contains(text, []byte(line)) {
			t.Errorf("no %q", line)
		}
	}
	if !bytes.Contains(text, []byte("# HELP broker_retained_messages_count $SYS/broker/retained messages/count\n")) {
		t.Error("the help is not the topic")
	}

	// A linter does not like the ends of names that others have given, and nothing else.
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasSuffix(p.Text, " suffix") || !strings.HasPrefix(p.Metric, "broker_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The dashboards for mosquitto's exporters find all that they ask for and a broker
// without bridges has.
func TestMosquittoDashboards(t *testing.T) {
	s := exampleSnapshot()
	tree := statsd.NewSysTree(&s, time.Now())
	tree.Update(&s, time.Now())
	got := brokerMetrics(t, scrapeSys(t, tree.Values()))
	for _, name := range strings.Fields(`
		broker_uptime broker_clients_total broker_clients_connected broker_clients_disconnected broker_clients_maximum broker_clients_expired
		broker_subscriptions_count broker_messages_received broker_messages_sent broker_messages_stored broker_retained_messages_count
		broker_publish_messages_received broker_publish_messages_sent broker_publish_messages_dropped broker_publish_bytes_received
		broker_publish_bytes_sent broker_bytes_received broker_bytes_sent broker_heap_current broker_heap_maximum
		broker_store_messages_count broker_store_messages_bytes
		broker_load_messages_received_1min broker_load_messages_sent_5min broker_load_publish_received_15min broker_load_publish_sent_1min
		broker_load_publish_dropped_1min broker_load_bytes_received_1min broker_load_bytes_sent_1min broker_load_sockets_1min
		broker_load_connections_1min`) {
		if _, there := got[name]; !there {
			t.Errorf("%s is missing", name)
		}
	}
}

// Nothing that is no number becomes a metric, nor breaks a scrape.
func TestMosquittoMetricsOfNothing(t *testing.T) {
	for _, values := range [][]statsd.SysValue{nil, {{Topic: "$SYS/broker/version", Value: "x"}, {Topic: "$SYS/broker/uptime", Value: ""}, {Topic: "$SYS/broker/bytes/sent", Value: "x 1"}},
		statsd.NewSysTree(&statsd.Snapshot{}, time.Now()).Values()} {
		if got := brokerMetrics(t, scrapeSys(t, values)); len(got) > 0 {
			t.Errorf("%v", slices.Collect(maps.Keys(got)))
		}
	}
	if got := brokerMetrics(t, scrapeSnapshot(t, exampleSnapshot())); len(got) > 0 {
		t.Errorf("without being asked for: %v", got)
	}
}
