package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const (
	lingerTimeout = 500 * time.Millisecond // how long the peer has to read our last words
	lingerBytes   = 256 << 10              // how much of what it still sends is thrown away meanwhile
)

// EndReason says why the connection ended: one of the End words, and the error
// behind it, nil for an orderly end. The first reason counts. The word is
// empty while the connection lives.
func (c *Conn) EndReason() (word string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endWord, c.endErr
}

func (c *Conn) endLocked(word string, err error) {
	if c.endWord == "" {
		c.endWord, c.endErr = word, err
	}
}

// Ended reports whether the connection is over, or about to be.
func (c *Conn) Ended() bool { return c.closed.Load() }

// Kick ends the connection: what waits is sent, as far as the peer takes it
// within a second, then a v5 client is told r in a DISCONNECT (or in a CONNACK
// if it has had none), and the socket is closed. why is the reason word, see
// [Conn.EndReason]. Kick never blocks; the first call wins.
func (c *Conn) Kick(r wire.Reason, why string) { _ = c.kick(r, why, nil) }

func (c *Conn) kick(r wire.Reason, why string, cause error) error {
	c.mu.Lock()
	c.closed.Store(true)
	if c.endWord == "" { // the server may have closed without a word; there is still time for one
		c.endLocked(why, cause)
		if bye := c.farewellLocked(r, cause); bye != nil && !c.out.dead {
			if c.out.taps != nil {
				c.sentLocked(bye)
			}
			c.out.append(bye)
			c.out.packets++
		}
		if c.connect.Load() == nil {
			c.peerGone = true // there is nothing to tell it
		}
	}
	c.mu.Unlock()
	c.part()
	if cause == nil {
		return errEnded
	}
	return cause
}

// farewellLocked is the last frame to the client, nil if its protocol has none.
func (c *Conn) farewellLocked(r wire.Reason, cause error) []byte {
	con := c.connect.Load()
	if con == nil || c.peerGone {
		return nil
	}
	if !c.connack && c.adopted == nil { // or it has had one from another process
		return fitting(con, wire.AppendConnack(nil, con.Version, &wire.Connack{Reason: connackReason(r)}))
	}
	if con.Version != wire.V5 {
		return nil // section 3.14 of 3.1.1: a server sends none in 3.x
	}
	var we *wire.Error
	if errors.As(cause, &we) && we.Detail != "" && con.RequestProblemInfo {
		if bye := fitting(con, wire.AppendDisconnect(nil, wire.V5, r, we.Detail)); bye != nil {
			return bye // [MQTT-3.14.2-3]
		}
	}
	return fitting(con, wire.AppendDisconnect(nil, wire.V5, r, ""))
}

// fitting returns frame if the client takes one so large. [MQTT-3.1.2-24]
func fitting(con *wire.Connect, frame []byte) []byte {
	if con.MaximumPacketSize > 0 && uint64(len(frame)) > uint64(con.MaximumPacketSize) { // it need not fit an int
		return nil
	}
	return frame
}

// connackReason is the reason code nearest to r that a CONNACK may carry.
func connackReason(r wire.Reason) wire.Reason {
	switch r {
	case wire.ServerShuttingDown, wire.SessionTakenOver, wire.AdministrativeAction, wire.KeepAliveTimeout:
		return wire.ServerUnavailable
	case wire.UnspecifiedError, wire.MalformedPacket, wire.ProtocolError, wire.ImplementationError,
		wire.UnsupportedProtocolVersion, wire.ClientIDNotValid, wire.BadUserNameOrPassword, wire.NotAuthorized,
		wire.ServerUnavailable, wire.ServerBusy, wire.Banned, wire.BadAuthMethod, wire.PacketTooLarge,
		wire.QuotaExceeded, wire.ConnectionRateExceeded, wire.UseAnotherServer, wire.ServerMoved:
		return r
	}
	return wire.UnspecifiedError
}

// Close ends the connection on behalf of the server, unless that has let go of
// it. What waits is still sent if the peer takes it within a second. It does not
// block and always returns nil.
func (c *Conn) Close() error {
	if !c.alone.Load() {
		c.close()
	}
	return nil
}

func (c *Conn) close() {
	c.mu.Lock()
	c.closed.Store(true)
	c.mu.Unlock()
	c.part()
}

// part sends off what waits and wakes the reader, once nothing more can be
// appended.
func (c *Conn) part() {
	c.Flush()
	if c.Pending() > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(drainTimeout))
	}
	c.gate.input.abandon(c)
	c.mu.Lock()
	c.resumeLocked()
	cancel := c.authCancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	c.wake()
}

// wake makes the reader look up from its read.
func (c *Conn) wake() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// serve reads CONNECT, hands the connection to the server and sees it to its
// end. Until there is a CONNECT the server knows nothing and spends nothing.
func (c *Conn) serve(establish func(*Conn) error) {
	if d := c.connectTimeout(); d > 0 && c.adopted == nil {
		_ = c.nc.SetReadDeadline(c.connected.Add(d))
	}
	err := c.guard(func() error {
		if c.adopted != nil {
			c.offerTaps(c.ID())
			return establish(c)
		}
		if err := c.unproxy(); err != nil {
			return err
		}
		c.offerTaps("")
		if err := c.secure(); err != nil {
			return err
		}
		if err := c.upgrade(); err != nil {
			return err
		}
		if err := c.readConnect(); err != nil {
			return err
		}
		return establish(c)
	})
	if c.alone.Load() && errors.Is(err, errLetIn) {
		go c.readOn()
		return
	}
	c.over(err)
}

// over sees a connection to its end, which err has brought about.
func (c *Conn) over(err error) {
	c.leaveHeavy()
	if c.moved() {
		c.vanish()
		return
	}
	c.settle(err)
	c.close()
	c.gate.wheel.remove(&c.alive)
	if end := c.gate.opts.OnEnd; end != nil {
		_ = c.guard(func() error { end(c, err); return nil })
	}
	close(c.done)
	unread := len(c.in.bytes())
	c.in.drop()
	c.gate.input.settle(c, 0, true)
	c.leave(unread)
	c.gate.release(c)
}

// guard calls f and makes an error of a panic in it.
func (c *Conn) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.gate.opts.Log.Error("connection panicked", "client", c.ID(), "listener", c.Listener(),
				"remote", c.Remote(), "error", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrPanic, p)
			_ = c.kick(wire.ImplementationError, EndInternalError, err)
		}
	}()
	return f()
}

// settle makes sure that there is a reason for the end; err is the server's.
func (c *Conn) settle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.endWord != "":
	case c.sendErr != nil: // the server has noticed that it cannot write; the reader had no chance to
		c.endLocked(EndTCPClosed, c.sendErr)
	case err == nil && c.kicked3:
		c.endLocked(EndKicked, nil)
	case err == nil:
		c.endLocked(EndInternalError, errors.New("server closed the connection without a reason"))
	default:
		c.endLocked(errorWord(err), err)
	}
}

// leave closes the socket, after giving a peer that does not expect it the
// chance to read our last words: closing a TCP socket with unread input sends
// a reset, which may overtake them. unread is for those who look on.
func (c *Conn) leave(unread int) {
	c.Flush()
	c.awaitIdle()
	c.mu.Lock()
	polite := !c.peerGone && !c.out.dead
	word := c.endWord
	c.out.kill()
	c.accountLocked()
	c.mu.Unlock()
	c.endTaps(unread)
	if w, ok := c.nc.(*webSocket); ok { // a browser reports an error if there is no closing handshake
		_ = w.depart(w.closeCode(word))
	} else if c.tls != nil {
		_ = c.tls.depart(polite)
	} else if hc, ok := c.nc.(interface{ CloseWrite() error }); ok && polite && hc.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(lingerTimeout))
		linger(c.nc)
	}
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.gate.opts.Log.Debug("close connection", "listener", c.Listener(), "remote", c.Remote(), "error", err)
	}
}

// linger throws away what the peer still sends, until it closes.
func linger(r io.Reader) {
	p := pages.Get().(*page)
	_, _ = io.CopyBuffer(discard{}, io.LimitReader(r, lingerBytes), p[:])
	pages.Put(p)
}

// discard is io.Discard without its ReadFrom, which would bring a buffer of
// its own.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// awaitIdle waits until nobody writes any more. The write deadline bounds it.
func (c *Conn) awaitIdle() {
	c.mu.Lock()
	if !c.out.busy {
		c.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	c.out.idle = idle
	c.mu.Unlock()
	<-idle
}
