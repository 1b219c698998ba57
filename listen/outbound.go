package listen

import (
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// outbound is what waits to be written to a peer. An idle connection's is
// empty and holds no buffer. The Conn's mu guards it.
type outbound struct {
	head, tail *batch
	pending    int           // bytes that the kernel has not taken, those being written included
	busy       bool          // somebody is writing; nobody else may
	again      bool          // Flush was called meanwhile
	armed      bool          // pending reached low water, so that somebody may wait for Writable
	dead       bool          // a write failed; nothing more will be sent
	dammed     bool          // nobody may write for now: see Dam
	idle       chan struct{} // closed when busy ends; nil if nobody waits
	room       chan struct{} // closed when the reader may go on; nil if it does not wait

	taps *taps // that are told of what is appended; nil: none
	lost int   // bytes that were waiting when it was killed

	packets, bytes uint64 // appended and taken by the kernel, in total
	behind         uint64 // what packets was when nothing waited last

	blocked time.Time // since when something waits that has not gone yet; zero if all has
	until   uint64    // what bytes will be when that has gone
	stalls  uint64    // how often that took longer than a moment

	held    atomic.Int64 // bytes of memory that all batches take, detached ones included
	charged int64        // of these, bytes that the gate knows of
}

// append copies p.
func (o *outbound) append(p []byte) {
	o.pending += len(p)
	for len(p) > 0 {
		if o.tail != nil {
			p = p[o.tail.copyIn(p):]
		}
		if len(p) > 0 {
			o.grow()
		}
	}
}

// share refers to p.
func (o *outbound) share(p []byte) {
	o.pending += len(p)
	for o.tail == nil || !o.tail.share(p) {
		o.grow()
	}
}

func (o *outbound) grow() {
	if o.tail == nil {
		o.head = newBatch(0, &o.held)
		o.tail = o.head
		return
	}
	o.tail.next = newBatch(o.pending, &o.held)
	o.tail = o.tail.next
}

// detach takes everything that waits out of the queue.
func (o *outbound) detach() *batch {
	b := o.head
	o.head, o.tail = nil, nil
	return b
}

// putBack makes b, which may be nil, the front of the queue again.
func (o *outbound) putBack(b *batch) {
	if b == nil {
		return
	}
	last := b.last()
	last.next = o.head
	o.head = b
	if o.tail == nil {
		o.tail = last
	}
}

// took accounts for n bytes taken by the kernel.
func (o *outbound) took(n int) {
	o.pending -= n
	o.bytes += uint64(n)
	if o.pending == 0 {
		o.behind = o.packets
	}
}

// kill drops what waits and refuses more.
func (o *outbound) kill() {
	o.detach().discard()
	o.lost += o.pending
	o.dead, o.pending = true, 0
}

// rest ends a spell of writing.
func (o *outbound) rest() {
	o.busy, o.again = false, false
	if !o.blocked.IsZero() {
		o.endStall(time.Now())
		o.blocked = time.Time{}
	}
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// stallMin is how long something must wait for the network for a stall.
const stallMin = 10 * time.Millisecond

// block notes that what is pending now waits for the network.
func (o *outbound) block() {
	o.blocked, o.until = time.Now(), o.bytes+uint64(o.pending)
}

// progress notes that some of it has gone.
func (o *outbound) progress() {
	if !o.blocked.IsZero() && o.bytes >= o.until {
		o.endStall(time.Now())
		o.block()
	}
}

func (o *outbound) endStall(now time.Time) {
	if now.Sub(o.blocked) >= stallMin {
		o.stalls++
	}
}

// Stalls is how often something that was sent has waited for the network for
// more than a moment, and since when something waits now; the zero time if
// nothing does.
func (c *Conn) Stalls() (n uint64, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, since = c.out.stalls, c.out.blocked
	if since.IsZero() || time.Since(since) < stallMin {
		return n, time.Time{}
	}
	return n + 1, since
}

// Send copies whole frames to the outbound buffer and returns how many bytes
// wait there. It never blocks and writes nothing: see [Conn.Flush]. After the
// connection has ended it does nothing and returns 0.
func (c *Conn) Send(frames []byte) int {
	n := countFrames(frames)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.appendLocked(frames) {
		return 0
	}
	c.out.packets += n
	return c.out.pending
}

// SendShared is Send for one frame whose end is large: head is copied, body
// is referenced, so it must not change afterwards.
func (c *Conn) SendShared(head, body []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || c.out.dead {
		return 0
	}
	if c.out.taps != nil {
		c.sharedLocked(head, body)
	}
	c.out.append(head)
	if len(body) < shareAtLeast {
		c.out.append(body)
	} else {
		c.out.share(body)
	}
	c.armLocked()
	c.out.packets++
	return c.out.pending
}

// Pending returns how many bytes wait to be taken by the kernel.
func (c *Conn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.pending
}

func (c *Conn) addWaiting(w *Waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.pending > 0 {
		w.Bytes += c.out.pending
		w.Packets += c.out.packets - c.out.behind
	}
}

func (c *Conn) appendLocked(p []byte) bool {
	if c.closed.Load() || c.out.dead {
		return false
	}
	if c.out.taps != nil {
		c.sentLocked(p)
	}
	c.out.append(p)
	c.armLocked()
	return true
}

func (c *Conn) armLocked() {
	if c.out.pending >= c.gate.limits().LowWater {
		c.out.armed = true
	}
}

// countFrames returns how many frames p consists of.
func countFrames(p []byte) (n uint64) {
	for len(p) > 0 {
		n++
		size, ok := wire.FrameSize(p)
		if !ok || size <= 0 || size >= len(p) {
			break
		}
		p = p[size:]
	}
	return n
}
