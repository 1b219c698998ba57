package bench

import (
	"encoding/binary"

	"github.com/synthetism/edgebroker/wire"
)

// headerSize is the part of each payload that the load itself uses:
// publisher uint32, sequence uint32, send time int64 (ns since the run's base).
const headerSize = 16

// batch is a run of equal PUBLISH frames, encoded once. Before each write what
// differs in a frame is patched in place: packet id, last digits of the topic,
// topic alias, and payload header.
type batch struct {
	buf       []byte
	frame     int // bytes of one frame
	payloadAt int // offset of the payload in a frame
	idAt      int // offset of the packet id in a frame, -1 for QoS 0
	topics    uint32
	digitsAt  int // offset of the digits of the topic in a frame
	digits    int // how many there are
	aliasAt   int // offset of the topic alias in a frame, -1 if there is none
}

// frameSpec says what the frames of a batch are. Message number n goes to topic
// n modulo topics.
type frameSpec struct {
	version   wire.Version
	qos       byte
	retain    bool
	base      string // the topic, or what stands before the last level of several
	topics    int    // 1 or more
	aliased   bool   // a topic alias takes the place of the topic
	introduce bool   // a topic alias stands beside the topic
	props     []byte // further properties, encoded
	payload   int    // bytes
	publisher uint32
}

// newBatch encodes n frames of one publisher.
func newBatch(n int, spec frameSpec) *batch {
	body := payloadOf(spec.publisher, spec.payload)
	topic, digits := topicsOf(spec.base, spec.topics)
	out := wire.Out{Version: spec.version, QoS: spec.qos, Retain: spec.retain, Topic: []byte(topic), Props: spec.props, Payload: body}
	if spec.aliased {
		out.Topic, digits = nil, 0
	}
	b := &batch{idAt: -1, aliasAt: -1, topics: uint32(max(spec.topics, 1)), digits: digits}
	if spec.aliased || spec.introduce {
		// Where two encodings differ that have nothing but the alias different.
		out.Alias = 0x0101
		b.aliasAt = differ(wire.AppendPublish(nil, &out, 1), func() []byte { out.Alias = 0x0202; return wire.AppendPublish(nil, &out, 1) }())
	}
	one := wire.AppendPublish(nil, &out, 1)
	b.frame, b.payloadAt = len(one), len(one)-spec.payload
	header := 1
	for one[header]&0x80 != 0 {
		header++
	}
	topicEnd := header + 1 + 2 + len(out.Topic)
	b.digitsAt = topicEnd - digits
	if spec.qos > 0 {
		b.idAt = topicEnd
	}
	b.buf = make([]byte, 0, n*len(one))
	for range n {
		b.buf = append(b.buf, one...)
	}
	return b
}

// differ is the first index at which a and b, of the same length, differ.
func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// cap is the number of frames in b.
func (b *batch) cap() int { return len(b.buf) / b.frame }

// set patches frame i.
func (b *batch) set(i int, seq uint32, at int64) {
	f := b.buf[i*b.frame : (i+1)*b.frame]
	if b.idAt >= 0 {
		binary.BigEndian.PutUint16(f[b.idAt:], packetID(seq))
	}
	if b.topics > 1 || b.aliasAt >= 0 {
		b.setTopic(f, seq%b.topics)
	}
	setHeader(f[b.payloadAt:], seq, at)
}

// setTopic patches the digits of the topic, and the alias, to those of topic k.
func (b *batch) setTopic(f []byte, k uint32) {
	if b.aliasAt >= 0 {
		binary.BigEndian.PutUint16(f[b.aliasAt:], uint16(k+1))
	}
	for i := b.digitsAt + b.digits - 1; i >= b.digitsAt; i-- {
		f[i] = byte('0' + k%10)
		k /= 10
	}
}

// bytes is the encoding of the first n frames. The caller writes it before the
// next set.
func (b *batch) bytes(n int) []byte { return b.buf[:n*b.frame] }

// payloadOf is a payload of a publisher without number and time.
func payloadOf(publisher uint32, size int) []byte {
	body := make([]byte, size)
	binary.BigEndian.PutUint32(body, publisher)
	for i := headerSize; i < size; i++ {
		body[i] = byte(' ' + i%90)
	}
	return body
}

// setHeader patches number and time of a payload.
func setHeader(payload []byte, seq uint32, at int64) {
	binary.BigEndian.PutUint32(payload[4:], seq)
	binary.BigEndian.PutUint64(payload[8:], uint64(at))
}

// packetID maps sequence numbers onto 1..65535.
func packetID(seq uint32) uint16 { return uint16(seq%65535) + 1 }

// message is what a subscriber needs of a PUBLISH.
type message struct {
	qos       byte
	dup       bool
	packetID  uint16
	whole     bool // a PUBLISH with all its parts, whatever its payload
	props     int  // bytes of properties
	size      int  // payload bytes
	publisher uint32
	seq       uint32
	at        int64
}

// parseMessage reads a PUBLISH that a broker forwarded. It checks only what it
// needs for its own safety: the broker is under test for speed here, and full
// validation would cost the generator more than the rest of its work. ok is
// false when the frame is not one that newBatch made.
func parseMessage(f wire.Frame, v wire.Version) (m message, ok bool) {
	m.qos = f.Flags >> 1 & 3
	m.dup = f.Flags&8 != 0
	b := f.Body
	if len(b) < 2 {
		return m, false
	}
	at := 2 + int(binary.BigEndian.Uint16(b))
	if m.qos > 0 {
		if len(b) < at+2 {
			return m, false
		}
		m.packetID = binary.BigEndian.Uint16(b[at:])
		at += 2
	}
	if v == wire.V5 {
		if len(b) <= at {
			return m, false
		}
		n, used := binary.Uvarint(b[at:])
		if used <= 0 || n > uint64(len(b)) {
			return m, false
		}
		at += used + int(n)
		m.props = int(n)
	}
	m.whole = len(b) >= at
	if len(b) < at+headerSize {
		return m, false
	}
	m.size = len(b) - at
	m.header(b[at:])
	return m, true
}

// header reads what the load has put before a payload.
func (m *message) header(payload []byte) {
	m.publisher = binary.BigEndian.Uint32(payload)
	m.seq = binary.BigEndian.Uint32(payload[4:])
	m.at = int64(binary.BigEndian.Uint64(payload[8:]))
}
