package appliance_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A canary to NATS is a question: the stream does not get longer by it.
func TestUplinkCanaryNATS(t *testing.T) {
	brokertest.NoLeaks(t)
	for _, stream := range []string{"", "S"} {
		o := natsOptions(t)
		s := natsServer(t, o)
		_, js := natsClient(t, s)
		kept := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}})
		cfg := config(t)
		cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, stream, appliance.BridgeTopic{Filter: "#", QoS: 1})}
		cfg.Bridges[0].Canary = appliance.BridgeCanary{Interval: 10 * time.Second}
		cfg.Bridges[0].AckTimeout = time.Second
		near := launch(t, cfg)
		is(t, near, bridge.Up)
		var st bridge.Status
		brokertest.WaitFor(t, "an answer", func() bool {
			st = near.Uplinks()[0]
			return !st.LastTrip.At.IsZero()
		})
		if st.Canaries != 1 || st.LastTrip.Took <= 0 || st.Connects != 1 || st.Sent != 0 {
			t.Errorf("stream %q: %+v", stream, st)
		}
		if info, err := kept.Info(t.Context()); err != nil || info.State.LastSeq != 0 {
			t.Errorf("stream %q: %d messages in it, %v", stream, info.State.LastSeq, err)
		}
	}
}
