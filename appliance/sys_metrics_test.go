package appliance_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// With sys.metrics a scrape shows what subscribers to $SYS have got, to the last
// digit, until there are new values.
func TestSysMetrics(t *testing.T) {
	cfg := config(t)
	cfg.Sys.Interval, cfg.Sys.Metrics = time.Hour, true
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	c.Subscribe(0, "$SYS/#")
	daemon := statsd.Dial(cfg.Control.Socket)
	t.Cleanup(daemon.Close)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	text, err := daemon.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	scraped := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "broker_") {
			scraped[name] = value
		}
	}
	if len(scraped) < 50 || scraped["broker_clients_connected"] != "0" {
		t.Fatalf("scraped %v", scraped) // the client came after the values
	}
	for range len(scraped) + 3 { // the exporters leave three out
		d := c.ExpectPublish()
		topic := string(d.Topic)
		name := strings.NewReplacer("$SYS/", "", "/", "_", " ", "_").Replace(topic)
		value, _, _ := strings.Cut(string(d.Payload), " ")
		got, there := scraped[name]
		if name == "broker_version" || name == "broker_clients_active" || name == "broker_clients_inactive" {
			if there {
				t.Errorf("%s is there", name)
			}
			continue
		}
		g, err1 := strconv.ParseFloat(got, 64)
		w, err2 := strconv.ParseFloat(value, 64)
		if err1 != nil || err2 != nil || g != w {
			t.Errorf("%s is %q, and %q for who scrapes", topic, d.Payload, got)
		}
		delete(scraped, name)
	}
	if len(scraped) > 0 {
		t.Errorf("scraped and not sent: %v", scraped)
	}
}
