package web

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
)

// boundedListener closes connections that are too many, at once: those who wait
// to be accepted would else hold up all others.
type boundedListener struct {
	net.Listener
	tls      *tls.Config // nil: none
	detached atomic.Bool

	mu   sync.Mutex
	all  int
	from map[netip.Prefix]int // by network, other than this machine's; only those above 0
}

func bounded(l net.Listener, config *tls.Config) *boundedListener {
	return &boundedListener{Listener: l, tls: config, from: make(map[netip.Prefix]int)}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if l.detached.Load() {
				err = net.ErrClosed
			}
			return nil, err
		}
		network := networkOf(c)
		if !l.add(network) {
			_ = c.Close()
			continue
		}
		counted := &countedConn{Conn: c, gone: sync.OnceFunc(func() { l.remove(network) })}
		if l.tls == nil {
			return counted, nil
		}
		return tls.Server(counted, l.tls), nil
	}
}

// detach ends Accept, now and later, and leaves the socket open.
func (l *boundedListener) detach() {
	l.detached.Store(true)
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Unix(1, 0)) // fails only if it is closed, and then Accept does, too
	} else {
		_ = l.Listener.Close() // what cannot be interrupted cannot be handed on
	}
}

// attachable undoes what detach has done to the socket.
func (l *boundedListener) attachable() {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Time{})
	}
}

// Close implements net.Listener. A second one is no error.
func (l *boundedListener) Close() error {
	if l.detached.Load() {
		return nil
	}
	if err := l.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// networkOf is by what a connection is counted besides; invalid: nothing.
func networkOf(c net.Conn) netip.Prefix {
	a := peer.Address(c.RemoteAddr())
	if a.IsLoopback() {
		return netip.Prefix{}
	}
	return peer.Network(a)
}

func (l *boundedListener) add(network netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxConnections || network.IsValid() && l.from[network] >= maxPerNetwork {
		return false
	}
	l.all++
	if network.IsValid() {
		l.from[network]++
	}
	return true
}

func (l *boundedListener) remove(network netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if network.IsValid() {
		if l.from[network]--; l.from[network] == 0 {
			delete(l.from, network)
		}
	}
}

// countedConn tells when it is closed.
type countedConn struct {
	net.Conn
	gone func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.gone()
	return err
}

// CloseWrite ends what is sent and lets the other side finish, as package
// net/http does after an answer behind which more may have been sent.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
