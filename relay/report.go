package relay

import (
	"bytes"
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// reportMessage makes the event of a publish. It is called only while
// somebody listens.
func (p *publisher) reportMessage(topic string, pub *wire.Publish) {
	from := source(p.id)
	if p.session != nil && strings.HasPrefix(p.id, StandingPrefix) {
		if other := SourceOf(pub.Props); other != "" {
			from = other
		}
	}
	p.relay.bus.Publish(events.New(events.Message, from, events.MessageData{
		ClientID: p.id, Topic: topic, Payload: bytes.Clone(pub.Payload),
		QoS: pub.QoS, Retain: pub.Retain, Dup: pub.Dup, Size: len(pub.Payload),
	}))
}

// source is what an event names as its source.
func source(client string) string {
	if client == "" {
		return events.Source
	}
	return client
}

// origin is what a drop event says of the messages dropped.
type origin struct {
	publisher string
	topic     string
	qos       byte
}

func (m *Message) origin(qos byte) origin { return origin{m.Publisher, m.Topic, qos} }

// drop counts n messages that do not reach the session, and reports them.
func (s *Session) drop(reason DropReason, o origin, n int) {
	s.dropped.Add(uint64(n))
	if o.qos > 0 && reason != DropSuperseded {
		s.lost.Add(uint64(n))
	}
	s.lose(reason, o.topic, n)
	s.relay.countDrop(s.id, reason, o, n)
}

// drop counts n messages that do not reach anybody.
func (r *Relay) drop(reason DropReason, o origin, n int) {
	if reason != DropNoSubscribers { // which nobody has missed
		r.losses.line(lossKey{"", branchOf(o.topic), reason}).n.Add(uint64(n))
	}
	r.countDrop("", reason, o, n)
}

func (r *Relay) countDrop(client string, reason DropReason, o origin, n int) {
	r.dropped[reason].Add(uint64(n))
	if r.bus.Wants(events.Drop) {
		r.bus.Publish(events.New(events.Drop, source(client), events.DropData{
			ClientID: client, Publisher: o.publisher, Topic: o.topic, QoS: o.qos, Reason: reason.String(), Count: uint64(n)}))
	}
}

// reportSlowed says that a client has come to the limit of what it may publish.
func (r *Relay) reportSlowed(client string) {
	if r.bus.Wants(events.Refusal) {
		r.bus.Publish(events.New(events.Refusal, source(client), events.RefusalData{
			ClientID: client, What: "publish_rate", Reason: "slowed"}))
	}
}

func (r *Relay) reportRefusal(client, topic string, reason wire.Reason) {
	if r.bus.Wants(events.Refusal) {
		r.bus.Publish(events.New(events.Refusal, source(client), events.RefusalData{
			ClientID: client, What: "publish", Topic: topic, Reason: reason.String()}))
	}
}
