package wire

import (
	"encoding/binary"
	"slices"
)

// Out is a PUBLISH to be encoded. The encoder only reads it, so one Out may
// serve several goroutines. In 3.x packets Props, Expiry, SubIDs and Alias are
// left out.
type Out struct {
	Version   Version
	QoS       byte // 0, 1 or 2
	Dup       bool // ignored if QoS is 0 [MQTT-3.3.1-2]
	Retain    bool
	Topic     []byte // at most 65535 bytes; may be empty with an Alias
	Props     []byte // forwardable properties, as AppendForward gives them
	HasExpiry bool
	Expiry    uint32   // remaining message expiry interval in seconds
	SubIDs    []uint32 // subscription identifiers, each 1 to 268,435,455
	Alias     uint16   // topic alias, 0 for none
	Payload   []byte
}

// propsSize returns the size in bytes of the property section without its
// length.
func (o *Out) propsSize() int {
	n := len(o.Props)
	if o.HasExpiry {
		n += expirySize
	}
	if o.Alias != 0 {
		n += aliasSize
	}
	for _, id := range o.SubIDs {
		n += 1 + varintSize(int(id))
	}
	return n
}

// sizes returns the remaining length and, for version 5, the size of the
// property section.
func (o *Out) sizes() (remaining, props int) {
	remaining = 2 + len(o.Topic) + len(o.Payload)
	if o.QoS > 0 {
		remaining += 2
	}
	if o.Version == V5 {
		props = o.propsSize()
		remaining += varintSize(props) + props
	}
	return remaining, props
}

// PublishSize returns the exact size in bytes of the packet that
// AppendPublish makes of o. It may exceed MaxFrameSize; then AppendPublish
// appends nothing.
func PublishSize(o *Out) int {
	remaining, _ := o.sizes()
	return 1 + varintSize(remaining) + remaining
}

// AppendPublish appends o as a PUBLISH packet. packetID is used if QoS is
// above 0 and must then not be 0. It appends nothing if o cannot be a packet:
// a topic over 65535 bytes, QoS above 2, or more than MaxFrameSize bytes.
func AppendPublish(dst []byte, o *Out, packetID uint16) []byte {
	before := len(dst)
	dst = slices.Grow(dst, 5+4+len(o.Topic)+len(o.Props)+len(o.Payload))
	dst = AppendPublishHead(dst, o, packetID)
	if len(dst) == before {
		return dst
	}
	return append(dst, o.Payload...)
}

// AppendPublishHead is AppendPublish without the payload, which the caller
// writes after it: a large payload need not be copied for each receiver.
func AppendPublishHead(dst []byte, o *Out, packetID uint16) []byte {
	remaining, props := o.sizes()
	if remaining > maxVarint || len(o.Topic) > maxString || o.QoS > 2 {
		return dst
	}
	h := byte(PUBLISH)<<4 | o.QoS<<1
	if o.Dup && o.QoS > 0 {
		h |= 8
	}
	if o.Retain {
		h |= 1
	}
	dst = appendVarint(append(dst, h), remaining)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Topic)))
	dst = append(dst, o.Topic...)
	if o.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, packetID)
	}
	if o.Version == V5 {
		dst = appendVarint(dst, props)
		if props > 0 {
			dst = o.appendProps(dst)
		}
	}
	return dst
}

// MaxPlain is the size in bytes up to which topic and payload together may be
// appended by AppendPlainPublish.
const MaxPlain = 1<<14 - 1 - 2 - 2 - 1

// AppendPlainPublish is AppendPublish of what most messages are: at QoS 1 or 2,
// sent for the first time, without properties. Topic and payload together have at
// most MaxPlain bytes.
func AppendPlainPublish(dst []byte, v Version, qos byte, retain bool, packetID uint16, topic, payload []byte) []byte {
	remaining := 2 + len(topic) + 2 + len(payload)
	if v == V5 {
		remaining++
	}
	h := byte(PUBLISH)<<4 | qos<<1
	if retain {
		h |= 1
	}
	if remaining < 0x80 {
		dst = append(dst, h, byte(remaining), byte(len(topic)>>8), byte(len(topic)))
	} else {
		dst = append(dst, h, byte(remaining)|0x80, byte(remaining>>7), byte(len(topic)>>8), byte(len(topic)))
	}
	dst = append(dst, topic...)
	if v == V5 {
		dst = append(dst, byte(packetID>>8), byte(packetID), 0)
	} else {
		dst = append(dst, byte(packetID>>8), byte(packetID))
	}
	return append(dst, payload...)
}

func (o *Out) appendProps(dst []byte) []byte {
	if o.Alias != 0 {
		dst = appendU16Prop(dst, propTopicAlias, o.Alias)
	}
	if o.HasExpiry {
		dst = appendU32Prop(dst, propMessageExpiry, o.Expiry)
	}
	for _, id := range o.SubIDs {
		dst = appendVarint(append(dst, propSubscriptionID), int(id))
	}
	return append(dst, o.Props...)
}
