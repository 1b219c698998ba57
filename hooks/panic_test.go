package hooks_test

import (
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// bomb is a hook that panics at one stage of the life of client "victim".
type bomb struct {
	mqtt.HookBase
	stage byte
}

func (h *bomb) ID() string           { return "bomb" }
func (h *bomb) Provides(b byte) bool { return b == h.stage }

func (h *bomb) blow(cl *mqtt.Client) {
	if cl.ID == "victim" {
		panic("bomb")
	}
}

func (h *bomb) OnConnect(cl *mqtt.Client, _ packets.Packet) error { h.blow(cl); return nil }
func (h *bomb) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	h.blow(cl)
	return false
}
func (h *bomb) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet)   { h.blow(cl) }
func (h *bomb) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) { h.blow(cl) }
func (h *bomb) OnDisconnect(cl *mqtt.Client, _ error, _ bool)          { h.blow(cl) }
func (h *bomb) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	h.blow(cl)
	return pk
}
func (h *bomb) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	h.blow(cl)
	return pk
}
func (h *bomb) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.blow(cl)
	return pk, nil
}
func (h *bomb) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) { h.blow(cl) }
func (h *bomb) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	h.blow(cl)
	return pk
}

// A panic in a hook, wherever it is, ends one connection and leaves the pairs
// complete, the server clean, and the client free to come back.
func TestPanicsInHooks(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stage byte
		// whether "victim" has a connection event, if the bomb is before our
		// hooks and if it is after them
		before, after bool
	}{
		{"OnConnect", mqtt.OnConnect, false, false},
		{"OnSessionEstablish", mqtt.OnSessionEstablish, false, false},
		{"OnPacketEncode of CONNACK", mqtt.OnPacketEncode, false, false},
		{"OnSessionEstablished", mqtt.OnSessionEstablished, false, true},
		{"OnPacketRead", mqtt.OnPacketRead, true, true},
		{"OnSubscribe", mqtt.OnSubscribe, true, true},
		{"OnPacketProcessed", mqtt.OnPacketProcessed, true, true},
		{"OnUnsubscribe", mqtt.OnUnsubscribe, true, true},
		{"OnDisconnect", mqtt.OnDisconnect, true, true}, // when the server lets go of it
	} {
		for _, order := range []string{"before ours", "after ours"} {
			t.Run(tc.name+" "+order, func(t *testing.T) {
				b, event := &bomb{stage: tc.stage}, tc.before
				first, last := []mqtt.Hook{b}, []mqtt.Hook(nil)
				if order == "after ours" {
					event, first, last = tc.after, nil, []mqtt.Hook{b}
				}
				r := newRig(t, true, first, last)
				healthy := brokertest.Dial(t, r.addr, brokertest.Clean(wire.V311, "healthy"))
				healthy.Subscribe(0, "t")
				for range 3 {
					victim := brokertest.DialRaw(t, r.addr, wire.V311)
					con := brokertest.Kept(wire.V311, "victim")
					victim.Send(wire.AppendConnect(nil, &con))
					victim.Send(wire.AppendSubscribe(nil, wire.V311, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "t", QoS: 1}}}))
					victim.Send(wire.AppendUnsubscribe(nil, wire.V311, &wire.Unsubscribe{PacketID: 2, Filters: []string{"t"}}))
					victim.Send(wire.AppendDisconnect(nil, wire.V311, wire.Success, ""))
					victim.ExpectClosed()
					victim.Conn().Close() // else the broker lingers
				}
				healthy.Publish("t", "still here", 0, false)
				healthy.ExpectMessage("t", "still here")
				healthy.Disconnect()
				n := 1
				if event {
					n += 3
				}
				r.paired(t, n)
				c := r.sessions.Counters()
				want := uint64(0)
				if event {
					want = 3
				}
				if got := c.Disconnections[listen.EndInternalError]; got != want {
					t.Errorf("%d ended with internal_error, want %d: %v", got, want, c.Disconnections)
				}
			})
		}
	}
}
