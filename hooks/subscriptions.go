package hooks

import (
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Subscriptions makes SUBSCRIBE and UNSUBSCRIBE act on relay. mochi is left
// with an empty list of filters: it writes the answer's frame, the connection
// puts in the reason codes.
type Subscriptions struct {
	mqtt.HookBase
	// BeforeSystem, if not nil, is called before a client subscribes to what the
	// broker says of itself, on the connection's own goroutine, without locks. Set it
	// before there are connections.
	BeforeSystem func()

	access   *Access
	sessions *Sessions
}

// NewSubscriptions returns a Subscriptions for the connections that access has
// let in and sessions has bound.
func NewSubscriptions(access *Access, sessions *Sessions) *Subscriptions {
	return &Subscriptions{access: access, sessions: sessions}
}

// ID implements mqtt.Hook.
func (h *Subscriptions) ID() string { return "subscriptions" }

// Provides implements mqtt.Hook.
func (h *Subscriptions) Provides(b byte) bool {
	return b == mqtt.OnSubscribe || b == mqtt.OnUnsubscribe || b == mqtt.OnPacketProcessed
}

// OnSubscribe implements mqtt.Hook.
func (h *Subscriptions) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	pk.Filters = nil
	conn, b := h.bound(cl)
	if b == nil {
		return pk
	}
	asked, ok := conn.Subscribe()
	if !ok {
		return pk
	}
	codes := make([]wire.Reason, len(asked.Filters))
	subs := make([]relay.Subscription, 0, len(codes))
	places := make([]int, 0, len(codes)) // of subs, among asked.Filters
	j := judge{rights: grantOf(conn).rights}
	for i, f := range asked.Filters {
		if codes[i] = j.verdict(f.Filter); codes[i] != wire.Success {
			h.access.refuseFilter(conn, b.id, f.Filter, codes[i])
			continue
		}
		places = append(places, i)
		subs = append(subs, relay.Subscription{Filter: f.Filter, QoS: f.QoS, NoLocal: f.NoLocal,
			RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling, ID: asked.SubscriptionID})
	}
	if h.BeforeSystem != nil && slices.ContainsFunc(subs, func(s relay.Subscription) bool { return strings.HasPrefix(s.Filter, relay.SystemRoot) }) {
		h.BeforeSystem()
	}
	given, granted := b.port.Subscribe(subs, answerWhenStored(conn))
	for i, code := range given {
		if codes[places[i]] = code; code >= wire.UnspecifiedError {
			h.access.refuseFilter(conn, b.id, subs[i].Filter, code)
		}
	}
	b.granted = granted
	conn.AnswerWith(codes)
	return pk
}

// A SUBSCRIBE may hold a hundred thousand filters, and to judge one may take as
// long as there are rules. Beyond so many that are judged, or so many that are
// denied, the others of the same SUBSCRIBE are denied unseen.
const (
	maxJudged = 4096
	maxDenied = 256
)

// judge judges the filters of one SUBSCRIBE.
type judge struct {
	rights         *rights
	judged, denied int
}

// verdict is Success if the relay is to be asked, which judges form and limits.
func (j *judge) verdict(filter string) wire.Reason {
	if j.rights.now() == nil || wire.ValidFilter(filter) != nil {
		return wire.Success
	}
	if j.judged >= maxJudged || j.denied >= maxDenied {
		return wire.QuotaExceeded
	}
	j.judged++
	if !j.rights.canSubscribe(filter) {
		j.denied++
		return wire.NotAuthorized
	}
	return wire.Success
}

// OnUnsubscribe implements mqtt.Hook.
func (h *Subscriptions) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	pk.Filters = nil
	conn, b := h.bound(cl)
	if b == nil {
		return pk
	}
	if asked, ok := conn.Unsubscribe(); ok {
		conn.AnswerWith(b.port.Unsubscribe(asked.Filters, answerWhenStored(conn)))
	}
	return pk
}

// OnPacketProcessed sends the retained messages of a SUBSCRIBE, whose SUBACK
// has been written by now.
func (h *Subscriptions) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	if _, b := h.bound(cl); b != nil {
		b.port.SendRetained(b.granted)
		b.granted = nil
	}
}

func (h *Subscriptions) bound(cl *mqtt.Client) (*listen.Conn, *binding) {
	conn := connOf(cl)
	if conn == nil {
		return nil, nil
	}
	b := h.sessions.binding(conn)
	if b == nil || b.port == nil {
		return conn, nil
	}
	return conn, b
}

// stored releases a SUBACK or UNSUBACK that waits for the store.
type stored struct {
	conn    *listen.Conn
	release func()
}

// answerWhenStored holds conn's next answer back until the store has kept
// what it promises.
func answerWhenStored(conn *listen.Conn) relay.Done {
	return stored{conn, conn.HoldAnswer()}
}

// Committed implements relay.Done.
func (s stored) Committed(err error) {
	if err != nil {
		s.conn.Kick(wire.QuotaExceeded, listen.EndInternalError)
		return
	}
	s.release()
}
