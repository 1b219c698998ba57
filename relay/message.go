package relay

import (
	"sync/atomic"
	"time"
)

// Message is one published message. It is immutable once it has been handed
// to the relay and is shared by every session that holds it. It must not be
// copied.
type Message struct {
	Topic   string
	Payload []byte
	// Props are MQTT 5 properties to forward as encoded bytes, in the order
	// of the publisher, without topic alias and message expiry.
	Props     []byte
	Publisher string // client identifier, "" for the broker itself
	QoS       byte
	Retain    bool   // as the publisher set it
	recovered bool   // from the store
	level     Level  // what is promised for it
	came      uint32 // by Relay.coarse; 0: that is not known

	name []byte // Topic, shared with the route

	// expires is when the message's expiry interval has passed, as time
	// since the relay started; 0 means never. [MQTT-3.3.2-5]
	expires time.Duration
	taken   time.Duration // when it was taken on, as expires; 0 if that is not measured

	since time.Duration // when it was retained, or removed what was, as expires; 0 if it was not, or by an earlier process

	gate     *gate         // holds it back until it is stored; nil for most
	ref      atomic.Uint64 // where its body lies in the store, a Ref
	holders  atomic.Int32  // kept entries and topics that need the body there
	retained atomic.Bool   // a topic is one of them
	copies   atomic.Int32  // queues and windows that hold it; counted if again is not nil
	again    *atomic.Int64 // Relay.heldAgain for a large one; nil: it is charged in full to each that holds it
}

// Stored makes a message that a store has read back. expires is by the
// store's clock, 0 for never.
func Stored(topic string, payload, props []byte, publisher string, qos byte, retain bool, expires time.Duration, level Level, ref Ref) *Message {
	m := &Message{Topic: topic, Payload: payload, Props: props, Publisher: publisher, QoS: qos, Retain: retain,
		name: []byte(topic), expires: expires, recovered: true, level: level}
	m.ref.Store(uint64(ref))
	return m
}

// Expires is when the message's expiry interval has passed, by the clock of
// the store; 0 is never.
func (m *Message) Expires() time.Duration { return m.expires }

// messageOverhead is what a queued message costs beside its bytes: the
// Message, the queue entry, allocator rounding.
const messageOverhead = 256

// size is the memory a queued message is charged with.
func (m *Message) size() int64 {
	return int64(len(m.Topic)+len(m.Payload)+len(m.Props)) + messageOverhead
}

// remaining returns the message expiry interval to forward at now, in whole
// seconds, and whether the message may still be sent. [MQTT-3.3.2-6]
func (m *Message) remaining(now time.Duration) (seconds uint32, alive bool) {
	if m.expires == 0 {
		return 0, true
	}
	if now >= m.expires {
		return 0, false
	}
	return uint32((m.expires - now + time.Second - 1) / time.Second), true
}

// delivery is a message on its way to one session, with what is particular to
// that session.
type delivery struct {
	msg    *Message
	ids    []uint32 // subscription identifiers of the matching subscriptions [MQTT-3.3.4-3]
	group  *group   // the shared subscription it was chosen by, or nil
	seq    uint64   // place among the session's QoS>0 messages, set by its queue
	qos    byte     // lower of publication's and subscription's [MQTT-3.8.4-8]
	retain bool     // RETAIN flag to send
	kept   bool     // recorded in the store
	marks  byte
	until  uint32 // second of Relay.now when it has waited for too long; 0: never
}

// Marks of deliveries.
const (
	markTimed  = 1 << iota // sent because the message was published just now: how long that takes is measured
	markLatest             // not sent if a newer one on its topic waits
)

// live0 reports whether d is QoS 0 that a client need not get when it does not
// keep up; what it gets because it has subscribed is its own wish.
func (d *delivery) live0() bool { return d.qos == 0 && !d.retain }
