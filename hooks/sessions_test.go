package hooks_test

import (
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// A CONNACK announces what is enforced. [MQTT-3.2.2-21]
func TestConnackTellsTheTruth(t *testing.T) {
	r := newRig(t, true, nil, nil)
	longest := uint32(relay.DefaultConfig().MaxSessionExpiry.Seconds())
	for _, tc := range []struct {
		name          string
		asked, agreed uint32 // session expiry interval in seconds
	}{
		{"short", 60, 60},
		{"longest", longest, longest},
		{"longer", longest + 1, longest},
		{"for ever", 0xFFFFFFFF, longest},
		{"none", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, present := range []bool{false, tc.agreed > 0} {
				c := brokertest.Dial(t, r.addr, wire.Connect{Version: wire.V5, ClientID: tc.name, SessionExpiry: tc.asked})
				ack := c.Connack
				if ack.ReceiveMaximum != 20 || ack.MaximumPacketSize != maxPacketSize || ack.TopicAliasMaximum != 7 {
					t.Errorf("limits in %+v", ack)
				}
				if ack.HasMaximumQoS || ack.RetainUnavailable || ack.WildcardUnavailable || ack.SubIDsUnavailable || ack.SharedUnavailable || ack.HasServerKeepAlive {
					t.Errorf("something is said to be unavailable: %+v", ack)
				}
				if ack.SessionPresent != present {
					t.Errorf("session present is %v, want %v", ack.SessionPresent, present)
				}
				if changed := tc.asked != tc.agreed; ack.HasSessionExpiry != changed || changed && ack.SessionExpiry != tc.agreed {
					t.Errorf("session expiry %v %d, want %d", ack.HasSessionExpiry, ack.SessionExpiry, tc.agreed)
				}
				c.Disconnect()
				r.await(t, events.Disconnection, 1)
			}
		})
	}
	t.Run("a client without an id is told the one it got", func(t *testing.T) {
		c := brokertest.Dial(t, r.addr, wire.Connect{Version: wire.V5, CleanStart: true})
		id := c.Connack.AssignedClientID
		if id == "" || r.sessions.Conn(id) == nil {
			t.Errorf("assigned %q", id)
		}
		c.Disconnect()
	})
}

// The counters and the events agree, and Kick finds who is connected.
func TestSessionsKickAndCount(t *testing.T) {
	r := newRig(t, true, nil, nil)
	if r.sessions.Kick("c") || r.sessions.Conn("c") != nil {
		t.Error("somebody was there before")
	}
	for range 3 {
		c := brokertest.Dial(t, r.addr, brokertest.Clean(wire.V5, "c"))
		c.Publish("t", "x", 1, false)
		brokertest.WaitFor(t, "the client to be bound", func() bool { return r.sessions.Conn("c") != nil })
		if !r.sessions.Kick("c") {
			t.Error("not kicked")
		}
		if got := c.ExpectDisconnect(); got != wire.AdministrativeAction {
			t.Errorf("told %v", got)
		}
		c.Conn().Close()
		brokertest.WaitFor(t, "the client to be gone", func() bool { return r.sessions.Conn("c") == nil })
	}
	r.paired(t, 3)
	for _, e := range r.of(events.Disconnection) {
		if d := e.Data.(events.DisconnectionData); d.Reason != listen.EndKicked || d.Received != 1 || d.Sent != 0 {
			t.Errorf("disconnection %+v", d)
		}
	}
	if c := r.sessions.Counters(); c.MaxConnected != 1 || c.Disconnections[listen.EndKicked] != 3 {
		t.Errorf("counters %+v", c)
	}
}

// What a session has received and sent is told per connection.
func TestDisconnectionTraffic(t *testing.T) {
	r := newRig(t, true, nil, nil)
	for i := 1; i <= 3; i++ {
		c := brokertest.Dial(t, r.addr, brokertest.Kept(wire.V311, "c")).AutoAck()
		c.Subscribe(1, "t")
		for range i {
			c.Publish("t", "x", 2, false)
			c.ExpectMessage("t", "x")
		}
		c.Publish("elsewhere", "x", 0, false)
		c.Disconnect()
		d := r.await(t, events.Disconnection, i)[i-1].Data.(events.DisconnectionData)
		if d.Received != uint64(i+1) || d.Sent != uint64(i) {
			t.Errorf("connection %d: received %d, sent %d", i, d.Received, d.Sent)
		}
	}
	r.paired(t, 3)
}
