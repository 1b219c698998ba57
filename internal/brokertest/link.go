package brokertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// link is an MQTT connection seen from the client, in whole frames. It is the
// part of Client that reports errors, for goroutines that may not fail a test.
// One goroutine uses it.
type link struct {
	conn    net.Conn
	version wire.Version
	autoAck bool
	// patience bounds each wait for a frame.
	patience time.Duration

	buf     []byte
	scratch [16 << 10]byte
	pending []wire.Frame // read while waiting for another frame
	lastID  uint16
}

// dialLink opens the socket. Addresses of the form unix:/path are sockets in
// the file system; those of the form tls:host:port are reached over TLS, with
// whatever certificate the broker may show; those of the form ws://host:port/path
// over WebSocket.
func dialLink(addr string, v wire.Version) (*link, error) {
	if strings.HasPrefix(addr, "ws://") {
		conn, err := dial.Broker(context.Background(), addr, Patience)
		if err != nil {
			return nil, fmt.Errorf("connect to the broker: %w", err)
		}
		return &link{conn: conn, version: v, patience: Patience}, nil
	}
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	address, secure := strings.CutPrefix(address, "tls:")
	conn, err := net.DialTimeout(network, address, Patience)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return &link{conn: conn, version: v, patience: Patience}, nil
}

// openLink dials and performs the handshake, which must not be refused.
func openLink(addr string, c *wire.Connect) (*link, wire.Connack, error) {
	l, err := dialLink(addr, c.Version)
	if err != nil {
		return nil, wire.Connack{}, err
	}
	ack, err := l.connect(c)
	if err == nil && ack.Reason != wire.Success {
		err = fmt.Errorf("refused: %v", ack.Reason)
	}
	if err != nil {
		l.conn.Close()
		return nil, ack, fmt.Errorf("connect %s: %w", c.ClientID, err)
	}
	return l, ack, nil
}

// connect performs the handshake. A refusal is a Connack, not an error.
func (l *link) connect(c *wire.Connect) (wire.Connack, error) {
	if err := l.send(wire.AppendConnect(nil, c)); err != nil {
		return wire.Connack{}, err
	}
	f, err := l.next()
	if err != nil {
		return wire.Connack{}, err
	}
	if f.Type != wire.CONNACK {
		return wire.Connack{}, fmt.Errorf("got %v instead of CONNACK", f.Type)
	}
	return wire.DecodeConnack(f, l.version)
}

func (l *link) send(b []byte) error {
	l.conn.SetWriteDeadline(time.Now().Add(Patience))
	if _, err := l.conn.Write(b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// next returns the next frame, those put aside first. The frame is the
// caller's to keep.
func (l *link) next() (wire.Frame, error) {
	if len(l.pending) > 0 {
		f := l.pending[0]
		l.pending = slices.Delete(l.pending, 0, 1)
		return f, nil
	}
	return l.read()
}

// await returns the next frame that match accepts and puts others aside for
// next.
func (l *link) await(what string, match func(wire.Frame) bool) (wire.Frame, error) {
	if i := slices.IndexFunc(l.pending, match); i >= 0 {
		f := l.pending[i]
		l.pending = slices.Delete(l.pending, i, i+1)
		return f, nil
	}
	for {
		f, err := l.read()
		if err != nil {
			return f, fmt.Errorf("wait for %s: %w", what, err)
		}
		if match(f) {
			return f, nil
		}
		l.pending = append(l.pending, f)
	}
}

// read takes a frame from the socket and answers it if autoAck says so.
// PUBREL is then not returned.
func (l *link) read() (wire.Frame, error) {
	l.conn.SetReadDeadline(time.Now().Add(l.patience))
	for {
		f, n, err := wire.Scan(l.buf, 0)
		if err != nil {
			return f, fmt.Errorf("frame from the broker: %w", err)
		}
		if n == 0 {
			k, err := l.conn.Read(l.scratch[:])
			l.buf = append(l.buf, l.scratch[:k]...)
			if k == 0 && err != nil {
				return f, fmt.Errorf("read: %w", err)
			}
			continue
		}
		own := bytes.Clone(f.Raw)
		f.Raw, f.Body = own, own[len(own)-len(f.Body):]
		l.buf = l.buf[:copy(l.buf, l.buf[n:])]
		if !l.autoAck {
			return f, nil
		}
		answered, err := l.answer(f)
		if err != nil {
			return f, err
		}
		if f.Type != wire.PUBREL || !answered {
			return f, nil
		}
	}
}

// answer sends the acknowledgement that f asks for, if any.
func (l *link) answer(f wire.Frame) (bool, error) {
	switch f.Type {
	case wire.PUBLISH:
		if f.Flags>>1&3 == 0 {
			return false, nil
		}
		d, err := wire.DecodeDelivery(f, l.version)
		if err != nil {
			return false, fmt.Errorf("delivery: %w", err)
		}
		t := wire.PUBACK
		if d.QoS == 2 {
			t = wire.PUBREC
		}
		return true, l.ack(t, d.PacketID)
	case wire.PUBREL:
		id, _, err := wire.DecodeAck(f, l.version)
		if err != nil {
			return false, fmt.Errorf("release: %w", err)
		}
		return true, l.ack(wire.PUBCOMP, id)
	}
	return false, nil
}

func (l *link) ack(t wire.Type, id uint16) error {
	return l.send(wire.AppendAck(nil, t, l.version, id, wire.Success))
}

// awaitAck waits for the acknowledgement of one packet.
func (l *link) awaitAck(t wire.Type, id uint16) (wire.Reason, error) {
	reason := wire.Success
	_, err := l.await(fmt.Sprintf("%v of packet %d", t, id), func(f wire.Frame) bool {
		if f.Type != t {
			return false
		}
		got, r, err := wire.DecodeAck(f, l.version)
		reason = r
		return err == nil && got == id
	})
	return reason, err
}

// publish sends a message and goes through the handshake of its QoS. The
// reason is that of the first acknowledgement.
func (l *link) publish(o *wire.Out) (wire.Reason, error) {
	out := *o
	out.Version = l.version
	if out.QoS == 0 {
		return wire.Success, l.send(wire.AppendPublish(nil, &out, 0))
	}
	id := l.packetID()
	if err := l.send(wire.AppendPublish(nil, &out, id)); err != nil {
		return 0, err
	}
	if out.QoS == 1 {
		return l.awaitAck(wire.PUBACK, id)
	}
	r, err := l.awaitAck(wire.PUBREC, id)
	if err != nil || r >= wire.UnspecifiedError {
		return r, err
	}
	if err := l.ack(wire.PUBREL, id); err != nil {
		return r, err
	}
	_, err = l.awaitAck(wire.PUBCOMP, id)
	return r, err
}

func (l *link) subscribe(filters ...wire.Filter) ([]wire.Reason, error) {
	s := wire.Subscribe{PacketID: l.packetID(), Filters: filters}
	return l.subscribeWith(&s)
}

func (l *link) subscribeWith(s *wire.Subscribe) ([]wire.Reason, error) {
	if err := l.send(wire.AppendSubscribe(nil, l.version, s)); err != nil {
		return nil, err
	}
	f, err := l.await("SUBACK", func(f wire.Frame) bool { return f.Type == wire.SUBACK })
	if err != nil {
		return nil, err
	}
	id, codes, err := wire.DecodeSuback(f, l.version)
	if err == nil && id != s.PacketID {
		err = fmt.Errorf("SUBACK is for packet %d instead of %d", id, s.PacketID)
	}
	return codes, err
}

// ping makes a round trip. All that the broker sent before its answer is then
// in pending.
func (l *link) ping() error {
	if err := l.send(wire.AppendPing(nil, wire.PINGREQ)); err != nil {
		return err
	}
	_, err := l.await("PINGRESP", func(f wire.Frame) bool { return f.Type == wire.PINGRESP })
	return err
}

// awaitEnd reads until the broker closes the connection. Frames before that
// are put aside.
func (l *link) awaitEnd() error {
	for {
		f, err := l.read()
		switch {
		case err == nil:
			l.pending = append(l.pending, f)
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), isReset(err):
			return nil
		default:
			return fmt.Errorf("wait for the end of the connection: %w", err)
		}
	}
}

// disconnect says goodbye, waits until the broker has closed and closes.
func (l *link) disconnect() error {
	defer l.conn.Close()
	if err := l.send(wire.AppendDisconnect(nil, l.version, wire.Success, "")); err != nil {
		return err
	}
	return l.awaitEnd()
}

// drop ends the connection without DISCONNECT and waits until the broker has
// closed its side too. What was sent before arrives.
func (l *link) drop() error {
	defer l.conn.Close()
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return l.awaitEnd()
}

// packetID returns 1, 2, ... 65535, 1, ...
func (l *link) packetID() uint16 {
	l.lastID++
	if l.lastID == 0 {
		l.lastID = 1
	}
	return l.lastID
}
