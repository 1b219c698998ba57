package relay

import (
	"errors"
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// publishWill publishes a client's will, if it may publish that at all.
// [MQTT-3.1.2-8]
func (r *Relay) publishWill(client, username string, w *wire.Will, by access) {
	pub := &wire.Publish{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic), Payload: w.Payload,
		Props: w.Props, AliasAt: -1, ExpiryAt: -1, HasExpiry: w.HasExpiry, Expiry: w.Expiry}
	if reason := r.check(pub, r.routes.lookup(pub.Topic), by.publish(w.Topic)); reason != wire.Success {
		r.refused.Add(1)
		r.house.refuse(w.QoS)
		r.reportRefusal(client, w.Topic, reason)
		return
	}
	r.inject(client, username, pub, nil)
}

// inject publishes on behalf of client, or of the broker when client is
// empty. done, if not nil, is told when the message is stored where it must
// be.
func (r *Relay) inject(client, username string, pub *wire.Publish, done Done) {
	p := publisher{relay: r, id: client, source: newSource(client, username, ""), version: wire.V5}
	taken := r.inHouse(&p, func() {
		p.tally.arrived[pub.QoS]++
		rt, _ := p.route(pub.Topic, false)
		p.publish(rt, pub, nil)
		p.finish()
	})
	switch {
	case !taken && done != nil:
		done.Committed(errSealed)
		return
	case !taken:
		return
	case r.store != nil:
		p.commitWith(&commit{relay: r, then: done})
	case done != nil:
		done.Committed(nil)
	}
	p.flush()
}

// ErrTopic is returned by Publish for a topic name that cannot be published
// to.
var ErrTopic = errors.New("invalid topic name")

// maxMessage is how many bytes of a message fit into a packet, with room for
// what is added on the way to a subscriber. (table 2.4 of MQTT 3.1.1)
const maxMessage = 1<<28 - 1<<16

// Outgoing is a message that the program itself publishes.
type Outgoing struct {
	Topic   string
	Payload []byte // copied
	QoS     byte
	Retain  bool
	Expiry  uint32 // message expiry interval in seconds, 0 for none
	Props   []byte // forwardable MQTT 5 properties, or nil
}

// Publish publishes o as the broker, also to topics that begin with $. done,
// if not nil, is told when the message is stored where it must be, perhaps
// before Publish returns.
func (r *Relay) Publish(o Outgoing, done Done) error {
	if err := wire.ValidTopicString(o.Topic); err != nil {
		return fmt.Errorf("publish to %q: %w: %w", o.Topic, ErrTopic, err)
	}
	if o.QoS > 2 {
		return fmt.Errorf("publish to %q: QoS %d does not exist; use 0, 1 or 2", o.Topic, o.QoS)
	}
	if size := len(o.Topic) + len(o.Payload) + len(o.Props); size > maxMessage {
		return fmt.Errorf("publish to %q: %d bytes of topic, payload and properties are more than an MQTT packet holds; send at most %d", o.Topic, size, maxMessage)
	}
	r.inject("", "", &wire.Publish{QoS: o.QoS, Retain: o.Retain, Topic: []byte(o.Topic), Payload: o.Payload,
		Props: o.Props, AliasAt: -1, ExpiryAt: -1, HasExpiry: o.Expiry > 0, Expiry: o.Expiry}, done)
	return nil
}

// redispatch gives a message that was meant for from to another member of
// its shared subscription. It reports false when there is none.
func (r *Relay) redispatch(d delivery, from *Session) bool {
	for {
		sub := d.group.pick(d.msg.Topic, d.qos, from)
		if sub == nil {
			return false
		}
		own := sub.share(d.msg)
		flush, taken := sub.session.enter(own)
		if flush {
			sub.session.flush()
		}
		sub.session.commitEntered()
		sub.session.commitChunks()
		if taken {
			from.passedOn(d.qos, own.qos)
			return true
		}
	}
}
