package wire

import "encoding/binary"

// Property identifiers, section 2.2.2.2.
const (
	propPayloadFormat       = 0x01
	propMessageExpiry       = 0x02
	propContentType         = 0x03
	propResponseTopic       = 0x08
	propCorrelationData     = 0x09
	propSubscriptionID      = 0x0B
	propSessionExpiry       = 0x11
	propAssignedClientID    = 0x12
	propServerKeepAlive     = 0x13
	propAuthMethod          = 0x15
	propAuthData            = 0x16
	propRequestProblemInfo  = 0x17
	propWillDelay           = 0x18
	propRequestResponseInfo = 0x19
	propResponseInfo        = 0x1A
	propServerReference     = 0x1C
	propReasonString        = 0x1F
	propReceiveMaximum      = 0x21
	propTopicAliasMaximum   = 0x22
	propTopicAlias          = 0x23
	propMaximumQoS          = 0x24
	propRetainAvailable     = 0x25
	propUser                = 0x26
	propMaximumPacketSize   = 0x27
	propWildcardAvailable   = 0x28
	propSubIDAvailable      = 0x29
	propSharedAvailable     = 0x2A
)

// kind is the data type of a property's value, with its range.
type kind byte

const (
	kindNone    kind = iota
	kindBool         // one byte, 0 or 1
	kindU16          // two bytes
	kindU16Some      // two bytes, not 0
	kindU32          // four bytes
	kindU32Some      // four bytes, not 0
	kindVarSome      // variable byte integer, not 0
	kindText         // UTF-8 string
	kindTopic        // UTF-8 string that is a topic name
	kindBinary       // length and bytes
	kindPair         // two UTF-8 strings
)

// properties is table 2-4: what each property holds, which packets may carry
// it, and which may carry it more than once.
var properties = [0x2B]struct {
	name   string
	kind   kind
	in     uint16
	repeat uint16
}{
	propPayloadFormat:       {"payload format indicator", kindBool, inPublish | inWill, 0},
	propMessageExpiry:       {"message expiry interval", kindU32, inPublish | inWill, 0},
	propContentType:         {"content type", kindText, inPublish | inWill, 0},
	propResponseTopic:       {"response topic", kindTopic, inPublish | inWill, 0},
	propCorrelationData:     {"correlation data", kindBinary, inPublish | inWill, 0},
	propSubscriptionID:      {"subscription identifier", kindVarSome, inPublish | inSubscribe, inPublish},
	propSessionExpiry:       {"session expiry interval", kindU32, inConnect | inConnack | inDisconnect, 0},
	propAssignedClientID:    {"assigned client identifier", kindText, inConnack, 0},
	propServerKeepAlive:     {"server keep alive", kindU16, inConnack, 0},
	propAuthMethod:          {"authentication method", kindText, inConnect | inConnack | inAuth, 0},
	propAuthData:            {"authentication data", kindBinary, inConnect | inConnack | inAuth, 0},
	propRequestProblemInfo:  {"request problem information", kindBool, inConnect, 0},
	propWillDelay:           {"will delay interval", kindU32, inWill, 0},
	propRequestResponseInfo: {"request response information", kindBool, inConnect, 0},
	propResponseInfo:        {"response information", kindText, inConnack, 0},
	propServerReference:     {"server reference", kindText, inConnack | inDisconnect, 0},
	propReasonString: {"reason string", kindText, inConnack | inAcks | inPubrel | inPubcomp |
		inSuback | inUnsuback | inDisconnect | inAuth, 0},
	propReceiveMaximum:    {"receive maximum", kindU16Some, inConnect | inConnack, 0},
	propTopicAliasMaximum: {"topic alias maximum", kindU16, inConnect | inConnack, 0},
	propTopicAlias:        {"topic alias", kindU16Some, inPublish, 0},
	propMaximumQoS:        {"maximum QoS", kindBool, inConnack, 0},
	propRetainAvailable:   {"retain available", kindBool, inConnack, 0},
	propUser: {"user property", kindPair, inConnect | inConnack | inPublish | inWill | inAcks | inPubrel |
		inPubcomp | inSubscribe | inSuback | inUnsubscribe | inUnsuback | inDisconnect | inAuth, 0xFFFF},
	propMaximumPacketSize: {"maximum packet size", kindU32Some, inConnect | inConnack, 0},
	propWildcardAvailable: {"wildcard subscription available", kindBool, inConnack, 0},
	propSubIDAvailable:    {"subscription identifiers available", kindBool, inConnack, 0},
	propSharedAvailable:   {"shared subscription available", kindBool, inConnack, 0},
}

// property is one decoded property. Slices alias the section.
type property struct {
	id    byte
	at    int    // offset of the identifier in the section
	num   uint32 // value of the numeric kinds
	key   []byte // name of a user property
	value []byte // value of the other kinds
}

// UserProperty is a name with a value that the protocol passes along. Names
// may repeat; order is kept.
type UserProperty struct{ Key, Value string }

// propScanner walks a property section and checks all that table 2-4 says. in
// is the bit of the packet that holds the section.
type propScanner struct {
	b    []byte
	at   int
	in   uint16
	seen uint64 // identifiers met so far
	text string // copy of b, once a user property was asked for
}

// next decodes the property at s.at into p. It returns false at the end.
func (s *propScanner) next(p *property) (bool, *Error) {
	if s.at >= len(s.b) {
		return false, nil
	}
	id := s.b[s.at]
	if int(id) >= len(properties) || properties[id].in&s.in == 0 {
		return false, malformed("", "property that the packet does not have")
	}
	spec := &properties[id]
	if s.seen>>id&1 != 0 && spec.repeat&s.in == 0 {
		return false, protocolError("", spec.name+" is there twice")
	}
	s.seen |= 1 << id
	p.id, p.at = id, s.at
	b := s.b[s.at+1:]
	var size int
	switch spec.kind {
	case kindBool:
		if len(b) < 1 {
			return false, cut(spec.name)
		}
		if b[0] > 1 {
			return false, protocolError("", spec.name+" is neither 0 nor 1")
		}
		p.num, size = uint32(b[0]), 1
	case kindU16, kindU16Some:
		if len(b) < 2 {
			return false, cut(spec.name)
		}
		p.num, size = uint32(binary.BigEndian.Uint16(b)), 2
	case kindU32, kindU32Some:
		if len(b) < 4 {
			return false, cut(spec.name)
		}
		p.num, size = binary.BigEndian.Uint32(b), 4
	case kindVarSome:
		n, width, ok := varint(b)
		if !ok {
			return false, malformed("[MQTT-1.5.5-1]", spec.name+" is not a minimal variable byte integer")
		}
		if width == 0 {
			return false, cut(spec.name)
		}
		p.num, size = n, width
	case kindPair:
		key, ok := prefixed(b)
		if !ok {
			return false, cut(spec.name)
		}
		value, ok := prefixed(b[2+len(key):])
		if !ok {
			return false, cut(spec.name)
		}
		if f := checkText(key); f != sound {
			return false, textError(f, spec.name)
		}
		if f := checkText(value); f != sound {
			return false, textError(f, spec.name)
		}
		p.key, p.value, size = key, value, 4+len(key)+len(value)
	default: // text, topic, binary
		value, ok := prefixed(b)
		if !ok {
			return false, cut(spec.name)
		}
		switch spec.kind {
		case kindText:
			if f := checkText(value); f != sound {
				return false, textError(f, spec.name)
			}
		case kindTopic:
			if e := topicError(value, spec.name, "[MQTT-3.3.2-14]"); e != nil {
				return false, e
			}
		}
		p.value, size = value, 2+len(value)
	}
	if p.num == 0 && (spec.kind == kindU16Some || spec.kind == kindU32Some || spec.kind == kindVarSome) {
		return false, zeroError(id, spec.name)
	}
	s.at += 1 + size
	return true, nil
}

func zeroError(id byte, name string) *Error {
	if id == propTopicAlias {
		return &Error{TopicAliasInvalid, "[MQTT-3.3.2-8]", "topic alias is 0"}
	}
	return protocolError("", name+" is 0")
}

// user returns the user property p, just read by next. All user properties of
// a section share one copy of it.
func (s *propScanner) user(p *property) UserProperty {
	if s.text == "" {
		s.text = string(s.b)
	}
	k := p.at + 3
	v := k + len(p.key) + 2
	return UserProperty{s.text[k : k+len(p.key)], s.text[v : v+len(p.value)]}
}

// skip checks the rest of the section without keeping anything.
func (s *propScanner) skip() *Error {
	var p property
	for {
		more, e := s.next(&p)
		if e != nil || !more {
			return e
		}
	}
}

// splitProps cuts the property section from the start of b. [MQTT-2.2.2-1]
func splitProps(b []byte) (section, rest []byte, e *Error) {
	if len(b) > 0 && b[0] == 0 {
		return b[1:1:1], b[1:], nil
	}
	n, width, ok := varint(b)
	if !ok {
		return nil, nil, malformed("[MQTT-1.5.5-1]", "property length is not a minimal variable byte integer")
	}
	if width == 0 {
		return nil, nil, cut("property length")
	}
	b = b[width:]
	if int(n) > len(b) {
		return nil, nil, cut("properties")
	}
	return b[:n:n], b[n:], nil
}

// prefixed returns the bytes that follow a two-byte length at the start of b.
func prefixed(b []byte) ([]byte, bool) {
	if len(b) < 2 {
		return nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, false
	}
	return b[2:n:n], true
}

// cut tells that the bytes ended within what.
func cut(what string) *Error { return malformed("", "bytes end within "+what) }
