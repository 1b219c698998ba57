package hooks

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// Access decides who may connect. A listener lets everybody in or nobody (see
// its allow_anonymous), except for clients whose CONNECT names an [AuthMethod]:
// the method decides about them.
type Access struct {
	mqtt.HookBase
	bus       *events.Bus
	anonymous map[string]bool       // by listener
	methods   map[string]AuthMethod // by name
	refused   atomic.Uint64
}

// Refused is how many clients have been turned away.
func (h *Access) Refused() uint64 { return h.refused.Load() }

// NewAccess returns an Access that lets clients in on the listeners that
// anonymous names, offers methods by their names, and reports whom it turns
// away to bus as refusals. The maps must not be changed afterwards.
func NewAccess(anonymous map[string]bool, methods map[string]AuthMethod, bus *events.Bus) *Access {
	return &Access{anonymous: anonymous, methods: methods, bus: bus}
}

// ID implements mqtt.Hook.
func (h *Access) ID() string { return "access" }

// Provides implements mqtt.Hook.
func (h *Access) Provides(b byte) bool {
	return b == mqtt.OnConnect || b == mqtt.OnConnectAuthenticate || b == mqtt.OnAuthPacket
}

// OnConnect refuses authentication methods that nobody offers. [MQTT-4.12.0-1]
func (h *Access) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	conn := connOf(cl)
	if conn == nil || !conn.Connect().HasAuthMethod || h.methods[conn.Connect().AuthMethod] != nil {
		return nil
	}
	h.refuse(conn, cl.ID, "connect", wire.BadAuthMethod)
	conn.Kick(wire.BadAuthMethod, listen.EndNotAuthorized)
	return packets.ErrBadAuthenticationMethod
}

// OnConnectAuthenticate implements mqtt.Hook.
func (h *Access) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	conn := connOf(cl)
	if conn != nil && conn.Connect().HasAuthMethod {
		return h.authenticate(conn, cl.ID)
	}
	if conn != nil && h.anonymous[conn.Listener()] {
		return true
	}
	if conn != nil {
		h.refuse(conn, cl.ID, "connect", wire.NotAuthorized)
		conn.RefuseWith(wire.NotAuthorized, "this listener lets nobody in without a password, and there are none yet")
	}
	return false
}

// refuse counts and reports a client that is turned away: in the course of
// what, and with which reason.
func (h *Access) refuse(conn *listen.Conn, client, what string, reason wire.Reason) {
	h.refused.Add(1)
	if h.bus.Wants(events.Refusal) {
		h.bus.Publish(events.New(events.Refusal, client, events.RefusalData{
			ClientID: client, Remote: conn.Remote(), What: what, Reason: reason.String()}))
	}
}

// connOf returns the connection behind a mochi client; nil for clients that
// mochi makes itself.
func connOf(cl *mqtt.Client) *listen.Conn {
	conn, _ := cl.Net.Conn.(*listen.Conn)
	return conn
}
