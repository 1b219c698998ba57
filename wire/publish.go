package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Publish is a decoded PUBLISH. Its slices alias the frame: who keeps one
// beyond the frame's life copies it.
type Publish struct {
	Dup       bool
	QoS       byte // 0, 1 or 2
	Retain    bool
	Topic     []byte // empty only with an Alias
	PacketID  uint16 // 0 if QoS is 0
	Payload   []byte
	Props     []byte // version 5: the property section without its length; nil before
	Alias     uint16 // topic alias, 0 if none
	AliasAt   int    // offset of the topic alias in Props, -1 if none
	Expiry    uint32 // message expiry interval in seconds, if HasExpiry
	HasExpiry bool
	ExpiryAt  int // offset of the message expiry interval in Props, -1 if none
}

// Sizes in bytes, identifier included, of the properties that AppendForward
// leaves out.
const (
	aliasSize  = 3
	expirySize = 5
)

// DecodePublish decodes a PUBLISH that a client sent. The caller checks Alias
// against the maximum that it announced, QoS and Retain against what it
// offers.
func DecodePublish(f Frame, v Version) (p Publish, err error) {
	if _, e := decodePublish(&p, &f, v, "", nil); e != nil {
		return p, e
	}
	return p, nil
}

// Decode is DecodePublish into p, for who decodes one after the other. known is a
// topic name that has been found sound before, most often that of the PUBLISH
// before; same reports whether p has that, which is then not looked at again.
func (p *Publish) Decode(f *Frame, v Version, known string) (same bool, err error) {
	*p = Publish{}
	same, e := decodePublish(p, f, v, known, nil)
	if e != nil {
		return same, e
	}
	return same, nil
}

// Delivery is a PUBLISH as a client receives it.
type Delivery struct {
	Publish
	SubIDs []uint32 // subscription identifiers, in the packet's order
}

// DecodeDelivery decodes a PUBLISH that a server sent, which may hold
// subscription identifiers.
func DecodeDelivery(f Frame, v Version) (Delivery, error) {
	d := Delivery{SubIDs: []uint32{}}
	if _, e := decodePublish(&d.Publish, &f, v, "", &d.SubIDs); e != nil {
		return d, e
	}
	return d, nil
}

// decodePublish fills p, which is zero. known: see Decode. subIDs takes subscription identifiers; nil means
// that the sender may not use them. [MQTT-3.3.4-6]
func decodePublish(p *Publish, f *Frame, v Version, known string, subIDs *[]uint32) (same bool, e *Error) {
	if f.Type != PUBLISH {
		return false, wrongType(PUBLISH, *f)
	}
	p.AliasAt, p.ExpiryAt = -1, -1
	p.Dup = f.Flags&8 != 0
	p.QoS = f.Flags >> 1 & 3
	p.Retain = f.Flags&1 != 0
	b := f.Body
	if len(b) < 2 {
		return false, cut("topic name")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return false, cut("topic name")
	}
	topic := b[2:n:n]
	p.Topic = topic
	b = b[n:]
	if p.QoS > 0 {
		if len(b) < 2 {
			return false, cut("packet identifier")
		}
		p.PacketID = binary.BigEndian.Uint16(b)
		if p.PacketID == 0 {
			return false, protocolError("[MQTT-2.2.1-3]", "packet identifier is 0")
		}
		b = b[2:]
	}
	same = len(topic) > 0 && string(topic) == known
	if !same && checkTopic(topic) != sound {
		return false, topicError(topic, "topic name", "[MQTT-3.3.2-2]")
	}
	if v < V5 {
		if len(topic) == 0 {
			return false, protocolError("[MQTT-4.7.3-1]", "topic name is empty")
		}
		p.Payload = b
		return same, nil
	}
	if len(b) > 0 && b[0] == 0 { // no properties, as most have none
		p.Props, p.Payload = b[1:1:1], b[1:]
	} else {
		section, payload, e := splitProps(b)
		if e != nil {
			return false, e
		}
		p.Props, p.Payload = section, payload
		if len(section) > 0 {
			if e := publishProps(p, subIDs); e != nil {
				return false, e
			}
		}
	}
	if len(topic) == 0 && p.Alias == 0 {
		return false, protocolError("[MQTT-3.3.2-1]", "neither a topic name nor a topic alias")
	}
	return same, nil
}

func publishProps(p *Publish, subIDs *[]uint32) *Error {
	s := propScanner{b: p.Props, in: inPublish}
	var prop property
	for {
		more, e := s.next(&prop)
		if e != nil {
			return e
		}
		if !more {
			return nil
		}
		switch prop.id {
		case propPayloadFormat:
			if prop.num == 1 && !utf8.Valid(p.Payload) {
				return &Error{PayloadFormatInvalid, "", "payload is not the UTF-8 that its format says"}
			}
		case propMessageExpiry:
			p.Expiry, p.HasExpiry, p.ExpiryAt = prop.num, true, prop.at
		case propTopicAlias:
			p.Alias, p.AliasAt = uint16(prop.num), prop.at
		case propSubscriptionID:
			if subIDs == nil {
				return protocolError("[MQTT-3.3.4-6]", "subscription identifier from a client")
			}
			*subIDs = append(*subIDs, prop.num)
		}
	}
}

// AppendForward appends the properties of p that travel with the message to
// its subscribers, in their order [MQTT-3.3.2-17] [MQTT-3.3.2-18]: Props without topic alias
// and message expiry. The result shares nothing with p.
func AppendForward(dst []byte, p *Publish) []byte {
	first, firstSize := p.AliasAt, aliasSize
	second, secondSize := p.ExpiryAt, expirySize
	if first < 0 || second >= 0 && second < first {
		first, firstSize, second, secondSize = second, secondSize, first, firstSize
	}
	if first < 0 {
		return append(dst, p.Props...)
	}
	dst = append(dst, p.Props[:first]...)
	rest := first + firstSize
	if second >= 0 {
		dst = append(dst, p.Props[rest:second]...)
		rest = second + secondSize
	}
	return append(dst, p.Props[rest:]...)
}
