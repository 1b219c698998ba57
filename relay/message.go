package relay

import "time"

// Message is one published message. It is immutable once it has been handed
// to the relay and is shared by every session that holds it.
type Message struct {
	Topic   string
	Payload []byte
	// Props are MQTT 5 properties to forward as encoded bytes, in the order
	// of the publisher, without topic alias and message expiry.
	Props     []byte
	Publisher string // client identifier, "" for the broker itself
	QoS       byte
	Retain    bool // as the publisher set it

	name []byte // Topic, shared with the route

	// expires is when the message's expiry interval has passed, as time
	// since the relay started; 0 means never. [MQTT-3.3.2-5]
	expires time.Duration
}

// messageOverhead is what a queued message costs beside its bytes: the
// Message, the queue entry, allocator rounding.
const messageOverhead = 160

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
	qos    byte     // lower of publication's and subscription's [MQTT-3.8.4-8]
	retain bool     // RETAIN flag to send
}

// live0 reports whether d is QoS 0 that a client need not get when it does not
// keep up; what it gets because it has subscribed is its own wish.
func (d *delivery) live0() bool { return d.qos == 0 && !d.retain }
