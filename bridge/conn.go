package bridge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// maxFrames is how many frames are dealt with at once.
const maxFrames = 512

// conn is a connection to the far side. Whoever writes several times in a row
// locks it meanwhile, as paho does.
type conn struct {
	net.Conn
	sync.Mutex
	in     *bufio.Reader
	most   int           // bytes of the largest frame that the far side may send; 0: no limit
	left   int           // bytes of the frame that is being read
	wait   time.Duration // how long the write of a piece may take
	frames int           // read since flush
	flush  func()        // called before Read waits, and now and then: all that came is dealt with
	once   sync.Once
	why    error       // set before it is closed, if this side has decided to
	hung   atomic.Bool // set with why: the far side has ended it, and not for a reason that is about no message
	shut   sync.Once
	closed chan struct{}
	pongs  chan struct{} // PINGRESP has come
}

func newConn(nc net.Conn, wait time.Duration, flush func()) *conn {
	return &conn{Conn: nc, in: bufio.NewReaderSize(nc, 32<<10), wait: wait, flush: flush, closed: make(chan struct{}), pongs: make(chan struct{}, 1)}
}

// Read implements net.Conn. It gives out nothing but frames, since paho reads
// the length of one without an end.
func (c *conn) Read(b []byte) (int, error) {
	if c.left == 0 {
		if err := c.header(); err != nil {
			c.lost(err)
			return 0, err
		}
	}
	if c.in.Buffered() == 0 {
		c.settle()
	}
	n, err := c.in.Read(b[:min(len(b), c.left)])
	c.left -= n
	if err != nil {
		c.lost(err)
	}
	return n, err
}

// header waits for the fixed header of the next frame.
func (c *conn) header() error {
	for n := 2; ; n++ {
		if c.in.Buffered() < n || c.frames >= maxFrames {
			c.settle()
		}
		head, err := c.in.Peek(n)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errHungUp
			}
			return err
		}
		if _, _, err := wire.Scan(head, 0); err != nil {
			return fmt.Errorf("the far side breaks the protocol: %w", err)
		}
		if size, whole := wire.FrameSize(head); whole {
			if c.most > 0 && size > c.most { // paho would make room for it at once
				return fmt.Errorf("the far side breaks the protocol: a packet of %d bytes is more than the %d it was told", size, c.most)
			}
			if wire.Type(head[0]>>4) == wire.CONNACK && size == 4 { // none of MQTT 5 is so short
				return errPlain
			}
			if wire.Type(head[0]>>4) == wire.PINGRESP {
				c.ponged()
			}
			c.left = size
			c.frames++
			return nil
		}
	}
}

// ponged notes that PINGRESP has come.
func (c *conn) ponged() {
	select {
	case c.pongs <- struct{}{}:
	default:
	}
}

// settle sees to it that what has come is dealt with.
func (c *conn) settle() {
	c.frames = 0
	c.flush()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.shut.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Write implements net.Conn. It goes on as long as the far side reads.
func (c *conn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if err := c.SetWriteDeadline(time.Now().Add(c.wait)); err != nil {
			return n, err
		}
		var m int
		m, err = c.Conn.Write(b[n:min(len(b), n+writePiece)])
		n += m
	}
	return n, err
}

// writeFrames writes whole frames between those of others.
func (c *conn) writeFrames(b []byte) error {
	c.Lock()
	defer c.Unlock()
	if _, err := c.Write(b); err != nil {
		c.lost(err)
		return err
	}
	return nil
}

// fail ends the connection for a reason that the reader shall know.
func (c *conn) fail(why error) { c.end(why, false) }

func (c *conn) end(why error, hungUp bool) {
	c.once.Do(func() {
		c.why = why
		c.hung.Store(hungUp)
		_ = c.Close()
	})
}
