package hooks

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// Rules are what Access decides by. They must not be changed once they are in
// force.
type Rules struct {
	// Anonymous names the listeners that let in clients which show nothing of
	// themselves.
	Anonymous map[string]bool
	// Source tells who a client is; nil: nobody is asked, and what clients say
	// of themselves counts for nothing.
	Source auth.Source
	// Certificates says that a certificate is something a client shows of
	// itself, for Source to judge.
	Certificates bool
	// Own are, by listener, those that have sources of their own; for them
	// these stand in place of Source and Certificates.
	Own map[string]Sources
	// Policy is what clients may do; nil: everything.
	Policy *acl.Policy
}

// Sources are who is asked about the clients of one listener: see [Rules].
type Sources struct {
	Source       auth.Source
	Certificates bool
}

// sources are those that count for a listener.
func (r *Rules) sources(listener string) Sources {
	if own, ok := r.Own[listener]; ok {
		return own
	}
	return Sources{r.Source, r.Certificates}
}

// Access decides who may connect, as whom, and what they may do. About clients
// whose CONNECT names an [AuthMethod] the method decides, on any listener.
type Access struct {
	mqtt.HookBase
	bus     *events.Bus
	log     Warner
	rules   atomic.Pointer[Rules]
	methods map[string]AuthMethod // by name
	refused atomic.Uint64
	denied  atomic.Uint64
}

// Warner is the part of a *slog.Logger that Access needs.
type Warner interface {
	Warn(msg string, args ...any)
}

// Refused is how many clients have been turned away.
func (h *Access) Refused() uint64 { return h.refused.Load() }

// Denied is how many subscriptions have been denied.
func (h *Access) Denied() uint64 { return h.denied.Load() }

// NewAccess returns an Access that goes by rules, offers methods by their
// names, which must not be changed afterwards, reports whom it turns away to bus
// as refusals, and sources that fail to log.
func NewAccess(rules *Rules, methods map[string]AuthMethod, bus *events.Bus, log Warner) *Access {
	h := &Access{methods: methods, bus: bus, log: log}
	h.rules.Store(rules)
	return h
}

// SetRules puts other rules in force. The relay is to be told by its
// AccessChanged.
func (h *Access) SetRules(rules *Rules) { h.rules.Store(rules) }

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
	if conn == nil {
		return false
	}
	if k, ok := conn.Note.(*Carried); ok && conn.Adopted() {
		// It has shown who it is. What it may do is what the rules in force say of it.
		h.admit(conn, cl.ID, &grant{rules: h.rules.Load(), identity: k.Identity, carried: k})
		return true
	}
	g := &grant{rules: h.rules.Load()}
	if con := conn.Connect(); con.HasAuthMethod {
		if !h.authenticate(conn, cl.ID) {
			return false
		}
		g.identity = auth.Identity{Name: conn.Username(), Source: con.AuthMethod}
	} else if !h.identify(conn, cl.ID, g) {
		return false
	}
	h.admit(conn, cl.ID, g)
	return true
}

// admit notes with what a client is let in, and gives it its rights.
func (h *Access) admit(conn *listen.Conn, client string, g *grant) {
	g.rights = h.rightsOf(acl.Subject{User: g.identity.Name, ClientID: client, Groups: g.identity.Groups,
		CertName: certName(conn), Listener: conn.Listener()})
	conn.Note = g
}

// refuse counts and reports a client that is turned away: in the course of
// what, and with which reason.
func (h *Access) refuse(conn *listen.Conn, client, what string, reason wire.Reason) {
	h.refused.Add(1)
	h.report(conn, client, events.RefusalData{What: what, Reason: reason.String()})
}

// refuseFilter counts and reports a subscription that is denied.
func (h *Access) refuseFilter(conn *listen.Conn, client, filter string, reason wire.Reason) {
	h.denied.Add(1)
	h.report(conn, client, events.RefusalData{What: "subscribe", Topic: filter, Reason: reason.String()})
}

func (h *Access) report(conn *listen.Conn, client string, d events.RefusalData) {
	if h.bus.Wants(events.Refusal) {
		d.ClientID, d.Remote = client, conn.Remote()
		h.bus.Publish(events.New(events.Refusal, client, d))
	}
}

// connOf returns the connection behind a mochi client; nil for clients that
// mochi makes itself.
func connOf(cl *mqtt.Client) *listen.Conn {
	conn, _ := cl.Net.Conn.(*listen.Conn)
	return conn
}
