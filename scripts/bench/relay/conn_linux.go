package main

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/wire"
)

// conn is one client.
type conn struct {
	fd      int
	version wire.Version // once it has sent CONNECT
	filters []wire.Filter

	in       []byte
	from, to int // what of in is yet to be looked at

	wired   bool
	targets []*conn // who gets what it publishes

	answers  []byte
	borrowed [][]byte // runs of frames in the inputs of others, until the round ends
	waiting  []byte   // what the kernel did not take
	stuck    bool     // it is being watched for room
	touched  bool
	closed   bool
}

// receive reads once and passes on the complete frames.
func (r *relay) receive(c *conn) {
	if c.closed {
		return
	}
	switch {
	case c.in == nil:
		c.in = make([]byte, firstInput)
	case c.to == len(c.in) && len(c.in) >= maxInput:
		r.hangUp(c)
		return
	case c.to == len(c.in):
		grown := make([]byte, 2*len(c.in))
		copy(grown, c.in)
		c.in = grown
	}
	// The socket does not block, so the Go scheduler need not know.
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&c.in[c.to])), uintptr(len(c.in)-c.to))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0 || n == 0:
		r.hangUp(c)
		return
	}
	c.to += int(n)
	r.read = append(r.read, c)
	r.pass(c)
}

// pass looks at the complete frames of c. Consecutive publishes are passed on
// in one piece.
func (r *relay) pass(c *conn) {
	begin := c.from
	for {
		frame := c.in[c.from:c.to]
		n, ok := wire.FrameSize(frame)
		if !ok || n > len(frame) {
			break
		}
		frame = frame[:n]
		if frame[0]>>4 == byte(wire.PUBLISH) && c.version != 0 {
			if !c.wired {
				r.wire(c, frame)
			}
			if qos := frame[0] >> 1 & 3; qos == 1 {
				c.answers = append(c.answers, byte(wire.PUBACK)<<4, 2)
				c.answers = append(c.answers, packetID(frame)...)
			} else if qos > 1 {
				r.hangUp(c)
				return
			}
			c.from += n
			continue
		}
		r.lend(c, c.in[begin:c.from])
		if !c.control(r, frame) {
			r.hangUp(c)
			return
		}
		c.from += n
		begin = c.from
	}
	r.lend(c, c.in[begin:c.from])
	if len(c.answers) > 0 {
		r.touch(c)
	}
}

// lend has all targets of c get run, which is whole frames.
func (r *relay) lend(c *conn, run []byte) {
	if len(run) == 0 {
		return
	}
	for _, t := range c.targets {
		if !t.closed {
			t.borrowed = append(t.borrowed, run)
			r.touch(t)
		}
	}
}

// wire finds who gets what c publishes, by the topic of its first PUBLISH.
func (r *relay) wire(c *conn, frame []byte) {
	c.wired = true
	name := string(topic(frame))
	for _, t := range r.order {
		for _, f := range t.filters {
			if wire.MatchTopic(f.Filter, name) {
				c.targets = append(c.targets, t)
				break
			}
		}
	}
}

// body is what follows the fixed header of a complete frame.
func body(frame []byte) []byte {
	at := 1
	for frame[at]&0x80 != 0 {
		at++
	}
	return frame[at+1:]
}

// topic is that of a complete PUBLISH, nil if it has none.
func topic(frame []byte) []byte {
	b := body(frame)
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil
	}
	return b[2 : 2+binary.BigEndian.Uint16(b)]
}

// packetID is that of a complete PUBLISH of QoS 1, as it stands there.
func packetID(frame []byte) []byte {
	b := body(frame)
	if at := 2 + len(topic(frame)); len(b) >= at+2 {
		return b[at : at+2]
	}
	return []byte{0, 0}
}

// control answers a frame that is no PUBLISH. It reports whether the connection
// may go on.
func (c *conn) control(r *relay, raw []byte) bool {
	f, n, err := wire.Scan(raw, maxInput)
	if err != nil || n == 0 || (c.version == 0) != (f.Type == wire.CONNECT) {
		return false
	}
	switch f.Type {
	case wire.CONNECT:
		connect, err := wire.DecodeConnect(f)
		if err != nil {
			return false
		}
		c.version = connect.Version
		c.answers = wire.AppendConnack(c.answers, c.version, &wire.Connack{TopicAliasMaximum: 65535})
	case wire.SUBSCRIBE:
		s, err := wire.DecodeSubscribe(f, c.version)
		if err != nil {
			return false
		}
		granted := make([]wire.Reason, len(s.Filters))
		for i, filter := range s.Filters {
			granted[i] = wire.Reason(min(filter.QoS, 1))
		}
		c.filters = append(c.filters, s.Filters...)
		c.answers = wire.AppendSuback(c.answers, c.version, s.PacketID, granted)
	case wire.PINGREQ:
		c.answers = wire.AppendPing(c.answers, wire.PINGRESP)
	case wire.PUBACK:
	default: // DISCONNECT, and what is not for a relay
		return false
	}
	return true
}

// flush writes what c is to get, once, and keeps what the kernel does not take.
func (r *relay) flush(c *conn) {
	if c.closed {
		return
	}
	pieces := r.pieces[:0]
	for _, p := range [][]byte{c.waiting, c.answers} {
		if len(p) > 0 {
			pieces = append(pieces, p)
		}
	}
	pieces = append(pieces, c.borrowed...)
	r.pieces = pieces
	written, failed := r.write(c.fd)
	if failed {
		r.hangUp(c)
	}
	var rest []byte
	for _, p := range pieces {
		k := min(written, len(p))
		written -= k
		rest = append(rest, p[k:]...)
	}
	clear(pieces)
	clear(c.borrowed)
	c.waiting, c.answers, c.borrowed = rest, c.answers[:0], c.borrowed[:0]
	if len(rest) > maxWaiting {
		r.hangUp(c)
	}
	if stuck := len(rest) > 0; stuck != c.stuck && !c.closed {
		c.stuck = stuck
		events := uint32(unix.EPOLLIN)
		if stuck {
			events |= unix.EPOLLOUT
		}
		if r.watch(unix.EPOLL_CTL_MOD, c.fd, events) != nil {
			r.hangUp(c)
		}
	}
}

// write offers pieces to the kernel once, and tells how many bytes it took.
func (r *relay) write(fd int) (n int, failed bool) {
	var taken uintptr
	var errno unix.Errno
	switch len(r.pieces) {
	case 0:
		return 0, false
	case 1:
		p := r.pieces[0]
		taken, _, errno = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	default:
		k := min(len(r.pieces), len(r.vector))
		for i, p := range r.pieces[:k] {
			r.vector[i].Base = &p[0]
			r.vector[i].SetLen(len(p))
		}
		taken, _, errno = unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&r.vector[0])), uintptr(k))
	}
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return 0, false
	}
	return int(taken), errno != 0
}

// compact moves what is left of the input to its beginning.
func (c *conn) compact() {
	copy(c.in, c.in[c.from:c.to])
	c.to -= c.from
	c.from = 0
}
