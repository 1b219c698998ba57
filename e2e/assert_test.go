package e2e_test

import (
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

func mustClient(t testing.TB, b *broker, id string) statsd.Client {
	t.Helper()
	c, ok := b.Client(id)
	if !ok {
		t.Fatalf("the broker does not know client %q", id)
	}
	return c
}

func inflight(n int) func(*appliance.Config) {
	return func(c *appliance.Config) { c.Limits.MaxInflight = n }
}

func dropData(e events.Event) events.DropData {
	d, _ := e.Data.(events.DropData)
	return d
}

func refusalReason(e events.Event) string {
	d, _ := e.Data.(events.RefusalData)
	return d.Reason
}
