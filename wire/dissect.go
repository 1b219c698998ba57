package wire

import (
	"errors"
	"iter"
)

// Dissection is a packet taken apart for people to read: every field as far as
// the packet is sound, and where it is not. Slices alias the packet. Fields that
// the packet does not have, or that come behind its first fault, are zero.
type Dissection struct {
	Type     Type
	Flags    byte
	Version  Version // in whose form the packet was read; of CONNECT the one that it asks for
	PacketID uint16  // 0 if none

	// PUBLISH.
	Dup, Retain bool
	QoS         byte
	Topic       []byte
	Alias       uint16 // 0 if none
	Payload     []byte // as far as it was given to Dissect

	// CONNECT.
	CleanStart   bool
	KeepAlive    uint16
	ClientID     []byte
	HasUsername  bool
	Username     []byte
	HasPassword  bool
	PasswordSize int // the password itself is nowhere in a Dissection
	Will         *DissectedWill

	// CONNACK.
	SessionPresent bool

	// Reasons are the reason codes: one, or of SUBACK and UNSUBACK one for each
	// filter. Nil where the packet has none, such as a PUBACK of 3.x. The return
	// codes of 3.x come as the reason codes of the same meaning.
	Reasons []Reason

	Filters []Filter   // of SUBSCRIBE, and of UNSUBSCRIBE without options
	Props   []Property // in the packet's order

	Err *Error // what is wrong with the packet, nil if nothing is
	At  int    // offset in the packet of the field that is wrong, -1 if it is not known
}

// DissectedWill is the will in a CONNECT.
type DissectedWill struct {
	QoS     byte
	Retain  bool
	Topic   []byte
	Payload []byte
	Props   []Property
}

// Form tells which fields of a Property count.
type Form byte

// The forms of properties.
const (
	FormNumber Form = iota + 1 // Number
	FormText                   // Value, UTF-8
	FormBinary                 // Value, any bytes
	FormPair                   // Key and Value, UTF-8
)

// Property is one property of a packet.
type Property struct {
	Name       string // as the standard names it, in lower case, such as "topic alias"
	Form       Form
	Number     uint32
	Key, Value []byte // they alias the packet
	Secret     bool   // Value is authentication data: tell its size at most
}

// Dissect takes a packet apart. raw is the whole packet; or, of a PUBLISH, the
// packet up to some place in its payload. v is the version that its connection
// speaks, which does not count for CONNECT. server says which side has sent it.
// Of no bytes at all nothing is known. Dissect is for the few who look: it allocates, and is slower than the
// decoders, with which it agrees on what is wrong with a packet.
func Dissect(raw []byte, v Version, server bool) Dissection {
	if len(raw) == 0 {
		return Dissection{Version: v, At: -1}
	}
	h := header(raw)
	d := Dissection{Type: Type(raw[0] >> 4), Flags: raw[0] & 15, Version: v, At: -1}
	x := dissector{Dissection: &d, size: len(raw), r: reader{b: raw[h:]}}
	x.take()
	if d.Err = x.r.err; d.Err != nil {
		d.At = x.at
	}
	if size, ok := FrameSize(raw); !ok || size != len(raw) {
		return d // only a part is there; what was sent by halves is well
	}
	f := Frame{Type: d.Type, Flags: d.Flags, Raw: raw, Body: raw[h:]}
	var e *Error
	if errors.As(verdict(f, v, server), &e) {
		if d.Err == nil && d.Type != CONNECT {
			d.At = x.at // something is missing, or the payload is wrong
		}
		d.Err = e
	} else if d.Err != nil {
		d.Err, d.At = nil, -1 // the decoders are the judges
	}
	return d
}

// header is how long the fixed header of raw is.
func header(raw []byte) int {
	i := 1
	for i < len(raw) && i < 4 && raw[i]&0x80 != 0 {
		i++
	}
	return min(i+1, len(raw))
}

// verdict is what the decoder of f says.
func verdict(f Frame, v Version, server bool) (err error) {
	switch f.Type {
	case CONNECT:
		_, err = DecodeConnect(f)
	case CONNACK:
		_, err = DecodeConnack(f, v)
	case PUBLISH:
		if server {
			_, err = DecodeDelivery(f, v)
		} else {
			_, err = DecodePublish(f, v)
		}
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		_, _, err = DecodeAck(f, v)
	case SUBSCRIBE:
		_, err = DecodeSubscribe(f, v)
	case SUBACK:
		_, _, err = DecodeSuback(f, v)
	case UNSUBSCRIBE:
		_, err = DecodeUnsubscribe(f, v)
	case UNSUBACK:
		_, _, err = DecodeUnsuback(f, v)
	case DISCONNECT:
		if server {
			_, err = DecodeServerDisconnect(f, v)
		} else {
			_, err = DecodeDisconnect(f, v)
		}
	case AUTH:
		_, err = DecodeAuth(f)
	default:
		err = DecodeEmpty(f)
	}
	return err
}

// dissector reads a packet into its Dissection.
type dissector struct {
	*Dissection
	size int // of what it reads, from the first byte of the packet on
	r    reader
	at   int // where the field begins that is read next
}

// step notes where the next field begins.
func (x *dissector) step() {
	if x.r.err == nil {
		x.at = x.size - len(x.r.b)
	}
}

func (x *dissector) u8(what string) byte       { x.step(); return x.r.u8(what) }
func (x *dissector) u16(what string) uint16    { x.step(); return x.r.u16(what) }
func (x *dissector) text(what string) []byte   { x.step(); return x.r.text(what) }
func (x *dissector) binary(what string) []byte { x.step(); return x.r.binary(what) }

func (x *dissector) packetID() {
	x.step()
	x.PacketID = x.r.packetID()
}

// more reports whether there are fields left in a sound packet.
func (x *dissector) more() bool { return x.r.err == nil && len(x.r.b) > 0 }

// props reads a property section of the packet whose bit is in.
func (x *dissector) props(in uint16) (list []Property) {
	x.step()
	s := x.r.props(in)
	start := x.size - len(x.r.b) - len(s.b)
	var p property
	for x.r.err == nil {
		x.at = start + s.at
		if !x.r.next(&s, &p) {
			break
		}
		list = append(list, exported(&p))
		if p.id == propTopicAlias {
			x.Alias = uint16(p.num)
		}
	}
	return list
}

// exported is p for others to see.
func exported(p *property) Property {
	out := Property{Name: properties[p.id].name, Secret: p.id == propAuthData}
	switch properties[p.id].kind {
	case kindText, kindTopic:
		out.Form, out.Value = FormText, p.value
	case kindBinary:
		out.Form, out.Value = FormBinary, p.value
	case kindPair:
		out.Form, out.Key, out.Value = FormPair, p.key, p.value
	default:
		out.Form, out.Number = FormNumber, p.num
	}
	return out
}

func (x *dissector) take() {
	switch x.Type {
	case CONNECT:
		x.connect()
	case CONNACK:
		x.connack()
	case PUBLISH:
		x.publish()
		return // the rest is payload
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		x.packetID()
		if x.Version == V5 && x.more() {
			x.reasons(1)
		}
		if x.Version == V5 && x.more() {
			x.Props = x.props(1 << x.Type)
		}
	case SUBSCRIBE, UNSUBSCRIBE:
		x.packetID()
		if x.Version == V5 {
			x.Props = x.props(1 << x.Type)
		}
		x.filters()
	case SUBACK, UNSUBACK:
		x.packetID()
		if x.Version == V5 {
			x.Props = x.props(1 << x.Type)
		}
		x.reasons(len(x.r.b))
	case DISCONNECT, AUTH:
		if x.Version == V5 && x.more() {
			x.reasons(1)
		}
		if x.Version == V5 && x.more() {
			x.Props = x.props(1 << x.Type)
		}
	}
	x.step()
	if e := x.r.end(); e != nil {
		x.r.err = e
	}
}

// reasons reads n reason codes.
func (x *dissector) reasons(n int) {
	for range n {
		r := Reason(x.u8("reason code"))
		if x.r.err != nil {
			return
		}
		x.Reasons = append(x.Reasons, r)
		if !r.allowedIn(x.Type) {
			x.r.fail(protocolError("", r.String()+" in "+x.Type.String()))
		}
	}
}

func (x *dissector) connect() {
	var c Connect
	x.step()
	decodeVersion(&x.r, &c)
	x.Version = c.Version
	flags := x.u8("connect flags")
	if x.r.err == nil {
		if e := connectFlagsError(flags, x.Version); e != nil {
			x.r.fail(e)
		}
	}
	x.KeepAlive = x.u16("keep alive")
	if x.r.err != nil {
		return
	}
	x.CleanStart = flags&flagCleanStart != 0
	if x.Version == V5 {
		x.Props = x.props(inConnect)
	}
	x.ClientID = x.text("client identifier")
	if flags&flagWill != 0 && x.r.err == nil {
		x.will(flags)
	}
	if flags&flagUsername != 0 && (x.Version != V31 || x.more()) {
		x.Username = x.text("user name")
		x.HasUsername = x.r.err == nil
	}
	if flags&flagPassword != 0 && (x.Version != V31 || x.more()) {
		x.PasswordSize = len(x.binary("password"))
		x.HasPassword = x.r.err == nil
	}
}

func (x *dissector) will(flags byte) {
	w := &DissectedWill{QoS: flags >> 3 & 3, Retain: flags&flagWillRetain != 0}
	if x.Version == V5 {
		w.Props = x.props(inWill)
	}
	w.Topic = x.binary("will topic")
	if x.r.err == nil {
		if e := topicError(w.Topic, "will topic", "[MQTT-3.3.2-2]"); e != nil {
			x.r.fail(e)
		}
	}
	w.Payload = x.binary("will payload")
	if x.r.err == nil {
		x.Will = w
	}
}

func (x *dissector) connack() {
	flags := x.u8("connect acknowledge flags")
	code := x.u8("reason code")
	if x.r.err != nil {
		return
	}
	x.SessionPresent = flags&1 != 0 && x.Version != V31
	r := Reason(code)
	if x.Version < V5 && int(code) < len(connackReasons) {
		r = connackReasons[code]
	}
	x.Reasons = []Reason{r}
	if x.Version == V5 {
		x.Props = x.props(inConnack)
	}
}

func (x *dissector) publish() {
	x.Dup, x.QoS, x.Retain = x.Flags&8 != 0, x.Flags>>1&3, x.Flags&1 != 0
	x.Topic = x.binary("topic name")
	if x.r.err == nil && checkTopic(x.Topic) != sound {
		x.r.fail(topicError(x.Topic, "topic name", "[MQTT-3.3.2-2]"))
		x.Topic = nil
	}
	if x.QoS > 0 {
		x.packetID()
	}
	if x.Version == V5 {
		x.Props = x.props(inPublish)
	}
	x.step() // what is wrong beyond this is the payload
	x.Payload = x.r.b
}

func (x *dissector) filters() {
	for x.more() {
		filter := x.text("topic filter")
		var options byte
		if x.Type == SUBSCRIBE {
			options = x.u8("subscription options")
		}
		if x.r.err != nil {
			return
		}
		if e := optionsError(options, filter, x.Version); e != nil {
			x.r.fail(e)
			return
		}
		x.Filters = append(x.Filters, newFilter(filter, options))
	}
}

// Frames yields the packets that b consists of, one after the other. What is no
// packet ends the sequence.
func Frames(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			_, n, err := Scan(b, 0)
			if err != nil || n == 0 || !yield(b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}
