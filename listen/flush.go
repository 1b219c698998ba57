package listen

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	flushRounds   = 16          // how often one Flush writes for those who append meanwhile
	drainTimeout  = time.Second // how long a connection that has ended may take to write its rest
	failedTimeout = time.Second // how long we read on when writing has failed
)

// Flush writes what waits, without blocking: what the kernel does not take is
// written in the background, and the bound Receiver's Writable called when the
// backlog is below Options.LowWater and again when it is gone. While another
// goroutine writes, Flush returns at once and that goroutine sees to it.
// Flush never calls the Receiver.
func (c *Conn) Flush() {
	o := &c.out
	c.mu.Lock()
	if o.dammed || o.busy || o.head == nil && (c.tls == nil || !c.tls.waiting()) {
		o.again = o.busy
		c.accountLocked()
		c.mu.Unlock()
		return
	}
	o.busy = true
	for contended, round := false, 0; ; round++ {
		o.again = false
		work := o.detach()
		c.mu.Unlock()
		var n int
		var err error
		waits := false
		switch {
		case round >= flushRounds:
		case c.raw != nil:
			work, n, err = c.writeNow(work)
		case c.tls != nil && !c.tls.below.waits:
			work, n, err = c.tls.writeNow(work)
			waits = c.tls.waiting()
		}
		c.mu.Lock()
		o.took(n)
		c.resumeLocked()
		contended = contended || o.again
		if o.dammed {
			c.heapLocked(work)
			return
		}
		if err != nil {
			c.writeFailedLocked(work, err)
			return
		}
		if work == nil && !waits && o.again && o.head != nil {
			continue
		}
		// Who found us busy could not see the backlog go and must be told.
		if work != nil || waits || (contended && o.armed) {
			o.putBack(work)
			if work != nil || waits {
				o.block()
			}
			c.accountLocked()
			c.mu.Unlock()
			go c.drain()
			return
		}
		o.armed = o.pending >= c.gate.limits().LowWater
		o.rest()
		c.accountLocked()
		c.mu.Unlock()
		return
	}
}

// writeNow gives work to the kernel until that takes no more, and returns what
// is left and how many bytes went.
func (c *Conn) writeNow(work *batch) (rest *batch, total int, err error) {
	var v *vector
	for work != nil {
		if work.next == nil && len(work.vecs)-work.at == 1 {
			c.iov = work.vecs[work.at:]
		} else {
			if v == nil {
				v = vectors.Get().(*vector)
				c.vec = v
			}
			c.iov = work.gather(v, 1<<30)
		}
		offered := size(c.iov)
		c.written, c.writeErr = 0, nil
		if err = c.raw.Write(c.writeFn); err == nil {
			err = c.writeErr
		}
		c.iov = nil
		total += c.written
		work = work.advance(c.written)
		if err != nil || c.written < offered {
			break
		}
	}
	if v != nil {
		clear(v.list[:])
		c.vec = nil
		vectors.Put(v)
	}
	return work, total, err
}

// writeFD is the callback of raw.Write: one write call, whatever it takes.
func (c *Conn) writeFD(fd uintptr) bool {
	for {
		var n int
		var err error
		if len(c.iov) == 1 {
			n, err = rawWrite(fd, c.iov[0])
		} else {
			n, err = rawWritev(fd, c.vec, c.iov)
		}
		switch err {
		case nil:
			c.written = n
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			c.writeErr = err
		}
		return true
	}
}

// drain writes until nothing waits and the Receiver, told so, has nothing to
// add. It runs in a goroutine of its own, which owns out.busy.
func (c *Conn) drain() {
	v := vectors.Get().(*vector)
	defer vectors.Put(v)
	o := &c.out
	c.mu.Lock()
	for {
		if c.tls != nil && c.tls.waiting() {
			c.mu.Unlock()
			n, err := c.tls.settle()
			c.mu.Lock()
			o.took(n)
			if err != nil {
				c.writeFailedLocked(nil, err)
				return
			}
		}
		if o.dammed {
			c.heapLocked(nil)
			return
		}
		for work := o.detach(); work != nil; {
			c.mu.Unlock()
			n, err := c.writeList(work.gather(v, writeBytes))
			clear(v.list[:])
			work = work.advance(n)
			c.mu.Lock()
			o.took(n)
			o.progress()
			c.accountLocked()
			if o.dammed {
				c.heapLocked(work)
				return
			}
			if err != nil {
				c.writeFailedLocked(work, err)
				return
			}
			if c.resumeLocked() {
				c.seen() // it cannot be heard while we do not read
			}
			if o.armed && o.pending < c.gate.limits().LowWater {
				o.armed = false
				c.mu.Unlock()
				c.writable()
				c.mu.Lock()
			}
		}
		if o.head != nil && !o.dammed {
			continue
		}
		o.armed = false
		c.mu.Unlock()
		c.writable()
		c.mu.Lock()
		if o.head == nil || o.dammed {
			o.rest()
			c.accountLocked()
			c.mu.Unlock()
			return
		}
	}
}

// heapLocked stops writing at a dam, and unlocks. work is what was to be written
// next. Whatever has failed will fail again for who writes next.
func (c *Conn) heapLocked(work *batch) {
	c.out.putBack(work)
	c.out.rest()
	c.accountLocked()
	c.mu.Unlock()
}

// writeList writes list, and waits until that is done.
func (c *Conn) writeList(list [][]byte) (int, error) {
	if w, ok := c.nc.(*webSocket); ok {
		return w.writeMessages(list)
	}
	if c.tls != nil {
		return c.tls.writeAll(list)
	}
	buffers := net.Buffers(list)
	n, err := buffers.WriteTo(c.nc)
	return int(n), err
}

// awaitRoom keeps the reader from reading on while the client does not take
// the answers to what it has sent so far.
func (c *Conn) awaitRoom() {
	c.mu.Lock()
	if c.out.pending <= c.gate.mayPend() || c.closed.Load() || c.frozen() {
		c.mu.Unlock()
		return
	}
	room := make(chan struct{})
	c.out.room = room
	c.mu.Unlock()
	c.Flush()
	<-room
}

// resumeLocked lets a reader that waits go on if there is room again. It
// reports whether one waited.
func (c *Conn) resumeLocked() bool {
	if c.out.room == nil {
		return false
	}
	if c.out.pending <= c.gate.mayPend()/2 || c.closed.Load() || c.out.dead || c.frozen() {
		close(c.out.room)
		c.out.room = nil
	}
	return true
}

// writeFailedLocked gives up writing, and unlocks. What the peer sent before
// it went may still be read, so the reader gets a moment for it.
func (c *Conn) writeFailedLocked(work *batch, err error) {
	work.discard()
	c.out.kill()
	c.out.rest()
	c.accountLocked()
	c.resumeLocked()
	c.sendErr = err
	ended := c.closed.Load()
	c.mu.Unlock()
	if !ended {
		_ = c.nc.SetReadDeadline(time.Now().Add(failedTimeout))
		if c.closed.Load() {
			c.wake()
		}
	}
}

// writable tells the Receiver that there is room again. A panic in it costs
// this connection only.
func (c *Conn) writable() {
	c.mu.Lock()
	r := c.recv
	c.mu.Unlock()
	if r == nil || c.closed.Load() {
		return
	}
	_ = c.guard(func() error { r.Writable(); return nil }) // a panic has ended the connection
}

func size(list [][]byte) (n int) {
	for _, p := range list {
		n += len(p)
	}
	return n
}
