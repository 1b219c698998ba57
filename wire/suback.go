package wire

import "encoding/binary"

// AppendSuback appends SUBACK with one code per topic filter, in the order of
// SUBSCRIBE. In 3.x every failure becomes 0x80.
func AppendSuback(dst []byte, v Version, id uint16, codes []Reason) []byte {
	n := 2 + len(codes)
	if v == V5 {
		n++
	}
	if n > maxVarint {
		return dst
	}
	dst = appendVarint(append(dst, byte(SUBACK)<<4), n)
	dst = binary.BigEndian.AppendUint16(dst, id)
	if v == V5 {
		dst = append(dst, 0)
	}
	for _, c := range codes {
		if v < V5 && c >= UnspecifiedError {
			c = UnspecifiedError
		}
		dst = append(dst, byte(c))
	}
	return dst
}

// AppendUnsuback appends UNSUBACK with one code per topic filter, in the order
// of UNSUBSCRIBE. 3.x has no codes.
func AppendUnsuback(dst []byte, v Version, id uint16, codes []Reason) []byte {
	if v < V5 {
		return append(dst, byte(UNSUBACK)<<4, 2, byte(id>>8), byte(id))
	}
	n := 3 + len(codes)
	if n > maxVarint {
		return dst
	}
	dst = appendVarint(append(dst, byte(UNSUBACK)<<4), n)
	dst = append(dst, byte(id>>8), byte(id), 0)
	for _, c := range codes {
		dst = append(dst, byte(c))
	}
	return dst
}

// DecodeSuback decodes SUBACK. Properties are checked and dropped.
func DecodeSuback(f Frame, v Version) (id uint16, codes []Reason, err error) {
	if f.Type != SUBACK {
		return 0, nil, wrongType(SUBACK, f)
	}
	r := reader{b: f.Body}
	id = r.packetID()
	codes = decodeCodes(&r, f.Type, v)
	if e := r.end(); e != nil {
		return 0, nil, e
	}
	return id, codes, nil
}

// DecodeUnsuback decodes UNSUBACK. codes is nil in 3.x. Properties are checked
// and dropped.
func DecodeUnsuback(f Frame, v Version) (id uint16, codes []Reason, err error) {
	if f.Type != UNSUBACK {
		return 0, nil, wrongType(UNSUBACK, f)
	}
	r := reader{b: f.Body}
	id = r.packetID()
	if v == V5 {
		codes = decodeCodes(&r, f.Type, v)
	}
	if e := r.end(); e != nil {
		return 0, nil, e
	}
	return id, codes, nil
}

// decodeCodes reads the reason codes that end SUBACK and UNSUBACK.
// [MQTT-3.9.3-2] [MQTT-3.11.3-2]
func decodeCodes(r *reader, t Type, v Version) []Reason {
	if v == V5 {
		props := r.props(1 << t)
		if e := props.skip(); e != nil {
			r.fail(e)
		}
	}
	if r.err == nil && len(r.b) == 0 {
		r.fail(protocolError("", "no reason code"))
	}
	codes := make([]Reason, len(r.b))
	for i, b := range r.b {
		c := Reason(b)
		if !c.allowedIn(t) || v < V5 && c > UnspecifiedError {
			r.fail(protocolError("", c.String()+" in "+t.String()))
			return nil
		}
		codes[i] = c
	}
	r.b = nil
	return codes
}
