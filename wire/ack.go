package wire

import "encoding/binary"

// DecodeAck decodes PUBACK, PUBREC, PUBREL or PUBCOMP. r is Success in 3.x
// and in the short forms of version 5. Reason string and user properties are
// checked and dropped.
func DecodeAck(f Frame, v Version) (id uint16, r Reason, err error) {
	if f.Type < PUBACK || f.Type > PUBCOMP {
		return 0, 0, protocolError("", "expected an acknowledgement, got "+f.Type.String())
	}
	b := f.Body
	if len(b) < 2 {
		return 0, 0, cut("packet identifier")
	}
	id = binary.BigEndian.Uint16(b)
	if id == 0 {
		return 0, 0, protocolError("[MQTT-2.2.1-3]", "packet identifier is 0")
	}
	if len(b) == 2 {
		return id, Success, nil
	}
	if v < V5 {
		return 0, 0, malformed("", "bytes after the end of the packet")
	}
	r = Reason(b[2])
	if !r.allowedIn(f.Type) {
		return 0, 0, protocolError(ackReasonRules[f.Type-PUBACK], r.String()+" in "+f.Type.String())
	}
	if len(b) == 3 { // the property length may be left out below 4 bytes
		return id, r, nil
	}
	section, rest, e := splitProps(b[3:])
	if e != nil {
		return 0, 0, e
	}
	if len(rest) > 0 {
		return 0, 0, malformed("", "bytes after the end of the packet")
	}
	if len(section) > 0 {
		s := propScanner{b: section, in: 1 << f.Type}
		if e := s.skip(); e != nil {
			return 0, 0, e
		}
	}
	return id, r, nil
}

// ackReasonRules limit the reason codes of PUBACK, PUBREC, PUBREL, PUBCOMP.
var ackReasonRules = [4]string{"[MQTT-3.4.2-1]", "[MQTT-3.5.2-1]", "[MQTT-3.6.2-1]", "[MQTT-3.7.2-1]"}

// AppendAck appends PUBACK, PUBREC, PUBREL or PUBCOMP. 3.x packets cannot
// carry r, and version 5 needs no byte for Success.
func AppendAck(dst []byte, t Type, v Version, id uint16, r Reason) []byte {
	h := byte(t) << 4
	if t == PUBREL {
		h |= 2
	}
	if v < V5 || r == Success {
		return append(dst, h, 2, byte(id>>8), byte(id))
	}
	return append(dst, h, 3, byte(id>>8), byte(id), byte(r))
}
