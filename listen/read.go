package listen

import (
	"errors"
	"fmt"
	"io"

	"github.com/synthetism/edgebroker/wire"
)

// Read yields the bytes of one control frame after the other, and waits in
// between. It is for the MQTT server alone; message frames are handed to the
// bound Receiver on the way.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.control) == 0 {
		if c.alone.Load() {
			return 0, io.EOF
		}
		if c.letGo() {
			return 0, errLetIn
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.control)
	if c.control = c.control[n:]; len(c.control) == 0 {
		c.control = nil
	}
	return n, nil
}

// next works through the input until there is a control frame for the server,
// which has finished the one before.
func (c *Conn) next() error {
	c.subscribe, c.unsubscribe, c.auth = nil, nil, nil
	c.leaveHeavy()
	c.forgetAnswer()
	if c.disconnect.Load() != nil {
		return io.EOF
	}
	if c.recv == nil { // only this goroutine writes it
		return c.kick(wire.ImplementationError, EndInternalError, errNotBound)
	}
	c.underway()
	for {
		if !c.hold() {
			return errEnded
		}
		if err := c.scan(); err != nil || c.control != nil {
			return err
		}
		c.recv.Flush()
		c.Flush()
		c.awaitRoom()
		c.gate.input.settle(c, c.in.need(), c.fresh)
		c.fresh = false
		if c.closed.Load() {
			return errEnded
		}
		if c.frozen() {
			continue
		}
		if err := c.fill(); err != nil && !c.interrupted(err) {
			return c.readFailed(err)
		}
		if !isPing(c.in.bytes()) {
			c.gate.opts.Rest.Stir()
		}
	}
}

// isPing reports whether in is a PINGREQ and no more: clients that only show that
// they are there let the process rest.
func isPing(in []byte) bool {
	return len(in) == 2 && in[0] == byte(wire.PINGREQ)<<4 && in[1] == 0
}

// scan uses up the complete frames of the input, or those up to and including
// the next one that is for the server.
func (c *Conn) scan() error {
	var frames uint64
	var err error
	var f wire.Frame
	tapped := c.taps.Load()
	for c.control == nil && !c.closed.Load() && !c.frozen() {
		var n int
		if f, n, err = wire.Scan(c.in.bytes(), c.maxPacket); err != nil || n == 0 {
			break
		}
		c.in.take(n)
		frames++
		if tapped != nil {
			c.tellReceived(tapped, f)
		}
		if err = c.receive(f); err != nil {
			break
		}
	}
	if frames > 0 {
		c.fresh = true
		c.packetsIn.Add(frames)
		c.seen()
	} else if c.in.w-c.in.r > progress {
		c.seen() // a large frame on its way over a slow line
	}
	switch {
	case err != nil:
		input := c.in.bytes()
		if f.Raw != nil { // what is wrong is in that
			input = nil
		}
		c.broken(input, err)
		return c.fail(err)
	case c.control != nil:
		c.recv.Flush()
	case c.closed.Load():
		return errEnded
	}
	return nil
}

// progress is how much of a frame counts as a sign of life in itself.
const progress = 1000

func (c *Conn) seen() { c.lastSeen.Store(c.gate.wheel.tick()) }

// receive handles one frame.
func (c *Conn) receive(f wire.Frame) error {
	v := c.Version()
	switch f.Type {
	case wire.PUBLISH, wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		return c.recv.Receive(f)
	case wire.PINGREQ:
		if err := wire.DecodeEmpty(f); err != nil {
			return err
		}
		c.Send(wire.AppendPing(c.pong[:0], wire.PINGRESP)) // [MQTT-3.12.4-1]
		return nil
	case wire.SUBSCRIBE:
		if err := c.enter(len(f.Raw)); err != nil {
			return err
		}
		s, err := wire.DecodeSubscribe(f, v)
		if err != nil {
			return err
		}
		c.subscribe = &s
	case wire.UNSUBSCRIBE:
		if err := c.enter(len(f.Raw)); err != nil {
			return err
		}
		u, err := wire.DecodeUnsubscribe(f, v)
		if err != nil {
			return err
		}
		c.unsubscribe = &u
	case wire.DISCONNECT:
		return c.receiveDisconnect(f, v)
	case wire.AUTH:
		return c.receiveAuth(f)
	case wire.CONNECT:
		return &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-3.1.0-2]", Detail: "second CONNECT"}
	default:
		return &wire.Error{Reason: wire.ProtocolError, Detail: fmt.Sprintf("%v from a client", f.Type)}
	}
	c.control = f.Raw
	return nil
}

// receiveDisconnect keeps what the client says and hands the server a plain
// DISCONNECT: session expiry and will are not the server's business.
func (c *Conn) receiveDisconnect(f wire.Frame, v wire.Version) error {
	d, err := wire.DecodeDisconnect(f, v)
	if err != nil {
		return err
	}
	if v == wire.V5 && d.HasExpiry && d.SessionExpiry != 0 && c.connect.Load().SessionExpiry == 0 {
		return &wire.Error{Reason: wire.ProtocolError, // section 3.14.2.2.2 of MQTT 5
			Detail: "session expiry in DISCONNECT after none in CONNECT"}
	}
	c.disconnect.Store(&d)
	c.mu.Lock()
	if d.Reason < wire.UnspecifiedError {
		c.endLocked(EndNormal, nil)
	} else {
		c.endLocked(EndProtocolError, fmt.Errorf("client sent DISCONNECT: %v", d.Reason))
	}
	c.peerGone = true // [MQTT-3.14.4-1]: it sends nothing more and closes
	c.mu.Unlock()
	c.control = []byte{byte(wire.DISCONNECT) << 4, 0}
	return nil
}

// Subscribe returns the SUBSCRIBE that the server is processing. Only for the
// reader's goroutine, in the hooks for that packet.
func (c *Conn) Subscribe() (wire.Subscribe, bool) {
	if c.subscribe == nil {
		return wire.Subscribe{}, false
	}
	return *c.subscribe, true
}

// Unsubscribe returns the UNSUBSCRIBE that the server is processing. Only for
// the reader's goroutine, in the hooks for that packet.
func (c *Conn) Unsubscribe() (wire.Unsubscribe, bool) {
	if c.unsubscribe == nil {
		return wire.Unsubscribe{}, false
	}
	return *c.unsubscribe, true
}

// fail ends the connection because of what the client sent.
func (c *Conn) fail(err error) error {
	var we *wire.Error
	if errors.As(err, &we) {
		return c.kick(we.Reason, endWord(we.Reason), err)
	}
	return c.kick(wire.UnspecifiedError, EndInternalError, err)
}

// readFailed ends the connection because there is no more to read.
func (c *Conn) readFailed(err error) error {
	if we := (*wire.Error)(nil); errors.As(err, &we) { // what MQTT is carried in is broken
		if c.connect.Load() == nil {
			return c.refuse(RefusedNotWebSocket, nil, err)
		}
		return c.fail(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return errEnded
	}
	if c.sendErr != nil {
		err = c.sendErr
	}
	c.endLocked(EndTCPClosed, err)
	c.peerGone = true
	return err
}
