package listen

import (
	"errors"
	"fmt"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// What a connection may take without being asked: no bound counts it, since
// the number of connections bounds it.
const (
	smallInput   = 2 << 10  // bytes of a frame that has not come whole
	smallRead    = 2 << 10  // bytes read at once when memory is short, by those who hold nothing
	smallConnect = 1 << 10  // bytes of CONNECT
	smallControl = 16 << 10 // bytes of another control frame
)

// userCost is what a user property takes in memory beside its bytes.
const userCost = 32

// accountLocked tells the gate how much memory waits for the peer. It costs
// nothing while that does not change, as for a peer that takes what it gets.
func (c *Conn) accountLocked() {
	if n := c.out.held.Load(); n != c.out.charged {
		c.gate.outbound.Add(n - c.out.charged)
		c.out.charged = n
	}
}

// OutboundRoom is how many bytes of memory are left of
// Limits.MaxOutboundBytes. Who lets no connection have more waiting than there
// is room divides it fairly: n connections that take nothing get an n+1th each,
// and one that comes late finds some.
func (g *Gate) OutboundRoom() int64 {
	limit := g.limits().MaxOutboundBytes
	if limit <= 0 {
		return math.MaxInt64
	}
	return max(0, limit-g.outbound.Load())
}

// minPend is what may wait for a connection in any case before no more is read
// from it.
const minPend = 16 << 10

// mayPend is how much may wait for a connection before no more is read from it.
func (g *Gate) mayPend() int {
	most := int64(g.limits().MaxOutbound)
	if room := g.OutboundRoom(); room < most/4 {
		return int(max(minPend, 4*room))
	}
	return int(most)
}

// chargeConnect accounts for a CONNECT of n bytes, instead of what was charged
// before. It reports false, and changes nothing, if that is too much.
func (c *Conn) chargeConnect(n int) bool {
	held, limit := int64(max(0, n-smallConnect)), c.gate.limits().MaxConnectBytes
	more := held - c.connectHeld
	if more == 0 {
		return true
	}
	if total := c.gate.connects.Add(more); more > 0 && limit > 0 && total > limit {
		c.gate.connects.Add(-more)
		return false
	}
	c.connectHeld = held
	return true
}

// room is space to read into. When memory is short it is little, so that a part
// of a frame is, too.
func (c *Conn) room() []byte {
	if !c.gate.guarded.Load() && !c.gate.input.tight.Load() {
		return c.in.room()
	}
	if len(c.in.bytes()) == 0 {
		c.in.park() // a large buffer that has been used is not for the next frame
	}
	p := c.in.room()
	if len(p) > smallRead && c.share.held == 0 {
		p = p[:smallRead]
	}
	return p
}

// enter waits until the connection may work on a SUBSCRIBE or UNSUBSCRIBE of n
// bytes. Those that are large are worked on one after the other: very many short
// filters take thirty times their size. leaveHeavy ends the work.
func (c *Conn) enter(n int) error {
	if most := c.gate.limits().MaxFilterBytes; most > 0 && n > most {
		return &wire.Error{Reason: wire.QuotaExceeded, Detail: fmt.Sprintf("more than %d bytes of filters in one packet", most)}
	}
	if n > smallControl && !c.heavy {
		c.gate.heavy.Lock()
		c.heavy = true
		c.seen() // it could not be heard
	}
	return nil
}

func (c *Conn) leaveHeavy() {
	if c.heavy {
		c.heavy = false
		c.gate.heavy.Unlock()
	}
}

// setBuffers tells the kernel how much it shall hold for nc.
func (g *Gate) setBuffers(nc net.Conn) {
	s, ok := nc.(interface {
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	})
	if n := g.opts.SocketBuffer; ok && n > 0 {
		_ = s.SetReadBuffer(n) // a socket that cannot be told is gone
		_ = s.SetWriteBuffer(n)
	}
}

// setAllBuffers tells the kernel so for every connection that nl will accept. A peer
// that has seen the window of the default may wait for half of that to open, which a
// smaller buffer never does: on loopback each of its segments then waited for a
// timer of 200 ms.
func (g *Gate) setAllBuffers(nl net.Listener) {
	tcp, ok := nl.(*net.TCPListener)
	n := g.opts.SocketBuffer
	if !ok || n <= 0 {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it is closed, as Accept will say
	}
	_ = raw.Control(func(fd uintptr) { // what the kernel refuses, setBuffers asks for again
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, n)
	})
}

const (
	guardedStrangers = 8           // connections that may be authenticating while memory is short
	strangerTime     = time.Second // that each of them has before it gives way to a new one
)

// Guard says whether memory is short. While it is, only few connections may be
// authenticating; those who were there before are ended, the oldest first, and
// new ones find a place only when an old one has had its time.
func (g *Gate) Guard(on bool) {
	g.guarded.Store(on)
	if on {
		g.evict(guardedStrangers)
	}
}

// makeWay ends the oldest of those who have had their time, if there is no
// place for another connection.
func (g *Gate) makeWay() {
	if g.guarded.Load() {
		g.evict(guardedStrangers - 1)
	}
}

var errPressure = errors.New("memory is short, and others wait to connect")

// evict ends connections that are authenticating and have had their time, the
// oldest first, until there are only so many left.
func (g *Gate) evict(most int) {
	var old []*Conn
	g.mu.Lock()
	for e := g.strange.Front(); e != nil && g.unauth > most; e = g.strange.Front() {
		c := e.Value.(*Conn)
		if time.Since(c.connected) < strangerTime {
			break
		}
		g.knownLocked(c) // its place is free at once
		old = append(old, c)
	}
	g.mu.Unlock()
	for _, c := range old {
		g.evicted.Add(1)
		_ = c.refuse(RefusedPressure, nil, errPressure)
	}
}
