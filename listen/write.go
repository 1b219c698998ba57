package listen

import (
	"fmt"
	"net"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// refusal is what a refused client is to be told.
type refusal struct {
	reason wire.Reason
	text   string
}

// RefuseWith replaces the reason with which the server refuses this CONNECT;
// a v5 client is also told text unless it is empty. Call it in the reader's
// goroutine before the server answers. Without it a client that is not let in
// hears "bad user name or password".
func (c *Conn) RefuseWith(r wire.Reason, text string) { c.refusal = &refusal{r, text} }

// Write takes whole frames from the MQTT server and appends them to the
// outbound buffer; it never blocks. CONNACK, SUBACK and UNSUBACK are completed
// on the way. What the server has no business to send (messages, and
// DISCONNECT to a 3.x client) is dropped.
func (c *Conn) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err == nil && n == 0 {
			err = fmt.Errorf("%d bytes are not a whole frame", len(rest))
		}
		if err != nil {
			return len(p) - len(rest), fmt.Errorf("frame from the server: %w", err)
		}
		if err := c.writeFrame(f); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (c *Conn) writeFrame(f wire.Frame) error {
	con := c.connect.Load()
	if con == nil {
		return errEnded
	}
	switch f.Type {
	case wire.CONNACK:
		return c.writeConnack(f, con)
	case wire.SUBACK, wire.UNSUBACK:
		return c.writeAnswer(f, con)
	case wire.DISCONNECT:
		return c.writeDisconnect(f, con)
	case wire.AUTH, wire.PINGRESP:
		return c.emit(con, f.Raw)
	}
	return nil
}

// emit appends one frame that the client needs.
func (c *Conn) emit(con *wire.Connect, frame []byte) error {
	if fitting(con, frame) == nil {
		return c.kick(wire.PacketTooLarge, EndProtocolError,
			fmt.Errorf("answer of %d bytes exceeds the client's maximum packet size of %d", len(frame), con.MaximumPacketSize))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.appendLocked(frame) {
		return net.ErrClosed
	}
	c.out.packets++
	return nil
}

func (c *Conn) writeConnack(f wire.Frame, con *wire.Connect) error {
	ack, err := wire.DecodeConnack(f, con.Version)
	if err != nil {
		return fmt.Errorf("CONNACK from the server: %w", err)
	}
	if ack.Reason != wire.Success {
		return c.writeRefusal(&ack, con)
	}
	if ack.AssignedClientID != "" && c.ID() == "" {
		c.SetID(ack.AssignedClientID)
	}
	if con.ClientID == "" {
		c.offerTaps(c.ID())
	}
	keepAlive := con.KeepAlive
	if con.Version == wire.V5 && ack.HasServerKeepAlive { // [MQTT-3.1.2-21]
		keepAlive = ack.ServerKeepAlive
	}
	patience := time.Duration(keepAlive) * time.Second * 3 / 2 // [MQTT-3.1.2-22]
	if c.adopted != nil {
		return c.goOn(patience)
	}
	if c.OnConnack != nil {
		c.OnConnack(&ack)
	}
	if con.HasAuthMethod { // [MQTT-4.12.0-5]
		ack.AuthMethod, ack.AuthData = con.AuthMethod, c.authData
		c.authData = nil
	}
	frame := connackFrame(con, &ack)
	if frame == nil {
		return fmt.Errorf("CONNACK exceeds the client's maximum packet size of %d bytes", con.MaximumPacketSize)
	}
	c.mu.Lock()
	ok := c.appendLocked(frame)
	if ok {
		c.out.packets++
		c.connack = true
	}
	c.mu.Unlock()
	if !ok {
		return net.ErrClosed
	}
	c.gate.authenticated(c)
	c.gate.wheel.add(&c.alive, patience)
	return nil
}

// connackFrame encodes ack, without its pleasantries if it is too large
// otherwise; nil if even that is too large. [MQTT-3.2.2-19] [MQTT-3.2.2-20]
func connackFrame(con *wire.Connect, ack *wire.Connack) []byte {
	if frame := fitting(con, wire.AppendConnack(nil, con.Version, ack)); frame != nil {
		return frame
	}
	ack.ReasonString, ack.ResponseInfo, ack.User = "", "", nil
	return fitting(con, wire.AppendConnack(nil, con.Version, ack))
}

// writeRefusal tells the client that the server does not let it in.
func (c *Conn) writeRefusal(ack *wire.Connack, con *wire.Connect) error {
	if c.refusal != nil {
		ack.Reason, ack.ReasonString = c.refusal.reason, c.refusal.text
	}
	frame := connackFrame(con, ack)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	c.endLocked(connackWord(ack.Reason), &wire.Error{Reason: ack.Reason, Detail: "CONNECT refused"})
	if frame != nil && c.appendLocked(frame) {
		c.out.packets++
	}
	return nil
}

// writeDisconnect passes on the server's own DISCONNECT.
func (c *Conn) writeDisconnect(f wire.Frame, con *wire.Connect) error {
	if con.Version != wire.V5 { // section 3.14 of 3.1.1: only clients send it
		c.mu.Lock()
		c.kicked3 = true
		c.mu.Unlock()
		return nil
	}
	d, err := wire.DecodeDisconnect(f, con.Version)
	if err != nil {
		return fmt.Errorf("DISCONNECT from the server: %w", err)
	}
	c.mu.Lock()
	if !c.connack || c.closed.Load() || c.disconnect.Load() != nil {
		c.mu.Unlock()
		return nil
	}
	c.endLocked(endWord(d.Reason), &wire.Error{Reason: d.Reason, Detail: "server sent DISCONNECT"})
	c.mu.Unlock()
	return c.emit(con, f.Raw)
}
