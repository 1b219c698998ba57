package listen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// EndHandedOver is the end word of a connection that goes on in another process:
// its client notices nothing.
const EndHandedOver = "handed_over"

var errHandedOver = errors.New("connection goes on in another process")

// ice holds a connection where it is: its reader stops between two frames, and
// nobody writes.
type ice struct {
	still chan struct{} // closed by the reader, when it has stopped
	over  chan struct{} // closed when the reader may go on, or is to end
	moved bool          // set before over is closed: the socket is another process's
}

// frozen reports whether the connection has been told to stop.
func (c *Conn) frozen() bool { return c.ice.Load() != nil }

// moved reports whether the connection goes on in another process.
func (c *Conn) moved() bool {
	i := c.ice.Load()
	if i == nil {
		return false
	}
	select {
	case <-i.over:
		return i.moved
	default:
		return false
	}
}

// carriable reports whether the connection can go on in another process: its
// socket is a plain one, and nothing is going on that only this process can end.
func (c *Conn) carriable() bool {
	return c.raw != nil && !(c.proxied && c.origin.Load() == nil)
}

// Freeze stops the readers of all connections that can be carried, each after
// what it has read so far has been dealt with, and waits for that. It returns
// those that have stopped; the others have ended, are in the middle of CONNECT or
// of authentication, or have not stopped before ctx has: see Leave. Nothing is
// lost: what clients send waits in their sockets. Thaw, or Move, must follow.
func (g *Gate) Freeze(ctx context.Context) (stopped []*Conn) {
	var all []*Conn
	var still []<-chan struct{}
	for _, c := range g.Conns() {
		i := &ice{still: make(chan struct{}), over: make(chan struct{})}
		if c.carriable() && c.ice.CompareAndSwap(nil, i) {
			all, still = append(all, c), append(still, i.still)
			c.rouse()
		}
	}
	for n, c := range all {
		if c.connect.Load() == nil || c.bound() {
			select {
			case <-still[n]:
			case <-c.done:
			case <-ctx.Done():
			}
		}
	}
	for n, c := range all { // who is being let in is not waited for
		select {
		case <-still[n]:
			// What a step knows stays here, and so does a part of a CONNECT, in which
			// there may be a password.
			if c.authStep == nil && (c.connect.Load() != nil || len(c.in.bytes()) == 0) {
				stopped = append(stopped, c)
			}
		default:
		}
	}
	return stopped
}

// bound reports whether the connection has a Receiver.
func (c *Conn) bound() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recv != nil
}

// rouse makes a reader look up, whatever it waits for.
func (c *Conn) rouse() {
	c.gate.input.abandon(c)
	c.mu.Lock()
	c.resumeLocked()
	c.mu.Unlock()
	c.wake()
}

// hold stops the reader, if it is to, and reports whether it is to go on.
func (c *Conn) hold() bool {
	i := c.ice.Load()
	if i == nil {
		return true
	}
	c.in.park()
	close(i.still)
	<-i.over
	if i.moved {
		return false
	}
	var deadline time.Time
	if limit := c.connectTimeout(); limit > 0 && c.connect.Load() == nil {
		deadline = c.connected.Add(limit)
	}
	return !c.closed.Load() && c.setReadDeadline(deadline) == nil
}

// interrupted reports whether err is Freeze's doing.
func (c *Conn) interrupted(err error) bool {
	return c.frozen() && !c.closed.Load() && isTimeout(err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// Dam makes sure that nobody writes to the connection any more. What is to be
// sent piles up: see Carry. Call it for one that Freeze has stopped.
func (c *Conn) Dam() {
	c.Flush()
	c.mu.Lock()
	c.out.dammed = true
	busy := c.out.busy
	c.mu.Unlock()
	if busy {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
		c.awaitIdle()
	}
}

// Thaw lets a connection go on that Freeze has stopped, or end if it was kicked
// meanwhile.
func (c *Conn) Thaw() {
	c.mu.Lock()
	c.out.dammed = false
	c.mu.Unlock()
	var deadline time.Time
	if c.closed.Load() {
		deadline = time.Now().Add(drainTimeout)
	}
	_ = c.nc.SetWriteDeadline(deadline)
	if i := c.ice.Swap(nil); i != nil {
		close(i.over)
	}
	c.Flush()
}

// Move gives a connection up that Freeze has stopped and that another process
// has a descriptor of. It ends without a word to its client: the end word is
// EndHandedOver.
func (c *Conn) Move() {
	i := c.ice.Load()
	if i == nil {
		return
	}
	i.moved = true
	close(i.over)
}

// vanish is the end of a connection that has been moved: the socket is closed
// here and stays as it is for the other process.
func (c *Conn) vanish() {
	c.mu.Lock()
	c.endWord, c.endErr = EndHandedOver, nil
	c.closed.Store(true)
	c.out.kill()
	c.accountLocked()
	c.mu.Unlock()
	c.gate.wheel.remove(&c.alive)
	if end := c.gate.opts.OnEnd; end != nil {
		_ = c.guard(func() error { end(c, errHandedOver); return nil })
	}
	close(c.done)
	c.endTaps(0)
	c.in.drop()
	c.gate.input.settle(c, 0, true)
	_ = c.nc.Close()
	c.gate.release(c)
}

// Descriptor is the socket's file descriptor. It is the connection's: valid
// until that is thawed or moved.
func (c *Conn) Descriptor() (fd int, err error) {
	if c.raw == nil {
		return -1, errors.New("connection has no descriptor of its own")
	}
	err = c.raw.Control(func(p uintptr) { fd = int(p) })
	return fd, err
}

// KickOthers ends the connections that cannot be carried, one after the other
// over a time of length spread, with r for those who speak MQTT 5. It returns
// early when ctx ends, and has kicked them all then.
func (g *Gate) KickOthers(ctx context.Context, spread time.Duration, r wire.Reason, why string) {
	var list []*Conn
	for _, c := range g.Conns() {
		if !c.carriable() {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return
	}
	step := time.NewTicker(max(time.Microsecond, spread/time.Duration(len(list))))
	defer step.Stop()
	for i, c := range list {
		c.Kick(r, why)
		if spread <= 0 || i == len(list)-1 {
			continue
		}
		select {
		case <-step.C:
		case <-ctx.Done():
			spread = 0
		}
	}
}

// Leave ends the connections that are not among stay, and waits for that.
func (g *Gate) Leave(ctx context.Context, stay []*Conn, r wire.Reason, why string) error {
	keep := make(map[*Conn]bool, len(stay))
	for _, c := range stay {
		keep[c] = true
	}
	var list []*Conn
	for _, c := range g.Conns() {
		if !keep[c] {
			if i := c.ice.Swap(nil); i != nil { // late: it must not stop any more
				close(i.over)
			}
			list = append(list, c)
		}
	}
	if err := kickAll(ctx, list, r, why); err != nil {
		return fmt.Errorf("end those who cannot be handed over: %w", err)
	}
	return nil
}
