package bridge

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// conn is a connection to the far side. Whoever writes several times in a row
// locks it meanwhile, as paho does.
type conn struct {
	net.Conn
	sync.Mutex
	in     *bufio.Reader
	wait   time.Duration // how long a write may take
	flush  func()        // called before Read waits: all that came is dealt with
	once   sync.Once
	why    error // set before it is closed, if this side has decided to
	shut   sync.Once
	closed chan struct{}
}

func newConn(nc net.Conn, wait time.Duration, flush func()) *conn {
	return &conn{Conn: nc, in: bufio.NewReaderSize(nc, 32<<10), wait: wait, flush: flush, closed: make(chan struct{})}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if c.in.Buffered() == 0 {
		c.flush()
	}
	return c.in.Read(b)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.shut.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.wait)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// writeFrames writes whole frames between those of others.
func (c *conn) writeFrames(b []byte) error {
	c.Lock()
	defer c.Unlock()
	if _, err := c.Write(b); err != nil {
		c.fail(err)
		return err
	}
	return nil
}

// fail ends the connection for a reason that the reader shall know.
func (c *conn) fail(why error) {
	c.once.Do(func() {
		c.why = why
		_ = c.Close()
	})
}
