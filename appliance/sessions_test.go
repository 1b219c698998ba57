package appliance_test

import (
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Beyond sessions.max_sessions nobody gets a new kept session. Who has one, or
// wants none kept, comes in.
func TestMaxSessions(t *testing.T) {
	cfg := config(t)
	cfg.Sessions.MaxSessions = 3
	b := start(t, cfg)
	refusals := make(chan events.RefusalData, 10)
	b.On("refusal", func(e events.Event) { refusals <- e.Data.(events.RefusalData) })
	addr := b.Addr("tcp")
	for _, id := range []string{"a", "b", "c"} {
		brokertest.Dial(t, addr, brokertest.Kept(wire.V5, id)).Disconnect()
		brokertest.WaitFor(t, "the end", func() bool { return b.Stats().ClientCount == 0 })
	}
	cleanStart := brokertest.Kept(wire.V5, "d")
	cleanStart.CleanStart = true
	for i, tc := range []struct {
		connect wire.Connect
		want    wire.Reason
	}{
		{brokertest.Kept(wire.V5, "d"), wire.QuotaExceeded},
		{cleanStart, wire.QuotaExceeded},
		{brokertest.Kept(wire.V311, "d"), wire.ServerUnavailable},
		{brokertest.Kept(wire.V31, "d"), wire.ServerUnavailable},
	} {
		tc.connect.Will = &wire.Will{Topic: "will", QoS: 1}
		c := brokertest.DialAny(t, addr, tc.connect)
		if c.Connack.Reason != tc.want {
			t.Errorf("a fourth session over MQTT %v: %v; want %v", tc.connect.Version, c.Connack.Reason, tc.want)
		}
		c.ExpectClosed()
		c.Conn().Close() // else the broker lingers
		if r := <-refusals; r.ClientID != "d" || r.What != "connect" || r.Reason != wire.QuotaExceeded.String() {
			t.Errorf("refusal %+v", r)
		}
		if s := b.Stats(); s.Connections.Refused != uint64(i+1) || s.Sessions.Total != 3 || s.Connections.Total != 3 {
			t.Errorf("after %d refusals: %+v, %+v", i+1, s.Connections, s.Sessions)
		}
	}
	if n := b.Stats().MessageCount; n != 0 {
		t.Errorf("%d wills of clients that were refused", n)
	}
	brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "d")).Disconnect()
	back := brokertest.Dial(t, addr, brokertest.Kept(wire.V5, "a"))
	if !back.Connack.SessionPresent {
		t.Error("a client that is known did not find its session")
	}
	// A session that is given up makes room.
	back.Disconnect()
	brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "a")).Disconnect()
	brokertest.WaitFor(t, "a session less", func() bool { return b.Stats().Sessions.Total == 2 })
	brokertest.Dial(t, addr, brokertest.Kept(wire.V5, "d")).Disconnect()
}
