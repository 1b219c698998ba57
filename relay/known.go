package relay

import (
	"strings"
	"time"
)

// Known is a retained message as parts of the program see it.
type Known struct {
	Topic     string
	Payload   []byte // it must not change
	Props     []byte // as in Message; it must not change
	Publisher string // client identifier, "" for the broker
	QoS       byte
	Expiry    uint32        // seconds that are left of its message expiry interval; 0: it has none
	Age       time.Duration // for how long it has been retained; negative: since before the relay was made
}

// Known returns the retained message of topic; ok is false if there is none.
func (r *Relay) Known(topic string) (k Known, ok bool) {
	now := r.now()
	r.retained.mu.RLock()
	defer r.retained.mu.RUnlock()
	n := r.retained.nodeLocked(topic)
	if n == nil || n.msg == nil {
		return Known{}, false
	}
	return n.known(now)
}

// RetainedAge is how long ago m was retained, or with an empty payload removed
// what was. It is not known of what the store has brought.
func (r *Relay) RetainedAge(m *Message) (age time.Duration, known bool) {
	if m.since == 0 {
		return 0, false
	}
	return max(0, r.now()-m.since), true
}

// KnownTopics are the topics with retained messages that filter matches, in no
// order.
func (r *Relay) KnownTopics(filter string) (list []string) {
	r.retained.look(filter, func(n *kept) { list = append(list, n.msg.Topic) })
	return list
}

// known describes what n has, unless that has expired.
func (n *kept) known(now time.Duration) (Known, bool) {
	m := n.msg
	left, alive := m.remaining(now)
	if !alive {
		return Known{}, false
	}
	k := Known{Topic: m.Topic, Payload: m.Payload, Props: m.Props, Publisher: m.Publisher, QoS: m.QoS, Expiry: left, Age: -1}
	if n.since >= 0 {
		k.Age = max(0, now-n.since)
	}
	return k, true
}

// nodeLocked is the level that topic ends at; nil if there is none.
func (r *retained) nodeLocked(topic string) *kept {
	n := &r.root
	for level := range strings.SplitSeq(topic, "/") {
		if n = n.children[level]; n == nil {
			return nil
		}
	}
	return n
}
