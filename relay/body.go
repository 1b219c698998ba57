package relay

import "bytes"

// newMessage is a Message with a copy of payload. A short one lies behind the
// Message in the same piece of memory, which halves what the allocator and the
// collector have to do; sizes are those that the allocator has anyway.
func newMessage(payload []byte) *Message {
	var m *Message
	var body []byte
	switch n := len(payload); {
	case n == 0:
		return &Message{}
	case n <= 16:
		b := new(bodied[[16]byte])
		m, body = &b.Message, b.body[:]
	case n <= 32:
		b := new(bodied[[32]byte])
		m, body = &b.Message, b.body[:]
	case n <= 64:
		b := new(bodied[[64]byte])
		m, body = &b.Message, b.body[:]
	case n <= 112:
		b := new(bodied[[112]byte])
		m, body = &b.Message, b.body[:]
	case n <= 144:
		b := new(bodied[[144]byte])
		m, body = &b.Message, b.body[:]
	case n <= 208:
		b := new(bodied[[208]byte])
		m, body = &b.Message, b.body[:]
	case n <= 272:
		b := new(bodied[[272]byte])
		m, body = &b.Message, b.body[:]
	default:
		return &Message{Payload: bytes.Clone(payload)}
	}
	n := copy(body, payload)
	m.Payload = body[:n:n]
	return m
}

type bodied[B any] struct {
	Message
	body B
}
