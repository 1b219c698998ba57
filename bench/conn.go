package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// handshakeTimeout bounds connecting and subscribing, per client.
const handshakeTimeout = 10 * time.Second

// errClosed is a connection that the other end has closed.
var errClosed = errors.New("broker closed the connection")

// conn is a client connection that hands out frames in batches. One goroutine
// reads; writes of whole frames may come from several.
type conn struct {
	name    string // for errors
	version wire.Version
	net     net.Conn
	buf     []byte // grows when a frame does not fit
	from    int    // start of unread bytes in buf
	to      int    // end of unread bytes in buf
	limit   int    // largest frame accepted, bytes
	expired atomic.Bool
	connack wire.Connack

	connackAfter time.Duration // from CONNECT
}

// keepFor is how long a kept session may outlive its connection in MQTT 5, in
// seconds: long enough for any run, should removing it fail.
const keepFor = 3600

// filtersAtOnce bounds a SUBSCRIBE.
const filtersAtOnce = 100

// subscribe waits until all filters are granted, each at the QoS asked for.
func (c *conn) subscribe(filters ...wire.Filter) error {
	for some := range slices.Chunk(filters, filtersAtOnce) {
		s := wire.Subscribe{PacketID: 1, Filters: some}
		f, err := c.exchange(wire.AppendSubscribe(nil, c.version, &s), wire.SUBACK)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", c.name, err)
		}
		_, codes, err := wire.DecodeSuback(f, c.version)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", c.name, err)
		}
		if len(codes) != len(some) {
			return fmt.Errorf("subscribe %s: broker answered %d filters instead of %d", c.name, len(codes), len(some))
		}
		for i, code := range codes {
			if code != wire.Reason(some[i].QoS) {
				return fmt.Errorf("subscribe %s: broker granted %v instead of qos %d for %q; is it allowed to this user, and within the limits of the broker?", c.name, code, some[i].QoS, some[i].Filter)
			}
		}
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
	if c.to == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
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
		return fmt.Errorf("%s: %w", c.name, errClosed)
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
