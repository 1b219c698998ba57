package wire

import "strings"

// Subscribe is a decoded SUBSCRIBE. It owns its memory.
type Subscribe struct {
	PacketID       uint16
	SubscriptionID uint32 // 0 if none
	Filters        []Filter
	User           []UserProperty
}

// Filter is one topic filter of SUBSCRIBE with its options, which 3.x does
// not have beyond QoS.
type Filter struct {
	Filter            string // UTF-8, but not yet checked by ValidFilter
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0 send retained, 1 only if the subscription is new, 2 never
}

// Bits of the subscription options.
const (
	optNoLocal           = 1 << 2
	optRetainAsPublished = 1 << 3
)

// DecodeSubscribe decodes SUBSCRIBE. A topic filter that ValidFilter rejects
// is no error here: SUBACK answers it, with TopicFilterInvalid.
func DecodeSubscribe(f Frame, v Version) (Subscribe, error) {
	var s Subscribe
	if f.Type != SUBSCRIBE {
		return s, wrongType(SUBSCRIBE, f)
	}
	r := reader{b: f.Body}
	s.PacketID = r.packetID()
	if v == V5 {
		props := r.props(inSubscribe)
		var p property
		for r.next(&props, &p) {
			switch p.id {
			case propSubscriptionID:
				s.SubscriptionID = p.num
			case propUser:
				s.User = append(s.User, props.user(&p))
			}
		}
	}
	if r.err == nil && len(r.b) == 0 {
		r.fail(protocolError("[MQTT-3.8.3-2]", "no topic filter"))
	}
	for len(r.b) > 0 {
		filter := r.text("topic filter")
		options := r.u8("subscription options")
		if r.err != nil {
			break
		}
		if e := optionsError(options, filter, v); e != nil {
			r.fail(e)
			break
		}
		s.Filters = append(s.Filters, newFilter(filter, options))
	}
	if e := r.end(); e != nil {
		return s, e
	}
	return s, nil
}

func newFilter(filter []byte, options byte) Filter {
	return Filter{
		Filter:            string(filter),
		QoS:               options & 3,
		NoLocal:           options&optNoLocal != 0,
		RetainAsPublished: options&optRetainAsPublished != 0,
		RetainHandling:    options >> 4,
	}
}

func optionsError(options byte, filter []byte, v Version) *Error {
	reserved := byte(0b1100_0000)
	if v < V5 {
		reserved = 0b1111_1100
	}
	switch {
	case options&reserved != 0:
		return malformed("[MQTT-3.8.3-5]", "reserved subscription options")
	case options&3 == 3:
		return protocolError("", "subscription with QoS 3")
	case options>>4 == 3:
		return protocolError("", "retain handling is 3")
	case options&optNoLocal != 0 && strings.HasPrefix(string(filter), sharePrefix):
		return protocolError("[MQTT-3.8.3-4]", "no local on a shared subscription")
	}
	return nil
}

// AppendSubscribe appends s, as a client would send it.
func AppendSubscribe(dst []byte, v Version, s *Subscribe) []byte {
	body := []byte{byte(s.PacketID >> 8), byte(s.PacketID)}
	if v == V5 {
		var props []byte
		if s.SubscriptionID != 0 {
			props = appendVarint(append(props, propSubscriptionID), int(s.SubscriptionID))
		}
		body = append(body, withLength(appendUserProps(props, s.User))...)
	}
	for _, f := range s.Filters {
		options := f.QoS & 3
		if v == V5 {
			options |= f.RetainHandling & 3 << 4
			if f.NoLocal {
				options |= optNoLocal
			}
			if f.RetainAsPublished {
				options |= optRetainAsPublished
			}
		}
		body = append(appendText(body, f.Filter), options)
	}
	return appendFrame(dst, SUBSCRIBE, 2, body)
}

// Unsubscribe is a decoded UNSUBSCRIBE. It owns its memory.
type Unsubscribe struct {
	PacketID uint16
	Filters  []string // UTF-8, but not yet checked by ValidFilter
}

// DecodeUnsubscribe decodes UNSUBSCRIBE. User properties are checked and
// dropped.
func DecodeUnsubscribe(f Frame, v Version) (Unsubscribe, error) {
	var u Unsubscribe
	if f.Type != UNSUBSCRIBE {
		return u, wrongType(UNSUBSCRIBE, f)
	}
	r := reader{b: f.Body}
	u.PacketID = r.packetID()
	if v == V5 {
		props := r.props(inUnsubscribe)
		if e := props.skip(); e != nil {
			r.fail(e)
		}
	}
	if r.err == nil && len(r.b) == 0 {
		r.fail(protocolError("[MQTT-3.10.3-2]", "no topic filter"))
	}
	for len(r.b) > 0 {
		if filter := r.text("topic filter"); r.err == nil {
			u.Filters = append(u.Filters, string(filter))
		}
	}
	if e := r.end(); e != nil {
		return u, e
	}
	return u, nil
}

// AppendUnsubscribe appends u, as a client would send it.
func AppendUnsubscribe(dst []byte, v Version, u *Unsubscribe) []byte {
	body := []byte{byte(u.PacketID >> 8), byte(u.PacketID)}
	if v == V5 {
		body = append(body, 0)
	}
	for _, f := range u.Filters {
		body = appendText(body, f)
	}
	return appendFrame(dst, UNSUBSCRIBE, 2, body)
}
