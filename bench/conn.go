package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	mqttdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

const (
	// readBuffer holds several hundred small frames, so that one read and one
	// clock reading serve many messages.
	readBuffer = 128 << 10
	// handshakeTimeout bounds connecting and subscribing, per client.
	handshakeTimeout = 10 * time.Second
)

// conn is a client connection that hands out frames in batches. One goroutine
// reads; writes of whole frames may come from several.
type conn struct {
	name    string // for errors
	version wire.Version
	net     net.Conn
	buf     []byte
	from    int // start of unread bytes in buf
	to      int // end of unread bytes in buf
	limit   int // largest frame accepted, bytes
	expired atomic.Bool
	connack wire.Connack
}

// keepFor is how long a kept session may outlive its connection in MQTT 5, in
// seconds: long enough for any run, should removing it fail.
const keepFor = 3600

// dial connects one client and waits for its CONNACK. With kept its session
// outlives the connection.
func dial(ctx context.Context, o *Options, clientID string, kept bool) (*conn, error) {
	nc, err := mqttdial.Secure(ctx, o.Address, handshakeTimeout, o.TLS)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	limit := o.Payload + 4096
	c := &conn{
		name: clientID, version: o.Version, net: nc, limit: limit,
		buf: make([]byte, max(readBuffer, 2*limit)),
	}
	connect := wire.Connect{
		Version: o.Version, CleanStart: !kept, ClientID: clientID,
		HasUsername: o.Username != "", Username: o.Username,
		HasPassword: o.Password != "", Password: []byte(o.Password),
	}
	if kept && o.Version == wire.V5 {
		connect.SessionExpiry = keepFor
	}
	f, err := c.exchange(wire.AppendConnect(nil, &connect), wire.CONNACK)
	if err == nil {
		c.connack, err = wire.DecodeConnack(f, o.Version)
	}
	if err == nil && c.connack.Reason != wire.Success {
		err = fmt.Errorf("refused: %v", c.connack.Reason)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect %s: %w", clientID, err)
	}
	return c, nil
}

// subscribe waits for the SUBACK of one filter and requires the QoS asked for.
func (c *conn) subscribe(filter string, qos byte) error {
	s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: filter, QoS: qos}}}
	f, err := c.exchange(wire.AppendSubscribe(nil, c.version, &s), wire.SUBACK)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", c.name, err)
	}
	_, codes, err := wire.DecodeSuback(f, c.version)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", c.name, err)
	}
	if len(codes) != 1 || codes[0] != wire.Reason(qos) {
		return fmt.Errorf("subscribe %s: broker granted %v instead of qos %d", c.name, codes, qos)
	}
	return nil
}

// exchange sends one frame and returns the next, which must be of type want.
// The frame is valid until the next read.
func (c *conn) exchange(out []byte, want wire.Type) (wire.Frame, error) {
	c.net.SetDeadline(time.Now().Add(handshakeTimeout))
	defer c.net.SetDeadline(time.Time{})
	if _, err := c.net.Write(out); err != nil {
		return wire.Frame{}, err
	}
	for {
		f, ok, err := c.next()
		if err == nil && !ok {
			err = c.fill()
		}
		if err != nil {
			return f, err
		}
		if ok && f.Type != want {
			return f, fmt.Errorf("broker sent %v instead of %v", f.Type, want)
		}
		if ok {
			return f, nil
		}
	}
}

// next returns the next frame that is already in the buffer.
func (c *conn) next() (f wire.Frame, ok bool, err error) {
	f, n, err := wire.Scan(c.buf[c.from:c.to], c.limit)
	if err != nil {
		return f, false, fmt.Errorf("%s: frame from the broker: %w", c.name, err)
	}
	c.from += n
	return f, n > 0, nil
}

// fill waits for more bytes. Frames returned before are no longer valid. It
// returns io.EOF when expire has been called.
func (c *conn) fill() error {
	copy(c.buf, c.buf[c.from:c.to])
	c.to -= c.from
	c.from = 0
	n, err := c.net.Read(c.buf[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	return c.ended("read", err)
}

// write sends whole frames. Like fill it returns io.EOF after expire.
func (c *conn) write(b []byte) error {
	if _, err := c.net.Write(b); err != nil {
		return c.ended("write", err)
	}
	return nil
}

func (c *conn) ended(verb string, err error) error {
	if c.expired.Load() {
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: broker closed the connection", c.name)
	}
	return fmt.Errorf("%s: %s: %w", c.name, verb, err)
}

// unexpected explains a frame that this end of the load has no use for.
func (c *conn) unexpected(f wire.Frame) error {
	if f.Type == wire.DISCONNECT {
		if d, err := wire.DecodeDisconnect(f, c.version); err == nil {
			return fmt.Errorf("%s: broker disconnected: %v %s", c.name, d.Reason, d.ReasonString)
		}
	}
	return fmt.Errorf("%s: broker sent an unexpected %v", c.name, f.Type)
}

// expire makes the blocked and all later reads and writes fail at once.
func (c *conn) expire() {
	c.expired.Store(true)
	c.net.SetDeadline(time.Unix(1, 0))
}

// close says goodbye, as far as the socket takes it, and closes.
func (c *conn) close() {
	c.net.SetDeadline(time.Now().Add(time.Second))
	c.net.Write(wire.AppendDisconnect(nil, c.version, wire.Success, ""))
	c.net.Close()
}
