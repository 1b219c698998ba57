package relay

import "github.com/synthetism/edgebroker/wire"

// aliases are the topic aliases that the broker has set on one connection:
// the first topics sent get one, and keep it. They belong to the connection,
// so they are put in when a frame is encoded and never stored with a message.
// [MQTT-3.3.2-7] The session's mu guards them.
type aliases struct {
	limit int // the client's Topic Alias Maximum [MQTT-3.1.2-26]
	ids   map[string]uint16
}

// aliasSize is what the property takes, in bytes.
const aliasSize = 3

// put makes o use the alias of its topic, or set one if there is room for it
// in the connection and in a packet of at most maxPacket bytes (0: any). It
// must be followed by sent once o has been encoded. QoS 2 gets none: MQTT.js
// keeps such a message until PUBREL, but not the topic behind its alias. Nor do
// topics that take much memory.
func (a *aliases) put(o *wire.Out, maxPacket int) {
	if len(o.Topic) <= aliasSize || len(o.Topic) > maxAliased || o.QoS == 2 {
		return
	}
	if id, ok := a.ids[string(o.Topic)]; ok {
		o.Alias, o.Topic = id, nil
		return
	}
	if len(a.ids) < a.limit && (maxPacket == 0 || wire.PublishSize(o)+aliasSize+1 <= maxPacket) {
		o.Alias = uint16(len(a.ids) + 1)
	}
}

// sent remembers the alias that o, now on its way, has set.
func (a *aliases) sent(o *wire.Out, topic string) {
	if o.Alias != 0 && o.Topic != nil {
		if a.ids == nil {
			a.ids = make(map[string]uint16)
		}
		a.ids[topic] = o.Alias
	}
}
