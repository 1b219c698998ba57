// Package peer says by what the other end of a connection is counted, where
// something is bounded for each address.
package peer

import (
	"net"
	"net/netip"
)

// Address is the IP address of a peer, the zero Addr if it has none, as on a unix
// socket.
func Address(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// Network is what one subscriber has: an IPv4 address, or the /64 of an IPv6 one.
// It is invalid if a is.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
