package hooks

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Sessions binds connections to sessions. Of several connections with one
// client identifier the last to arrive gets the session; each waits until the
// one before it is over, so that two never hold a session at once.
//
// A connection event is reported after its CONNACK, and for each of them
// exactly one disconnection event, when the connection is over.
type Sessions struct {
	mqtt.HookBase

	// Stands, if not nil, reports whether a client that is about to get its
	// session has come by what counts now. It is asked once Members knows the
	// client, so who changes what it answers by, and then looks at Members,
	// misses nobody. Set it before there are connections.
	Stands func(Member) bool

	relay  *relay.Relay
	bus    *events.Bus
	prefix func(client string) string // Response Information; nil for none
	forget func(client string, conn *listen.Conn)
	now    func() time.Time // the clock that somebody may set

	mu       sync.Mutex // guards everything that follows
	byConn   map[*listen.Conn]*binding
	last     map[string]*binding // by client identifier: the last to arrive
	counters Counters

	strangers uint64 // that were kept off the sessions of others
}

// Counters are what Sessions has counted since it was made.
type Counters struct {
	Connections    uint64            // connection events
	Connected      int               // of these, how many are not over
	Refused        uint64            // for want of room for another session, because it is another's, or because the rules have just changed
	MaxConnected   int               // the most there have been at once
	Disconnections map[string]uint64 // by reason word
}

// binding is one connection's claim on a session.
type binding struct {
	conn      *listen.Conn
	id        string
	stranger  bool        // turned away, because the session is another's
	grant     *grant      // with what it was let in
	port      *relay.Port // nil until the session is its own
	expiry    *time.Timer // ends it when its client's credentials do; nil if they do not
	granted   []relay.Granted
	connected time.Time // of the connection event; zero if there was none
	before    relay.PortTraffic
}

// NewSessions returns a Sessions that opens sessions in r and reports to bus.
// prefix, if not nil, tells the Response Information of a client that asks for
// it, "" for none. forget is told when a connection is over, so that the
// server can drop what it may still know of it.
func NewSessions(r *relay.Relay, bus *events.Bus, prefix func(client string) string, forget func(client string, conn *listen.Conn)) *Sessions {
	return &Sessions{
		relay: r, bus: bus, prefix: prefix, forget: forget, now: time.Now,
		byConn: make(map[*listen.Conn]*binding), last: make(map[string]*binding),
		counters: Counters{Disconnections: make(map[string]uint64)},
	}
}

// ID implements mqtt.Hook.
func (h *Sessions) ID() string { return "sessions" }

// Provides implements mqtt.Hook.
func (h *Sessions) Provides(b byte) bool {
	return b == mqtt.OnSessionEstablish || b == mqtt.OnSessionEstablished
}

// OnSessionEstablish runs before the CONNACK: it ends the client's earlier
// connection, waits for it, and opens the session. [MQTT-3.1.4-3]
func (h *Sessions) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	conn := connOf(cl)
	if conn == nil {
		return
	}
	conn.SetID(cl.ID)
	g := grantOf(conn)
	if g == nil { // nobody has let it in
		conn.Kick(wire.NotAuthorized, listen.EndNotAuthorized)
		return
	}
	b := &binding{conn: conn, id: cl.ID, grant: g}
	h.mu.Lock()
	h.byConn[conn] = b
	h.mu.Unlock()
	if g.carried != nil {
		if err := h.reopen(conn, b, b.connect(g)); err != nil {
			h.refuse(conn, cl.ID, err)
		}
		return
	}
	// Whoever has changed the rules may have looked at Members before.
	stale := g.stale() || h.Stands != nil && !h.Stands(b.member())
	h.mu.Lock()
	earlier := h.last[cl.ID]
	if owned := earlier != nil && earlier.grant.identity.Name != "" && earlier.grant.identity.Name != b.grant.identity.Name; stale || owned {
		// The server would disconnect whom it knows by this name.
		h.strangers++
		b.id, b.stranger = fmt.Sprintf("\x00stranger %d", h.strangers), true
		h.mu.Unlock()
		if stale {
			h.refuse(conn, cl.ID, errStale)
		} else {
			h.refuse(conn, cl.ID, relay.ErrNotOwner)
		}
		cl.ID = b.id
		return
	}
	h.last[cl.ID] = b
	h.mu.Unlock()
	if earlier != nil {
		earlier.conn.Kick(wire.SessionTakenOver, listen.EndTakenOver)
		<-earlier.conn.Done()
	}
	if word, _ := conn.EndReason(); word != "" {
		return // over already, perhaps taken over in its turn: the session stays as it is
	}
	port, err := h.relay.Open(b.connect(g))
	if err != nil {
		h.refuse(conn, cl.ID, err)
		return
	}
	conn.OnConnack = func(ack *wire.Connack) { h.complete(ack, conn, port) }
	h.mu.Lock()
	b.port = port
	h.mu.Unlock()
}

// connect is what the CONNECT of b's client asks of the relay.
func (b *binding) connect(g *grant) relay.Connect {
	c := b.conn.Connect()
	return relay.Connect{
		ClientID: b.id, Username: b.conn.Username(), Remote: b.conn.Remote(), Version: c.Version, CleanStart: c.CleanStart,
		Expiry: c.SessionExpiry, ReceiveMaximum: c.ReceiveMaximum, MaxPacket: c.MaximumPacketSize,
		TopicAliasMaximum: c.TopicAliasMaximum, Will: c.Will,
		Owner: b.grant.identity.Name, Access: g.rights, Subject: g.rights.stored(),
	}
}

var errStale = errors.New("the rules have changed while the client was let in")

// refuse ends a connection that does not get its session, because of err, which
// is told in its CONNACK.
func (h *Sessions) refuse(conn *listen.Conn, client string, err error) {
	reason, word := wire.QuotaExceeded, listen.EndRefused
	switch {
	case errors.Is(err, relay.ErrNotOwner):
		reason, word = wire.NotAuthorized, listen.EndNotAuthorized
	case errors.Is(err, errStale):
		reason = wire.ServerBusy // it may come again at once
	}
	h.mu.Lock()
	h.counters.Refused++
	h.mu.Unlock()
	if h.bus.Wants(events.Refusal) {
		h.bus.Publish(events.New(events.Refusal, client, events.RefusalData{
			ClientID: client, Remote: conn.Remote(), What: "connect", Reason: reason.String()}))
	}
	conn.Kick(reason, word)
}

// complete makes a CONNACK tell the truth: about the session, which is
// relay's, and about every limit that is enforced. [MQTT-3.2.2-3]
func (h *Sessions) complete(ack *wire.Connack, conn *listen.Conn, port *relay.Port) {
	c := conn.Connect()
	ack.SessionPresent = port.SessionPresent()
	ack.ReceiveMaximum = port.ReceiveMaximum()
	ack.MaximumPacketSize = uint32(conn.MaxPacketSize())
	ack.TopicAliasMaximum = port.TopicAliasMaximum()
	if got := port.SessionExpiry(); got != c.SessionExpiry { // section 3.2.2.3.2 of MQTT 5
		ack.HasSessionExpiry, ack.SessionExpiry = true, got
	}
	if h.prefix != nil && c.RequestResponseInfo { // [MQTT-3.1.2-28]
		if info := h.prefix(conn.ID()); wire.ValidTopicString(info) == nil { // what is none can begin none
			ack.ResponseInfo = info
		}
	}
}

// OnSessionEstablished runs after the CONNACK: messages may flow.
func (h *Sessions) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	conn := connOf(cl)
	if conn == nil {
		return
	}
	h.mu.Lock()
	b := h.byConn[conn]
	if b == nil || b.port == nil {
		h.mu.Unlock()
		return
	}
	k := grantOf(conn).carried
	if k == nil {
		b.connected, b.before = time.Now(), b.port.Traffic()
		h.counters.Connections++
		h.counters.Connected++
		h.counters.MaxConnected = max(h.counters.MaxConnected, h.counters.Connected)
	}
	h.mu.Unlock()

	c := conn.Connect()
	if k != nil {
		h.resume(b, k)
	} else if h.bus.Wants(events.Connection) {
		h.bus.Publish(events.New(events.Connection, b.id, events.ConnectionData{
			ClientID: b.id, Username: conn.Username(), Remote: conn.Remote(), Listener: conn.Listener(),
			Protocol: c.Version.String(), KeepAlive: c.KeepAlive, CleanStart: c.CleanStart,
			SessionPresent: b.port.SessionPresent(), SessionExpiry: b.port.SessionExpiry(),
		}))
	}
	conn.Bind(b.port)
	b.port.Attach(conn)
	if end := b.grant.identity.NotAfter; !end.IsZero() {
		h.mu.Lock()
		b.expiry = time.AfterFunc(end.Sub(h.now()), func() { conn.Kick(wire.NotAuthorized, listen.EndNotAuthorized) })
		h.mu.Unlock()
	}
}

// ClockSet is told that somebody has set the clock: who was let in until some time
// leaves when it is that time by the clock as it is now.
func (h *Sessions) ClockSet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.byConn {
		if b.expiry != nil {
			b.expiry.Reset(b.grant.identity.NotAfter.Sub(h.now()))
		}
	}
}

// Ended gives up what conn held. It is the listener's OnEnd: called once for
// every connection, when the server has returned from it in whatever way.
func (h *Sessions) Ended(conn *listen.Conn, _ error) {
	word, cause := conn.EndReason()
	h.mu.Lock()
	b := h.byConn[conn]
	if b == nil {
		h.mu.Unlock()
		return
	}
	delete(h.byConn, conn)
	if b.expiry != nil {
		b.expiry.Stop()
	}
	if h.last[b.id] == b {
		delete(h.last, b.id)
	}
	moved := word == listen.EndHandedOver
	if !b.connected.IsZero() && !moved {
		h.counters.Connected--
		h.counters.Disconnections[word]++
	}
	h.mu.Unlock()
	if moved { // the session is another process's by now
		h.forget(b.id, conn)
		return
	}

	if !b.connected.IsZero() && h.bus.Wants(events.Disconnection) {
		h.bus.Publish(events.New(events.Disconnection, b.id, b.disconnection(word, cause)))
	}
	if b.port != nil {
		e := end(conn, word)
		e.Will = e.Will && !b.connected.IsZero() // [MQTT-3.1.2-8]: only that of a CONNECT that was accepted
		b.port.End(e)
	}
	h.forget(b.id, conn)
}

// end says what becomes of the session and the will.
func end(conn *listen.Conn, word string) relay.End {
	// A broker that stops does not say that its clients have failed.
	e := relay.End{Will: word != listen.EndServerShutdown}
	if d, said := conn.Disconnect(); said {
		e.Will = d.Reason != wire.Success // [MQTT-3.14.4-3]
		if d.HasExpiry {
			e.Expiry = &d.SessionExpiry
		}
	}
	return e
}

func (b *binding) disconnection(word string, cause error) events.DisconnectionData {
	now := b.port.Traffic()
	d := events.DisconnectionData{
		ClientID: b.id, Username: b.conn.Username(), Remote: b.conn.Remote(), Listener: b.conn.Listener(),
		Protocol: b.conn.Version().String(), Reason: word, Duration: time.Since(b.connected),
		Received: now.Received - b.before.Received, Sent: now.Sent - b.before.Sent,
	}
	if cause != nil {
		d.Error = cause.Error()
	}
	return d
}

// Kick disconnects the client and reports whether it was connected.
func (h *Sessions) Kick(client string) bool {
	conn := h.Conn(client)
	if conn == nil {
		return false
	}
	conn.Kick(wire.AdministrativeAction, listen.EndKicked)
	return true
}

// Conn returns the client's connection, nil if it has none.
func (h *Sessions) Conn(client string) *listen.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.last[client]; b != nil && !b.connected.IsZero() {
		return b.conn
	}
	return nil
}

// Counters reads the counters. The caller owns the result.
func (h *Sessions) Counters() Counters {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counters
	c.Disconnections = maps.Clone(c.Disconnections)
	return c
}

// binding returns conn's claim, nil if it has none.
func (h *Sessions) binding(conn *listen.Conn) *binding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byConn[conn]
}
