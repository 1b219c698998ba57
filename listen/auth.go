package listen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// AuthStep is one step of an extended authentication. It takes what the client
// sent, nil if its packet had no authentication data, and returns what to send
// it, nil for none. done says that the client has shown who it is; an error
// that it has not. ctx ends with the connection, or when the client's time is
// up. data is the step's own.
type AuthStep func(ctx context.Context, data []byte) (answer []byte, done bool, err error)

// Authenticate takes the client, whose CONNECT names an authentication method,
// through the steps of that method until one is done; the last answer goes
// with CONNACK. It all must be over within Limits.ConnectTimeout of the accept.
// The client may send nothing but AUTH and DISCONNECT meanwhile.
// [MQTT-3.1.2-30] [MQTT-4.12.0-2]
//
// An error of step is returned as it is; the server then refuses the client.
// With any other error the connection has ended: [Conn.EndReason] tells why.
// Only for the reader's goroutine, before the server answers CONNECT.
func (c *Conn) Authenticate(step AuthStep) error {
	con, limit := c.connect.Load(), c.connectTimeout()
	if !c.charge(c.connectSize) {
		return c.tooMuchHeld()
	}
	ctx, done := c.authContext(c.connected, limit)
	defer done()
	if limit > 0 {
		if err := c.setReadDeadline(c.connected.Add(limit)); err != nil {
			return err
		}
	}
	data := con.AuthData
	for {
		answer, over, err := step(ctx, data)
		switch {
		case c.closed.Load():
			return errEnded
		case ctx.Err() != nil:
			return c.authLate(limit)
		case err != nil:
			return err
		case over:
			c.authData = answer
			return c.setReadDeadline(time.Time{})
		}
		if err := c.sendAuth(wire.ContinueAuthentication, answer); err != nil {
			return err
		}
		c.Flush()
		if data, err = c.awaitAuth(limit); err != nil {
			return err
		}
	}
}

// Consult runs decide, which may wait for others before it lets the client in.
// It must return soon after ctx ends, which it does with the connection or when
// Limits.ConnectTimeout is over; then the error is not decide's, and the
// connection has ended. Only for the reader's goroutine, before the server
// answers CONNECT.
func (c *Conn) Consult(decide func(ctx context.Context) error) error {
	limit := c.connectTimeout()
	if !c.charge(c.connectSize) {
		return c.tooMuchHeld()
	}
	ctx, done := c.authContext(c.connected, limit)
	defer done()
	err := decide(ctx)
	switch {
	case c.closed.Load():
		return errEnded
	case err != nil && ctx.Err() != nil:
		return c.authLate(limit)
	}
	return err
}

// authContext is what a step may take: until limit after start, 0 for ever,
// and no longer than the connection. Call done in the end.
func (c *Conn) authContext(start time.Time, limit time.Duration) (ctx context.Context, done func()) {
	var cancel context.CancelFunc
	if limit > 0 {
		ctx, cancel = context.WithDeadline(context.Background(), start.Add(limit))
	} else {
		ctx, cancel = context.WithCancel(context.Background())
	}
	c.mu.Lock()
	c.authCancel = cancel
	c.mu.Unlock()
	if c.closed.Load() { // before there was something to cancel
		cancel()
	}
	return ctx, func() {
		c.mu.Lock()
		c.authCancel = nil
		c.mu.Unlock()
		cancel()
	}
}

// setReadDeadline is that of the socket, unless the connection has ended: then
// there is one already, which is to wake the reader.
func (c *Conn) setReadDeadline(t time.Time) error {
	if err := c.nc.SetReadDeadline(t); err != nil {
		return c.readFailed(err)
	}
	if c.closed.Load() {
		c.wake()
		return errEnded
	}
	return nil
}

// awaitAuth reads the client's next AUTH and returns its data.
func (c *Conn) awaitAuth(limit time.Duration) ([]byte, error) {
	for {
		b := c.in.bytes()
		if len(b) > 0 {
			if t := wire.Type(b[0] >> 4); t != wire.AUTH && t != wire.DISCONNECT {
				err := &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-3.1.2-30]",
					Detail: fmt.Sprintf("%v before the authentication is over", t)}
				c.broken(b, err)
				return nil, c.fail(err)
			}
		}
		f, n, err := wire.Scan(b, c.gate.limits().MaxConnectSize)
		if err != nil {
			c.broken(b, err)
			return nil, c.fail(err)
		}
		if n > 0 {
			c.packetsIn.Add(1)
			c.in.take(n)
			c.received(f)
			data, err := c.continued(f)
			c.in.park()
			return data, err
		}
		if !c.charge(c.connectSize + len(b)) {
			return nil, c.tooMuchHeld()
		}
		if c.closed.Load() {
			return nil, errEnded
		}
		if err := c.fill(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.closed.Load() {
				return nil, c.authLate(limit)
			}
			return nil, c.readFailed(err)
		}
	}
}

// continued takes a frame that came in answer to our AUTH.
func (c *Conn) continued(f wire.Frame) ([]byte, error) {
	if f.Type == wire.DISCONNECT {
		if err := c.receiveDisconnect(f, wire.V5); err != nil {
			return nil, c.fail(err)
		}
		c.control = nil
		c.mu.Lock()
		c.closed.Store(true) // there is nobody left to be answered
		c.mu.Unlock()
		return nil, errEnded
	}
	a, err := decodeAuth(f, c.connect.Load())
	if err == nil && a.Reason != wire.ContinueAuthentication {
		err = &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-4.12.0-3]",
			Detail: fmt.Sprintf("AUTH with %v in the course of an authentication", a.Reason)}
	}
	if err != nil {
		c.broken(nil, err)
		return nil, c.fail(err)
	}
	return a.Data, nil
}

// authLate ends a connection whose client has not shown in time who it is.
func (c *Conn) authLate(limit time.Duration) error {
	c.gate.refused(c.Remote(), c.Listener(), RefusedSlowConnect)
	return c.kick(wire.NotAuthorized, EndSlowConnect, fmt.Errorf("authentication not complete within %v", limit))
}

// tooMuchHeld ends a connection for whose input there is no room.
func (c *Conn) tooMuchHeld() error {
	c.gate.refused(c.Remote(), c.Listener(), RefusedMemory)
	return c.kick(wire.ServerBusy, EndRefused, errTooMuchHeld)
}

// sendAuth appends an AUTH with the method of CONNECT. [MQTT-4.12.0-5]
func (c *Conn) sendAuth(r wire.Reason, data []byte) error {
	con := c.connect.Load()
	return c.emit(con, wire.AppendAuth(nil, &wire.Auth{Reason: r, Method: con.AuthMethod, Data: data}))
}

// Reauthenticate takes the AUTH that the server is processing: one that starts
// a re-authentication is given to the step that begin returns, one that goes
// on to the same step as before. The answer is appended, with Success when the
// step is done. Each step may take Limits.ConnectTimeout.
// An error is that of the step, or the connection has ended. Only for the
// reader's goroutine, in the hooks for that packet.
func (c *Conn) Reauthenticate(begin func() AuthStep) error {
	a := c.auth
	if a == nil {
		return errors.New("no AUTH is being processed")
	}
	if a.Reason == wire.ReAuthenticate {
		c.authStep = begin()
	}
	ctx, cancel := c.authContext(time.Now(), c.connectTimeout())
	defer cancel()
	answer, done, err := c.authStep(ctx, a.Data)
	if err != nil {
		return err
	}
	reason := wire.ContinueAuthentication
	if done {
		reason, c.authStep = wire.Success, nil
	}
	return c.sendAuth(reason, answer)
}

// receiveAuth checks an AUTH on an accepted connection. The server gets it
// without its data.
func (c *Conn) receiveAuth(f wire.Frame) error {
	a, err := decodeAuth(f, c.connect.Load())
	if err != nil {
		return err
	}
	switch {
	case a.Reason == wire.ReAuthenticate && c.authStep == nil:
	case a.Reason == wire.ContinueAuthentication && c.authStep != nil:
	default: // table 3-11 of MQTT 5: Success is the server's
		return &wire.Error{Reason: wire.ProtocolError, Detail: fmt.Sprintf("AUTH with %v out of turn", a.Reason)}
	}
	c.auth = &a
	c.control = wire.AppendAuth(nil, &wire.Auth{Reason: a.Reason, Method: a.Method})
	return nil
}

// decodeAuth decodes an AUTH from the client that sent con.
func decodeAuth(f wire.Frame, con *wire.Connect) (wire.Auth, error) {
	if con.Version != wire.V5 || !con.HasAuthMethod {
		return wire.Auth{}, &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-4.12.0-7]",
			Detail: "AUTH without an authentication method in CONNECT"}
	}
	a, err := wire.DecodeAuth(f)
	if err != nil {
		return a, err
	}
	if a.Method != con.AuthMethod { // [MQTT-4.12.1-1]
		return a, &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-4.12.0-5]",
			Detail: "AUTH with another authentication method than CONNECT"}
	}
	return a, nil
}

// SetUsername names the user that an authentication has shown the client to be.
// Only for the reader's goroutine.
func (c *Conn) SetUsername(name string) { c.username = &name }

// Username is that given with SetUsername, else the one in CONNECT. Only for
// the reader's goroutine and OnEnd.
func (c *Conn) Username() string {
	if c.username != nil {
		return *c.username
	}
	if con := c.connect.Load(); con != nil {
		return con.Username
	}
	return ""
}
