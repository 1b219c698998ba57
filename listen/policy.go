package listen

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/wire"
)

// Policy is what a listener asks of those who connect. It can be exchanged
// while the listener is open: see [Listener.SetPolicy]. The zero Policy asks
// nothing beyond the gate's Limits.
type Policy struct {
	// Proxies are the addresses whose connections begin with a PROXY header,
	// version 1 or 2, which says from where they really come. Such a
	// connection without one is refused; from other addresses none is read.
	Proxies []netip.Prefix
	// ProxyUnix says the same of all who connect to a unix socket.
	ProxyUnix bool

	Versions []wire.Version // of MQTT that clients may speak; empty: any

	// Origins are the web pages that may connect to a WebSocket listener, such
	// as "https://example.org:8443", besides those of its own host and port.
	// "*" is any.
	Origins []string

	// Bounds for this listener alone, counted by it alone; those of Limits
	// that have the same names hold besides. 0: none.
	MaxConnections int
	MaxPerAddress  int
	ConnectRate    int

	// In place of those of Limits; 0: as there.
	ConnectTimeout time.Duration
	MaxPacketSize  int // a connection keeps the one that it began with
}

// SetPolicy puts p in force for connections accepted from now on, and its
// bounds on their number also with regard to those that are open. The slices
// in p must not be changed afterwards. It may be called at any time, from any
// goroutine.
func (l *Listener) SetPolicy(p Policy) { l.policy.Store(&p) }

// trusts reports whether a connection from a begins with a PROXY header.
func (p *Policy) trusts(a net.Addr) bool {
	if _, ok := a.(*net.UnixAddr); ok {
		return p.ProxyUnix
	}
	ip := peer.Address(a).WithZone("")
	return slices.ContainsFunc(p.Proxies, func(trusted netip.Prefix) bool { return trusted.Contains(ip) })
}

// speaks reports whether clients may speak v.
func (p *Policy) speaks(v wire.Version) bool {
	return len(p.Versions) == 0 || slices.Contains(p.Versions, v)
}

// connectTimeout is how long the connection has for all up to CONNECT; 0: for
// ever.
func (c *Conn) connectTimeout() time.Duration {
	return cmp.Or(c.policy.ConnectTimeout, c.gate.limits().ConnectTimeout)
}

// MaxPacketSize is how many bytes a frame of the client may have after
// CONNECT; 0: as many as the protocol can express. It never changes.
func (c *Conn) MaxPacketSize() int { return c.maxPacket }

// checkVersion refuses the sender of con if its protocol version may not be
// spoken here. [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
func (c *Conn) checkVersion(con *wire.Connect) error {
	if c.policy.speaks(con.Version) {
		return nil
	}
	answer := fitting(con, refusalFrame(con.Version, wire.UnsupportedProtocolVersion))
	return c.refuse(RefusedVersionNotAllowed, answer,
		fmt.Errorf("listener %q does not allow MQTT %v; see its mqtt_versions", c.Listener(), con.Version))
}
