package wire

import (
	"slices"
	"unicode/utf8"
)

// NoExpiry is the session expiry interval of a session that never expires.
const NoExpiry = 0xFFFFFFFF

// Connect is a decoded CONNECT. It owns its memory and may be kept.
type Connect struct {
	Version    Version
	CleanStart bool   // clean session in 3.x
	KeepAlive  uint16 // seconds, 0 for none
	ClientID   string // empty: the server assigns one

	HasUsername, HasPassword bool
	Username                 string
	Password                 []byte // never log it

	Will *Will // nil if none

	SessionExpiry       uint32 // seconds; 3.x: 0 if CleanStart, else NoExpiry
	ReceiveMaximum      uint16 // 65535 if absent
	MaximumPacketSize   uint32 // bytes, 0 if there is no limit
	TopicAliasMaximum   uint16 // 0: no aliases to this client
	RequestResponseInfo bool
	RequestProblemInfo  bool // true if absent
	AuthMethod          string
	HasAuthMethod       bool
	AuthData            []byte // nil if absent
	User                []UserProperty
}

// Will is the message that the server publishes when the client is lost.
type Will struct {
	QoS       byte
	Retain    bool
	Topic     string
	Payload   []byte
	Delay     uint32 // seconds
	Expiry    uint32 // message expiry interval in seconds, if HasExpiry
	HasExpiry bool
	Props     []byte // the other will properties, as Out.Props takes them
}

const (
	protocolName   = "MQTT"
	protocolName31 = "MQIsdp"
)

// Bits of the connect flags.
const (
	flagReserved   = 1 << 0
	flagCleanStart = 1 << 1
	flagWill       = 1 << 2
	flagWillRetain = 1 << 5
	flagPassword   = 1 << 6
	flagUsername   = 1 << 7
)

// DecodeConnect decodes CONNECT. With an error, Connect.Version still says in
// which form to answer: the client's version if it is known, V311 for a level
// that nobody knows, 0 if the packet is not MQTT at all and deserves no
// answer. The other fields then hold what was read so far.
//
// MQTT 3.1 is taken as its servers take it: client identifiers over 23 bytes
// are accepted, unused flag bits are ignored, and a user name or password that
// its flag announces may be missing.
func DecodeConnect(f Frame) (Connect, error) {
	c := Connect{ReceiveMaximum: 65535, RequestProblemInfo: true}
	if f.Type != CONNECT {
		return c, wrongType(CONNECT, f)
	}
	r := reader{b: f.Body}
	decodeConnect(&r, &c)
	if e := r.end(); e != nil {
		return c, e
	}
	// After all else, so that what can be said about the client is known.
	if e := clientIDError(&c); e != nil {
		return c, e
	}
	return c, nil
}

func decodeConnect(r *reader, c *Connect) {
	decodeVersion(r, c)
	flags := r.u8("connect flags")
	c.KeepAlive = r.u16("keep alive")
	if r.err != nil {
		return
	}
	if e := connectFlagsError(flags, c.Version); e != nil {
		r.fail(e)
		return
	}
	c.CleanStart = flags&flagCleanStart != 0
	if c.Version == V5 {
		connectProps(r, c)
	} else if !c.CleanStart {
		c.SessionExpiry = NoExpiry
	}
	c.ClientID = string(r.text("client identifier"))
	if flags&flagWill != 0 && r.err == nil {
		c.Will = decodeWill(r, c.Version)
		c.Will.QoS = flags >> 3 & 3
		c.Will.Retain = flags&flagWillRetain != 0
	}
	// MQTT 3.1: "the Remaining Length field takes precedence over the User
	// Name flag".
	if flags&flagUsername != 0 && (c.Version != V31 || len(r.b) > 0) {
		c.Username = string(r.text("user name"))
		c.HasUsername = r.err == nil
	}
	if flags&flagPassword != 0 && (c.Version != V31 || len(r.b) > 0) {
		c.Password = slices.Clone(r.binary("password"))
		c.HasPassword = r.err == nil
	}
}

// decodeVersion reads protocol name and level. [MQTT-3.1.2-1] [MQTT-3.1.2-2]
func decodeVersion(r *reader, c *Connect) {
	name := string(r.text("protocol name"))
	level := Version(r.u8("protocol level"))
	if r.err != nil {
		return
	}
	switch {
	case name == protocolName && (level == V311 || level == V5):
		c.Version = level
	case name == protocolName31 && level == V31:
		c.Version = level
	case name == protocolName || name == protocolName31:
		c.Version = V311
		r.fail(&Error{UnsupportedProtocolVersion, "[MQTT-3.1.2-2]", "protocol " + level.String()})
	default:
		r.fail(&Error{UnsupportedProtocolVersion, "[MQTT-3.1.2-1]", "protocol name is not MQTT"})
	}
}

func connectFlagsError(flags byte, v Version) *Error {
	willQoS := flags >> 3 & 3
	switch {
	case flags&flagReserved != 0 && v != V31:
		return malformed("[MQTT-3.1.2-3]", "reserved connect flag is set")
	case flags&flagWill != 0 && willQoS == 3:
		return malformed("[MQTT-3.1.2-12]", "will QoS is 3")
	case flags&flagWill == 0 && willQoS != 0 && v != V31:
		return malformed("[MQTT-3.1.2-11]", "will QoS without a will")
	case flags&flagWill == 0 && flags&flagWillRetain != 0 && v != V31:
		return malformed("[MQTT-3.1.2-13]", "will retain without a will")
	case flags&flagPassword != 0 && flags&flagUsername == 0 && v != V5:
		return malformed("[MQTT3-3.1.2-22]", "password without a user name")
	}
	return nil
}

// clientIDError applies the 3.x rules for an empty client identifier.
func clientIDError(c *Connect) *Error {
	switch {
	case c.ClientID != "" || c.Version == V5:
		return nil
	case c.Version == V31:
		return &Error{ClientIDNotValid, "", "client identifier is empty in protocol 3.1"}
	case !c.CleanStart:
		return &Error{ClientIDNotValid, "[MQTT3-3.1.3-8]", "client identifier is empty without clean session"}
	}
	return nil
}

func connectProps(r *reader, c *Connect) {
	s := r.props(inConnect)
	var p property
	for r.next(&s, &p) {
		switch p.id {
		case propSessionExpiry:
			c.SessionExpiry = p.num
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(p.num)
		case propMaximumPacketSize:
			c.MaximumPacketSize = p.num
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(p.num)
		case propRequestResponseInfo:
			c.RequestResponseInfo = p.num == 1
		case propRequestProblemInfo:
			c.RequestProblemInfo = p.num == 1
		case propUser:
			c.User = append(c.User, s.user(&p))
		case propAuthMethod:
			c.AuthMethod, c.HasAuthMethod = string(p.value), true
		case propAuthData:
			c.AuthData = append([]byte{}, p.value...)
		}
	}
	if c.AuthData != nil && !c.HasAuthMethod {
		r.fail(protocolError("", "authentication data without an authentication method"))
	}
}

func decodeWill(r *reader, v Version) *Will {
	w := &Will{}
	utf8Payload := false
	if v == V5 {
		s := r.props(inWill)
		var p property
		for r.next(&s, &p) {
			switch p.id {
			case propWillDelay:
				w.Delay = p.num
			case propMessageExpiry:
				w.Expiry, w.HasExpiry = p.num, true
			default:
				utf8Payload = utf8Payload || p.id == propPayloadFormat && p.num == 1
				w.Props = append(w.Props, s.b[p.at:s.at]...)
			}
		}
	}
	topic := r.binary("will topic")
	if r.err == nil {
		if e := topicError(topic, "will topic", "[MQTT-3.3.2-2]"); e != nil {
			r.fail(e)
		}
	}
	w.Topic = string(topic)
	w.Payload = slices.Clone(r.binary("will payload"))
	if utf8Payload && !utf8.Valid(w.Payload) {
		r.fail(&Error{PayloadFormatInvalid, "", "will payload is not the UTF-8 that its format says"})
	}
	return w
}

// AppendConnect appends c as CONNECT, leaving out the properties that say
// what holds without them. A ReceiveMaximum of 0 is left out too. Note that
// RequestProblemInfo false is written, so a Connect made by hand should set it.
func AppendConnect(dst []byte, c *Connect) []byte {
	name := protocolName
	if c.Version == V31 {
		name = protocolName31
	}
	body := appendText(make([]byte, 0, 64), name)
	body = append(body, byte(c.Version), connectFlags(c), byte(c.KeepAlive>>8), byte(c.KeepAlive))
	if c.Version == V5 {
		body = append(body, withLength(appendConnectProps(nil, c))...)
	}
	body = appendText(body, c.ClientID)
	if w := c.Will; w != nil {
		if c.Version == V5 {
			var props []byte
			if w.Delay != 0 {
				props = appendU32Prop(props, propWillDelay, w.Delay)
			}
			if w.HasExpiry {
				props = appendU32Prop(props, propMessageExpiry, w.Expiry)
			}
			body = append(body, withLength(append(props, w.Props...))...)
		}
		body = appendBinary(appendText(body, w.Topic), w.Payload)
	}
	if c.HasUsername {
		body = appendText(body, c.Username)
	}
	if c.HasPassword {
		body = appendBinary(body, c.Password)
	}
	return appendFrame(dst, CONNECT, 0, body)
}

func connectFlags(c *Connect) (flags byte) {
	if c.CleanStart {
		flags |= flagCleanStart
	}
	if c.Will != nil {
		flags |= flagWill | c.Will.QoS&3<<3
		if c.Will.Retain {
			flags |= flagWillRetain
		}
	}
	if c.HasPassword {
		flags |= flagPassword
	}
	if c.HasUsername {
		flags |= flagUsername
	}
	return flags
}

func appendConnectProps(dst []byte, c *Connect) []byte {
	if c.SessionExpiry != 0 {
		dst = appendU32Prop(dst, propSessionExpiry, c.SessionExpiry)
	}
	if c.ReceiveMaximum != 0 && c.ReceiveMaximum != 65535 {
		dst = appendU16Prop(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.MaximumPacketSize != 0 {
		dst = appendU32Prop(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	if c.TopicAliasMaximum != 0 {
		dst = appendU16Prop(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	if c.RequestResponseInfo {
		dst = appendBoolProp(dst, propRequestResponseInfo, true)
	}
	if !c.RequestProblemInfo {
		dst = appendBoolProp(dst, propRequestProblemInfo, false)
	}
	if c.HasAuthMethod {
		dst = appendTextProp(dst, propAuthMethod, c.AuthMethod)
	}
	if c.AuthData != nil {
		dst = appendBinary(append(dst, propAuthData), c.AuthData)
	}
	return appendUserProps(dst, c.User)
}
