package listen

import (
	"errors"
	"io"
)

// errLetIn is what the server reads when it has let a client in, and
// Options.Control takes over.
var errLetIn = errors.New("client is let in, and read without the server from now on")

// letGo reports whether the server's part in the connection ends here. For its
// goroutine.
func (c *Conn) letGo() bool {
	if c.gate.opts.Control == nil || c.recv == nil {
		return false
	}
	c.alone.Store(true)
	return true
}

// readOn is the goroutine of a connection that the server has let go of. It is
// a new one, since a stack as deep as the server's is kept for as long as a
// goroutine lives, even if only its first kilobyte is in use.
func (c *Conn) readOn() { c.over(c.guard(c.readAll)) }

// readAll reads until the connection ends. The error is nil if the client has
// said so.
func (c *Conn) readAll() error {
	for {
		err := c.next()
		if c.disconnect.Load() != nil && (err == nil || err == io.EOF) {
			return nil
		}
		if err == nil {
			err = c.serveControl()
		}
		if err != nil {
			return err
		}
	}
}

// serveControl has the server work on the current control frame, on a stack
// that is gone afterwards.
func (c *Conn) serveControl() error {
	done := make(chan error, 1)
	go func() { done <- c.guard(func() error { return c.gate.opts.Control(c) }) }()
	return <-done
}
