package listen

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// readConnect reads the client's first frame and prepares the CONNECT that the
// server is to see.
func (c *Conn) readConnect() error {
	for {
		b := c.in.bytes()
		if len(b) > 1 && b[0] == 0x16 && b[1] == 3 { // record of a handshake, version 3.x
			err := errors.New("client speaks TLS, this listener does not")
			c.broken(b, err)
			return c.refuse(RefusedNotMQTT, nil, err)
		}
		if len(b) > 0 && wire.Type(b[0]>>4) != wire.CONNECT { // [MQTT-3.1.0-1]
			err := fmt.Errorf("first frame is of type %d instead of CONNECT", b[0]>>4)
			c.broken(b, err)
			return c.refuse(RefusedNotMQTT, nil, err)
		}
		f, n, err := wire.Scan(b, c.gate.limits().MaxConnectSize)
		if err != nil {
			c.brokenConnect(b, err)
			return c.refuseConnect(versionOf(b), err)
		}
		if n > 0 {
			return c.acceptConnect(f, n)
		}
		if !c.charge(len(b)) {
			return c.refuse(RefusedMemory, nil, errTooMuchHeld)
		}
		if c.frozen() && !c.hold() || c.closed.Load() {
			return errEnded
		}
		if err := c.fill(); err != nil {
			if errors.Is(err, errTooMuchHeld) {
				return c.refuse(RefusedMemory, nil, err)
			}
			if c.interrupted(err) {
				continue
			}
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.closed.Load() {
				return c.refuse(RefusedSlowConnect, nil, fmt.Errorf("no complete CONNECT within %v", c.connectTimeout()))
			}
			return c.readFailed(err)
		}
	}
}

func (c *Conn) acceptConnect(f wire.Frame, n int) error {
	con, err := wire.DecodeConnect(f)
	c.offerTaps(con.ClientID)
	c.received(f)
	if err != nil {
		c.broken(nil, err)
		return c.refuseConnect(con.Version, err)
	}
	if err := c.checkVersion(&con); err != nil {
		return err
	}
	if !c.chargeConnect(n + len(con.User)*userCost) {
		return c.refuse(RefusedMemory, refusalFrame(con.Version, wire.QuotaExceeded), errConnectsHeld)
	}
	c.packetsIn.Add(1)
	c.connectSize = n
	if c.tls != nil {
		c.tls.below.held = nil // what comes now is bounded by the size of a record
	}
	c.in.take(n)
	c.in.park()
	if con.ClientID != "" {
		c.SetID(con.ClientID)
	}
	c.connect.Store(&con)
	c.offerTaps(con.ClientID) // to those who have come since, and could not see whose it is
	if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
		return c.readFailed(err)
	}
	if c.closed.Load() { // ended meanwhile: the deadline just lifted was to wake us
		return errEnded
	}
	c.control = wire.AppendConnect(nil, stripped(&con))
	return nil
}

// stripped is the CONNECT that the server sees: who the client is, without
// anything that would make the server keep state for it.
func stripped(con *wire.Connect) *wire.Connect {
	s := *con
	s.CleanStart, s.SessionExpiry = true, 0
	s.Will, s.User = nil, nil
	s.ReceiveMaximum, s.MaximumPacketSize, s.TopicAliasMaximum = 65535, 0, 0
	s.RequestResponseInfo = false
	s.HasAuthMethod, s.AuthMethod, s.AuthData = false, "", nil // see Authenticate
	s.HasPassword = len(s.Password) > 0                        // the server refuses an empty one; OnConnectAuthenticate decides about it
	return &s
}

// charge accounts for n bytes held before authentication, instead of what was
// charged before, unless that is more and too much: then nothing changes, so
// that who goes over the limit does not take room from others.
func (c *Conn) charge(n int) bool {
	limit, more := c.gate.limits().MaxUnauthenticatedBytes, n-c.charged
	if total := c.gate.unauthBytes.Add(int64(more)); more > 0 && limit > 0 && total > int64(limit) {
		c.gate.unauthBytes.Add(int64(-more))
		return false
	}
	c.charged = n
	return true
}

// refuseConnect refuses a CONNECT of version v because of err.
func (c *Conn) refuseConnect(v wire.Version, err error) error {
	reason, word := wire.ReasonOf(err), RefusedMalformed
	switch reason {
	case wire.UnsupportedProtocolVersion:
		word = RefusedVersion
	case wire.ClientIDNotValid:
		word = RefusedClientID
	case wire.PacketTooLarge:
		word = RefusedTooLarge
	}
	return c.refuse(word, refusalFrame(v, reason), fmt.Errorf("read CONNECT: %w", err))
}

// refusalFrame is the CONNACK that tells the sender of a CONNECT of version v
// about reason, or nil if its protocol has none for it.
func refusalFrame(v wire.Version, reason wire.Reason) []byte {
	switch v {
	case wire.V5:
		return wire.AppendConnack(nil, v, &wire.Connack{Reason: reason})
	case wire.V31, wire.V311: // the rest is [MQTT3-3.1.4-1]: close without CONNACK
		if reason == wire.UnsupportedProtocolVersion || reason == wire.ClientIDNotValid { // [MQTT3-3.1.2-2] [MQTT3-3.1.3-8]
			return wire.AppendConnack(nil, v, &wire.Connack{Reason: reason})
		}
	}
	return nil
}

// versionOf finds out which version a CONNECT speaks that is larger than
// allowed, from as much of it as is there; 0 if that does not tell.
func versionOf(raw []byte) wire.Version {
	h := headerSize(raw)
	if h > len(raw) {
		return 0
	}
	con, _ := wire.DecodeConnect(wire.Frame{Type: wire.CONNECT, Raw: raw, Body: raw[h:]}) // incomplete, so always an error
	return con.Version
}

// refuse ends a connection that has not got as far as a valid CONNECT.
func (c *Conn) refuse(reason string, answer []byte, err error) error {
	word := EndProtocolError
	switch reason {
	case RefusedSlowConnect:
		word = EndSlowConnect
	case RefusedMemory, RefusedPressure, RefusedMaxPerAddress, RefusedConnectRate:
		word = EndRefused
	}
	c.mu.Lock()
	first := !c.closed.Load()
	if first {
		c.endLocked(word, err)
		if answer != nil {
			c.appendLocked(answer)
			c.out.packets++
		} else {
			c.peerGone = true
		}
		c.closed.Store(true)
	}
	c.mu.Unlock()
	if first {
		c.gate.refused(c.Remote(), c.Listener(), reason)
		c.part()
	}
	return err
}
