package wire

import "encoding/binary"

// reader takes fields off the front of a packet body. The first failure
// sticks; after it every field reads as zero.
type reader struct {
	b   []byte
	err *Error
}

func (r *reader) fail(e *Error) {
	if r.err == nil {
		r.err = e
	}
	r.b = nil
}

func (r *reader) u8(what string) byte {
	if len(r.b) < 1 {
		r.fail(cut(what))
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) u16(what string) uint16 {
	if len(r.b) < 2 {
		r.fail(cut(what))
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

// binary returns the bytes after a two-byte length.
func (r *reader) binary(what string) []byte {
	v, ok := prefixed(r.b)
	if !ok {
		r.fail(cut(what))
		return nil
	}
	r.b = r.b[2+len(v):]
	return v
}

// text returns a checked UTF-8 string.
func (r *reader) text(what string) []byte {
	v := r.binary(what)
	if f := checkText(v); f != sound {
		r.fail(textError(f, what))
		return nil
	}
	return v
}

// props returns a scanner over the property section that comes next.
func (r *reader) props(in uint16) propScanner {
	if r.err != nil {
		return propScanner{}
	}
	section, rest, e := splitProps(r.b)
	if e != nil {
		r.fail(e)
		return propScanner{}
	}
	r.b = rest
	return propScanner{b: section, in: in}
}

// next is propScanner.next with the failure kept in r.
func (r *reader) next(s *propScanner, p *property) bool {
	more, e := s.next(p)
	if e != nil {
		r.fail(e)
	}
	return more
}

// packetID reads a packet identifier, which is never 0. [MQTT-2.2.1-3]
func (r *reader) packetID() uint16 {
	id := r.u16("packet identifier")
	if id == 0 && r.err == nil {
		r.fail(protocolError("[MQTT-2.2.1-3]", "packet identifier is 0"))
	}
	return id
}

// end reports the first failure, or bytes left over.
func (r *reader) end() *Error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(malformed("", "bytes after the end of the packet"))
	}
	return r.err
}
