package listen

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/wire"
)

// Limits bound what connections may cost, all listeners of a gate together.
// A zero sets no limit, except for MaxConnectSize and MaxPacketSize, where it
// means the most that the protocol can express. A listener's [Policy] may say
// otherwise of ConnectTimeout and MaxPacketSize.
type Limits struct {
	MaxConnections          int           // open sockets
	MaxPerAddress           int           // of these, from one IPv4 address or IPv6 /64
	ConnectRate             int           // sockets per second from one such address, and as many at once
	MaxUnauthenticated      int           // of the open sockets, without a CONNACK that lets them in
	MaxUnauthenticatedBytes int           // input that these may have waiting, in total, CONNECT included while they authenticate
	ConnectTimeout          time.Duration // from accept until CONNECT is complete, and an exchange of AUTH over
	MaxConnectSize          int           // bytes of the CONNECT frame, and of each AUTH before CONNACK
	MaxPacketSize           int           // bytes of any later frame, header included
	MaxFilterBytes          int           // bytes of a SUBSCRIBE or UNSUBSCRIBE, where that is less than MaxPacketSize

	// What all connections together may hold; 0 sets no limit.
	MaxInputBytes    int64 // of frames that have not come whole, beyond 2 KiB each; one frame may always be completed
	MaxOutboundBytes int64 // of memory for what waits to be sent; see Gate.OutboundRoom
	MaxConnectBytes  int64 // of the CONNECTs of those connected, beyond 1 KiB each

	// LowWater is how many outbound bytes may wait for Receiver.Writable to be
	// called: set it below the backlog at which senders stop. 0: 32 KiB.
	LowWater int

	// MaxOutbound is how many outbound bytes may wait before no more is read
	// from that client, so that answers it does not fetch cannot pile up. Set
	// it well above what senders allow themselves. 0: 4 MiB.
	MaxOutbound int
}

// Options configure a Gate.
type Options struct {
	Limits Limits // at first: see Gate.SetLimits

	// SocketBuffer is how many bytes the kernel shall hold for a connection in
	// each direction. 0: as many as it likes.
	SocketBuffer int

	Log *slog.Logger // nil: none

	// OnEnd is called exactly once for every accepted connection, when the
	// server has returned err or panicked, or when it has ended before a
	// CONNECT could be handed to the server (Conn.Connect is nil then). The
	// connection's EndReason is settled by then. Conn.Done is closed afterwards.
	OnEnd func(c *Conn, err error)

	// Control, if not nil, has the server work on one control frame of a client
	// that has been let in: Read yields the frame and then io.EOF. It runs in a
	// goroutine that ends with it, while the connection's reader waits; hooks may
	// take it for that. An error ends the connection. With Control the server's
	// EstablishConnection returns as soon as the client is let in, since the two
	// goroutines that it would keep for as long as the connection take 20 KB of
	// stacks; Close does nothing from then on.
	Control func(*Conn) error

	// Rest is stirred by connections that come, go or say more than that they are
	// there; nil for one that nobody else has.
	Rest *rest.Rest

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
	bounds      atomic.Pointer[Limits] // see limits
	wheel       *wheel
	unauthBytes atomic.Int64
	connects    atomic.Int64 // bytes of CONNECTs that are kept
	outbound    atomic.Int64 // bytes of memory for what waits to be sent
	input       inputShares
	heavy       sync.Mutex // held while a large control frame is worked on
	guarded     atomic.Bool
	evicted     atomic.Uint64
	tappers     atomic.Pointer[[]Tapper] // nil: none

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
	Waiting         Waiting           // for the kernels of all connections

	InputBytes, OutboundBytes int64  // memory for frames that have not come whole, and for what waits to be sent
	Evicted                   uint64 // connections ended while memory was short, since start
}

// Waiting is what has been sent on connections and not been taken by the kernel.
type Waiting struct {
	Bytes int
	// Packets is how many were appended since a connection's buffer was empty
	// last: those that wait, and those before them that have left since.
	Packets uint64
}

// NewGate returns a gate without connections. It starts nothing.
func NewGate(o Options) *Gate {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rest == nil {
		o.Rest = rest.New()
	}
	g := &Gate{opts: o, wheel: newWheel(o.Rest), conns: map[*Conn]bool{}, refusals: map[string]uint64{}}
	g.SetLimits(o.Limits)
	return g
}

// SetLimits puts other limits in force, for connections that are there, too,
// except that each keeps the MaxPacketSize that it began with. None is ended
// because there are more than now may be.
func (g *Gate) SetLimits(l Limits) {
	if l.LowWater <= 0 {
		l.LowWater = 32 << 10
	}
	if l.MaxOutbound <= 0 {
		l.MaxOutbound = 4 << 20
	}
	g.bounds.Store(&l)
	g.input.bound(l.MaxInputBytes)
}

// limits are those in force.
func (g *Gate) limits() *Limits { return g.bounds.Load() }

// admit makes a connection of nc, which l has accepted under p, or closes it
// and returns nil. One from a proxy is not counted by its address: see locate.
func (g *Gate) admit(l *Listener, p *Policy, nc net.Conn) *Conn {
	g.opts.Rest.Stir()
	reason, from := "", netip.Prefix{}
	proxied := p.trusts(nc.RemoteAddr())
	if !proxied {
		from = peer.Network(peer.Address(nc.RemoteAddr()))
	}
	g.makeWay()
	g.mu.Lock()
	switch all := g.limits(); {
	case g.shut:
		reason = RefusedShuttingDown
	case all.MaxConnections > 0 && len(g.conns) >= all.MaxConnections:
		reason = RefusedMaxConnections
	case p.MaxConnections > 0 && l.load.open >= p.MaxConnections:
		reason = RefusedMaxConnections
	case all.MaxUnauthenticated > 0 && g.unauth >= all.MaxUnauthenticated:
		reason = RefusedMaxUnauthenticated
	case g.guarded.Load() && g.unauth >= guardedStrangers:
		reason = RefusedPressure
	default:
		reason = g.refusesLocked(l, from)
	}
	var c *Conn
	if reason == "" {
		c = newConn(l, p, nc)
		c.proxied = proxied
		g.conns[c] = true
		c.strange = g.strange.PushBack(c)
		l.load.open++
		g.countLocked(c, from)
		g.unauth++
		g.accepted++
		g.maximum = max(g.maximum, len(g.conns))
	}
	g.mu.Unlock()
	if c == nil {
		remote := remoteName(nc)
		_ = nc.Close()
		g.refused(remote, l.cfg.ID, reason)
	}
	return c
}

// locate counts c, which has come through a proxy, by where it comes from, or
// returns the word for why that does not go.
func (g *Gate) locate(c *Conn, from netip.Prefix) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	word := g.refusesLocked(c.at, from)
	if word == "" {
		g.countLocked(c, from)
	}
	return word
}

// refusesLocked is the word for why one more connection from there is turned
// away at l, "" if it is not.
func (g *Gate) refusesLocked(l *Listener, from netip.Prefix) string {
	p, now := l.policy.Load(), time.Now()
	own := Limits{MaxPerAddress: p.MaxPerAddress, ConnectRate: p.ConnectRate}
	if word := l.load.from.refuses(from, &own, now); word != "" {
		return word
	}
	return g.from.refuses(from, g.limits(), now)
}

func (g *Gate) countLocked(c *Conn, from netip.Prefix) {
	c.from = from
	c.at.load.from.opened(from)
	g.from.opened(from)
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
		c.strange = nil
	}
}

// release forgets c, whose socket has been closed.
func (g *Gate) release(c *Conn) {
	g.opts.Rest.Stir()
	c.charge(0)
	c.chargeConnect(0)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.knownLocked(c)
	delete(g.conns, c)
	c.at.load.open--
	c.at.load.from.closed(c.from)
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
		c.addWaiting(&t.Waiting)
	}
	return t
}

// Conns returns the connections that are open now.
func (g *Gate) Conns() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.conns))
}

// kickAll kicks conns, and waits until the server and OnEnd are through with
// each.
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
	if err := kickAll(ctx, g.Conns(), r, why); err != nil {
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
