package bench

import (
	"encoding/binary"

	"github.com/synthetism/edgebroker/wire"
)

// headerSize is the part of each payload that the load itself uses:
// publisher uint32, sequence uint32, send time int64 (ns since the run's base).
const headerSize = 16

// batch is a run of equal PUBLISH frames, encoded once. Before each write the
// packet id and payload header of every frame are patched in place.
type batch struct {
	buf       []byte
	frame     int // bytes of one frame
	payloadAt int // offset of the payload in a frame
	idAt      int // offset of the packet id in a frame, -1 for QoS 0
}

// newBatch encodes n frames of one publisher.
func newBatch(n int, v wire.Version, qos byte, topic string, payload int, publisher uint32) *batch {
	body := make([]byte, payload)
	binary.BigEndian.PutUint32(body, publisher)
	for i := headerSize; i < payload; i++ {
		body[i] = byte(' ' + i%90)
	}
	one := wire.AppendPublish(nil, &wire.Out{Version: v, QoS: qos, Topic: []byte(topic), Payload: body}, 1)
	b := &batch{frame: len(one), payloadAt: len(one) - payload, idAt: -1}
	if qos > 0 {
		header := 1
		for one[header]&0x80 != 0 {
			header++
		}
		b.idAt = header + 1 + 2 + len(topic)
	}
	b.buf = make([]byte, 0, n*len(one))
	for range n {
		b.buf = append(b.buf, one...)
	}
	return b
}

// cap is the number of frames in b.
func (b *batch) cap() int { return len(b.buf) / b.frame }

// set patches frame i.
func (b *batch) set(i int, seq uint32, at int64) {
	f := b.buf[i*b.frame : (i+1)*b.frame]
	if b.idAt >= 0 {
		binary.BigEndian.PutUint16(f[b.idAt:], packetID(seq))
	}
	binary.BigEndian.PutUint32(f[b.payloadAt+4:], seq)
	binary.BigEndian.PutUint64(f[b.payloadAt+8:], uint64(at))
}

// bytes is the encoding of the first n frames. The caller writes it before the
// next set.
func (b *batch) bytes(n int) []byte { return b.buf[:n*b.frame] }

// packetID maps sequence numbers onto 1..65535.
func packetID(seq uint32) uint16 { return uint16(seq%65535) + 1 }

// message is what a subscriber needs of a PUBLISH.
type message struct {
	qos       byte
	dup       bool
	packetID  uint16
	size      int // payload bytes
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
	}
	if len(b) < at+headerSize {
		return m, false
	}
	p := b[at:]
	m.size = len(p)
	m.publisher = binary.BigEndian.Uint32(p)
	m.seq = binary.BigEndian.Uint32(p[4:])
	m.at = int64(binary.BigEndian.Uint64(p[8:]))
	return m, true
}
