package wire

// MaxFrameSize is the size in bytes of the largest packet that the protocol
// can express: one header byte, four length bytes and 268,435,455 bytes after.
const MaxFrameSize = 1 + 4 + maxVarint

const maxVarint = 1<<28 - 1

// Frame is one control packet. Raw and Body alias the bytes given to Scan.
type Frame struct {
	Type  Type
	Flags byte   // low four bits of the first byte
	Raw   []byte // the whole packet
	Body  []byte // what follows the fixed header
}

// headerFlags holds, per type, the set of legal flag values as bits.
// [MQTT-2.1.3-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4]
var headerFlags = [16]uint16{
	CONNECT: 1 << 0,
	CONNACK: 1 << 0,
	PUBLISH: 1<<0b0000 | 1<<0b0001 | // QoS 0: no DUP
		1<<0b0010 | 1<<0b0011 | 1<<0b1010 | 1<<0b1011 | // QoS 1
		1<<0b0100 | 1<<0b0101 | 1<<0b1100 | 1<<0b1101, // QoS 2
	PUBACK:      1 << 0,
	PUBREC:      1 << 0,
	PUBREL:      1 << 2,
	PUBCOMP:     1 << 0,
	SUBSCRIBE:   1 << 2,
	SUBACK:      1 << 0,
	UNSUBSCRIBE: 1 << 2,
	UNSUBACK:    1 << 0,
	PINGREQ:     1 << 0,
	PINGRESP:    1 << 0,
	DISCONNECT:  1 << 0,
	AUTH:        1 << 0,
}

// Scan finds the first packet of b and returns it with its size n in bytes.
// n == 0 with a nil error means that b holds only the beginning of a packet.
//
// A packet of more than max bytes is PacketTooLarge as soon as its header is
// there; max <= 0 sets no limit. Reserved types and flags, QoS 3, DUP with
// QoS 0, and lengths that are not minimal or take more than four bytes are
// malformed, and reported as early as they are seen. After an error the
// stream cannot be resumed.
func Scan(b []byte, max int) (f Frame, n int, err error) {
	if len(b) == 0 {
		return Frame{}, 0, nil
	}
	h := b[0]
	if headerFlags[h>>4]>>(h&15)&1 == 0 {
		return Frame{}, 0, badHeader(h)
	}
	// Most packets are shorter than 128 bytes.
	if len(b) > 1 && b[1] < 0x80 {
		n = 2 + int(b[1])
		if max > 0 && n > max {
			return Frame{}, 0, tooLarge()
		}
		if n > len(b) {
			return Frame{}, 0, nil
		}
		return Frame{Type: Type(h >> 4), Flags: h & 15, Raw: b[:n:n], Body: b[2:n:n]}, n, nil
	}
	length, width, ok := varint(b[1:])
	if !ok {
		return Frame{}, 0, malformed("[MQTT-1.5.5-1]", "remaining length is not a minimal variable byte integer")
	}
	if width == 0 {
		return Frame{}, 0, nil
	}
	n = 1 + width + int(length)
	if max > 0 && n > max {
		return Frame{}, 0, tooLarge()
	}
	if n > len(b) {
		return Frame{}, 0, nil
	}
	return Frame{Type: Type(h >> 4), Flags: h & 15, Raw: b[:n:n], Body: b[1+width : n : n]}, n, nil
}

// FrameSize returns the size in bytes that the fixed header at the start of b
// announces for the whole packet. ok is false while the header is incomplete
// and when its length is malformed; Scan tells these apart.
func FrameSize(b []byte) (n int, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	length, width, ok := varint(b[1:])
	if !ok || width == 0 {
		return 0, false
	}
	return 1 + width + int(length), true
}

func badHeader(h byte) *Error {
	t := Type(h >> 4)
	switch {
	case t == 0:
		return malformed("", "packet type 0 is reserved")
	case t == PUBLISH && h&0b0110 == 0b0110:
		return malformed("[MQTT-3.3.1-4]", "PUBLISH with QoS 3")
	case t == PUBLISH:
		return malformed("[MQTT-3.3.1-2]", "PUBLISH with DUP and QoS 0")
	}
	return malformed("[MQTT-2.1.3-1]", "reserved flags of "+t.String())
}

func tooLarge() *Error {
	return &Error{Reason: PacketTooLarge, Detail: "packet exceeds the maximum packet size"}
}

// varint reads a variable byte integer. width is 0 if b ends within it; ok is
// false if it is longer than four bytes or than it need be. [MQTT-1.5.5-1]
func varint(b []byte) (v uint32, width int, ok bool) {
	for i := range min(len(b), 4) {
		c := b[i]
		v |= uint32(c&0x7F) << (7 * i)
		if c < 0x80 {
			return v, i + 1, i == 0 || c != 0
		}
	}
	return 0, 0, len(b) < 4
}

// varintSize returns how many bytes v takes.
func varintSize(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}
