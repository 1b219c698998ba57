package listen

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/wire"
)

// Limits bound what connections may cost, all listeners of a gate together.
// A zero sets no limit, except for MaxConnectSize and MaxPacketSize, where it
// means the most that the protocol can express.
type Limits struct {
	MaxConnections          int           // open sockets
	MaxPerAddress           int           // of these, from one IPv4 address or IPv6 /64
	ConnectRate             int           // sockets per second from one such address, and as many at once
	MaxUnauthenticated      int           // of the open sockets, without a CONNACK that lets them in
	MaxUnauthenticatedBytes int           // input that these may have waiting, in total, CONNECT included while they authenticate
	ConnectTimeout          time.Duration // from accept until CONNECT is complete, and an exchange of AUTH over
	MaxConnectSize          int           // bytes of the CONNECT frame, and of each AUTH before CONNACK
	MaxPacketSize           int           // bytes of any later frame, header included
	MaxFilterBytes          int           // bytes of a SUBSCRIBE or UNSUBSCRIBE, if that is less

	// What all connections together may hold; 0 sets no limit.
	MaxInputBytes    int64 // of frames that have not come whole, beyond 2 KiB each; one frame may always be completed
	MaxOutboundBytes int64 // of memory for what waits to be sent; see Gate.OutboundRoom
	MaxConnectBytes  int64 // of the CONNECTs of those connected, beyond 1 KiB each
}

// Options configure a Gate.
type Options struct {
	Limits Limits

	// LowWater is how many outbound bytes may wait for Receiver.Writable to be
	// called: set it below the backlog at which senders stop. 0: 32 KiB.
	LowWater int

	// MaxOutbound is how many outbound bytes may wait before no more is read
	// from that client, so that answers it does not fetch cannot pile up. Set
	// it well above what senders allow themselves. 0: 4 MiB.
	MaxOutbound int

	// SocketBuffer is how many bytes the kernel shall hold for a connection in
	// each direction. 0: as many as it likes.
	SocketBuffer int

	Log *slog.Logger // nil: none

	// OnEnd is called exactly once for every accepted connection, when the
	// server has returned err or panicked, or when it has ended before a
	// CONNECT could be handed to the server (Conn.Connect is nil then). The
	// connection's EndReason is settled by then. Conn.Done is closed afterwards.
	OnEnd func(c *Conn, err error)

	// OnRefuse is called for every socket that is turned away before it has
	// become an MQTT connection, with one of the Refused words. It must not
	// block.
	OnRefuse func(remote, listener, reason string)
}

// Gate is what all listeners have in common: the limits, the set of
// connections, and the watch over their keep alive. The server's deadlines are
// ignored in favour of that watch, which hears every frame.
type Gate struct {
	opts        Options
	wheel       *wheel
	unauthBytes atomic.Int64
	connects    atomic.Int64 // bytes of CONNECTs that are kept
	outbound    atomic.Int64 // bytes of memory for what waits to be sent
	input       inputShares
	heavy       sync.Mutex // held while a large control frame is worked on
	guarded     atomic.Bool
	evicted     atomic.Uint64

	mu       sync.Mutex     // guards everything that follows
	conns    map[*Conn]bool // true until authenticated
	from     addresses
	unauth   int
	strange  list.List // of the unauthenticated ones, the oldest first
	shut     bool
	emptied  chan struct{} // closed when the last connection goes; nil if nobody waits
	accepted uint64
	maximum  int
	refusals map[string]uint64
	past     Traffic // of connections that are gone
}

// Totals are a gate's counters at one instant.
type Totals struct {
	Connections     int               // sockets open now
	Unauthenticated int               // of these, not let in yet
	Maximum         int               // most sockets that were open at once
	Accepted        uint64            // sockets taken since start, refused ones not included
	Refused         map[string]uint64 // sockets turned away since start, by Refused word
	Traffic         Traffic           // since start

	InputBytes, OutboundBytes int64  // memory for frames that have not come whole, and for what waits to be sent
	Evicted                   uint64 // connections ended while memory was short, since start
}

// NewGate returns a gate without connections. It starts nothing.
func NewGate(o Options) *Gate {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LowWater <= 0 {
		o.LowWater = 32 << 10
	}
	if o.MaxOutbound <= 0 {
		o.MaxOutbound = 4 << 20
	}
	g := &Gate{opts: o, wheel: newWheel(), conns: map[*Conn]bool{}, refusals: map[string]uint64{}}
	g.input.limit = o.Limits.MaxInputBytes
	return g
}

// admit makes a connection of nc, or closes it and returns nil.
func (g *Gate) admit(listener string, nc net.Conn) *Conn {
	reason, from := "", peer.Network(peer.Address(nc.RemoteAddr()))
	g.makeWay()
	g.mu.Lock()
	switch l := &g.opts.Limits; {
	case g.shut:
		reason = RefusedShuttingDown
	case l.MaxConnections > 0 && len(g.conns) >= l.MaxConnections:
		reason = RefusedMaxConnections
	case l.MaxUnauthenticated > 0 && g.unauth >= l.MaxUnauthenticated:
		reason = RefusedMaxUnauthenticated
	case g.guarded.Load() && g.unauth >= guardedStrangers:
		reason = RefusedPressure
	default:
		reason = g.from.refuses(from, l, time.Now())
	}
	var c *Conn
	if reason == "" {
		c = newConn(g, listener, nc)
		c.from = from
		g.conns[c] = true
		c.strange = g.strange.PushBack(c)
		g.from.opened(from)
		g.unauth++
		g.accepted++
		g.maximum = max(g.maximum, len(g.conns))
	}
	g.mu.Unlock()
	if c == nil {
		remote := remoteName(nc)
		_ = nc.Close()
		g.refused(remote, listener, reason)
	}
	return c
}

// refused counts and reports a socket turned away.
func (g *Gate) refused(remote, listener, reason string) {
	g.mu.Lock()
	g.refusals[reason]++
	g.mu.Unlock()
	g.opts.Log.Debug("connection refused", "listener", listener, "remote", remote, "reason", reason)
	if g.opts.OnRefuse != nil {
		g.opts.OnRefuse(remote, listener, reason)
	}
}

// authenticated takes c out of the unauthenticated ones.
func (g *Gate) authenticated(c *Conn) {
	c.charge(0)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.knownLocked(c)
}

// knownLocked does not count c among the unauthenticated ones any more.
func (g *Gate) knownLocked(c *Conn) {
	if g.conns[c] {
		g.conns[c] = false
		g.unauth--
		g.strange.Remove(c.strange)
	}
}

// release forgets c, whose socket has been closed.
func (g *Gate) release(c *Conn) {
	c.charge(0)
	c.chargeConnect(0)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.knownLocked(c)
	delete(g.conns, c)
	g.from.closed(c.from)
	g.past.add(c.Traffic())
	if len(g.conns) == 0 && g.emptied != nil {
		close(g.emptied)
		g.emptied = nil
	}
}

func (t *Traffic) add(o Traffic) {
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
	t.PacketsIn += o.PacketsIn
	t.PacketsOut += o.PacketsOut
}

// Totals returns the counters. It visits every connection: call it for a
// person or a report, not per message.
func (g *Gate) Totals() Totals {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := Totals{
		Connections: len(g.conns), Unauthenticated: g.unauth, Maximum: g.maximum,
		Accepted: g.accepted, Refused: maps.Clone(g.refusals), Traffic: g.past,
		InputBytes: g.input.total(), OutboundBytes: g.outbound.Load(), Evicted: g.evicted.Load(),
	}
	for c := range g.conns {
		t.Traffic.add(c.Traffic())
	}
	return t
}

// Conns returns the connections that are open now.
func (g *Gate) Conns() []*Conn { return g.pick("") }

// pick returns the connections of one listener, or all if it is "".
func (g *Gate) pick(listener string) []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*Conn, 0, len(g.conns))
	for c := range g.conns {
		if listener == "" || c.listener == listener {
			list = append(list, c)
		}
	}
	return list
}

// KickAll kicks the connections that are open now, and waits until the server
// and OnEnd are through with each.
func (g *Gate) KickAll(ctx context.Context, r wire.Reason, why string) error {
	return kickAll(ctx, g.pick(""), r, why)
}

func kickAll(ctx context.Context, conns []*Conn, r wire.Reason, why string) error {
	for _, c := range conns {
		c.Kick(r, why)
	}
	for i, c := range conns {
		select {
		case <-c.done:
		case <-ctx.Done():
			return fmt.Errorf("end connections: %d of %d may still be in use: %w", len(conns)-i, len(conns), context.Cause(ctx))
		}
	}
	return nil
}

// Shutdown admits no more connections, kicks those that are open, and waits
// until all sockets are closed and nothing of the gate runs any more. Close
// the listeners first. Calling it again waits again.
func (g *Gate) Shutdown(ctx context.Context, r wire.Reason, why string) error {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	if err := g.KickAll(ctx, r, why); err != nil {
		return err
	}
	select {
	case <-g.empty():
	case <-ctx.Done():
		return fmt.Errorf("close connections: %w", context.Cause(ctx))
	}
	g.wheel.wait()
	return nil
}

// empty returns a channel that is closed when there are no connections.
func (g *Gate) empty() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.emptied == nil {
		g.emptied = make(chan struct{})
	}
	ch := g.emptied
	if len(g.conns) == 0 {
		close(ch)
		g.emptied = nil
	}
	return ch
}
