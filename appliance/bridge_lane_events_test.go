package appliance_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A lane has a connection of its own, and what it carries is events of the same
// gateway; but who comes and goes is said once.
func TestEventsWithLanes(t *testing.T) {
	brokertest.NoLeaks(t)
	near, c := besideComponent(t, func(_ *server.Options, cfg *appliance.Config) {
		cfg.Bridges[0] = withLanes(cfg.Bridges[0])
	})
	client(t, near, "pump-7")
	if h := c.hears("control.connect"); h.ClientID != "pump-7" {
		t.Errorf("%+v", h)
	}
	if err := near.Publish(t.Context(), appliance.Message{Topic: "alarm/hot", Payload: []byte("90"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if h := c.hears("topic.alarm.hot"); h.Data["payload"] != "90" || h.Gateway != "gw1" {
		t.Errorf("%+v", h)
	}
	c.silent("control.")
}
