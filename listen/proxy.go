package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/pires/go-proxyproto"

	"github.com/synthetism/edgebroker/internal/peer"
)

// Sizes of PROXY headers, in bytes.
const (
	minProxyHeader = 15 // "PROXY UNKNOWN\r\n"
	maxProxyLine   = 107
	proxyPrefix    = 16 // of version 2: what comes before the addresses
	// maxProxyHeader is for version 2, whose extensions may hold a certificate.
	maxProxyHeader = proxyPrefix + 4<<10
)

// errProxyHeader is wrapped by errors that say why something is no PROXY header.
var errProxyHeader = errors.New("PROXY header")

// origin is the connection that a proxy speaks for.
type origin struct {
	remote, local net.Addr
	name          string // remote as text
}

// unproxy reads the PROXY header of a connection from a proxy, and makes the
// client's address that of the connection. It is bounded like CONNECT: in time
// by the connect timeout, in bytes as input of who has not authenticated.
func (c *Conn) unproxy() error {
	if !c.proxied || c.origin.Load() != nil {
		return nil
	}
	if c.closed.Load() {
		return errEnded
	}
	header, err := readProxyHeader(plain(c.nc), c.charge)
	c.bytesIn.Add(uint64(len(header)))
	var o *origin
	if err == nil {
		c.charge(0)
		o, err = parseProxyHeader(header)
	}
	switch {
	case c.closed.Load(): // ended meanwhile: that is why reading ended
		return errEnded
	case errors.Is(err, errProxyHeader):
		return c.refuse(RefusedProxyHeader, nil, err)
	case errors.Is(err, errTooMuchHeld):
		return c.refuse(RefusedMemory, nil, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.refuse(RefusedSlowConnect, nil, fmt.Errorf("no complete PROXY header within %v", c.connectTimeout()))
	case err != nil:
		return c.readFailed(err)
	case o == nil:
		return nil
	}
	c.origin.Store(o)
	if w, ok := c.nc.(*webSocket); ok {
		w.local = o.local
	}
	if word := c.gate.locate(c, peer.Network(peer.Address(o.remote))); word != "" {
		return c.refuse(word, nil, fmt.Errorf("too many connections from %s", o.name))
	}
	return nil
}

// plain is the socket below whatever nc adds to it.
func plain(nc net.Conn) net.Conn {
	if w, ok := nc.(*webSocket); ok {
		nc = w.Conn
	}
	if t, ok := nc.(*tlsSocket); ok {
		nc = t.below.Conn
	}
	return nc
}

// readProxyHeader reads a PROXY header, and not one byte of what follows it.
// Before it takes room for n bytes it asks held, and fails with errTooMuchHeld
// when that says no. What it returns has the form of a header as far as that
// tells where it ends; with an error, what of it has come.
func readProxyHeader(r io.Reader, held func(n int) bool) ([]byte, error) {
	var b []byte
	for {
		n, err := proxyHeaderRest(b)
		if n == 0 || err != nil {
			return b, err
		}
		if cap(b)-len(b) < n {
			size := max(len(b)+n, maxProxyLine)
			if !held(size) {
				return b, errTooMuchHeld
			}
			b = append(make([]byte, 0, size), b...)
		}
		k, err := r.Read(b[len(b) : len(b)+n])
		if b = b[:len(b)+k]; k == 0 && err != nil {
			return b, err
		}
	}
}

// proxyHeaderRest is how many bytes of a PROXY header that begins with b have
// yet to come at least; 0: none.
func proxyHeaderRest(b []byte) (int, error) {
	line, binaryForm := begins(b, proxyproto.SIGV1), begins(b, proxyproto.SIGV2)
	switch {
	case !line && !binaryForm:
		return 0, fmt.Errorf("no %w, with which connections from this address begin", errProxyHeader)
	case len(b) < minProxyHeader:
		return minProxyHeader - len(b), nil
	case binaryForm && len(b) < proxyPrefix:
		return proxyPrefix - len(b), nil
	case binaryForm:
		size := proxyPrefix + int(binary.BigEndian.Uint16(b[proxyPrefix-2:]))
		if size > maxProxyHeader {
			return 0, fmt.Errorf("%w: it has %d bytes, at most %d are taken", errProxyHeader, size, maxProxyHeader)
		}
		return size - len(b), nil
	}
	switch end := bytes.IndexByte(b, '\n'); {
	case end > 0 && end == len(b)-1 && b[end-1] == '\r':
		return 0, nil
	case end >= 0 || len(b) >= maxProxyLine:
		return 0, fmt.Errorf("%w: its line does not end where it should", errProxyHeader)
	case b[len(b)-1] == '\r' || len(b) == maxProxyLine-1:
		return 1, nil
	}
	return 2, nil // CR LF
}

// begins tells whether b and sig are the same as far as both go.
func begins(b, sig []byte) bool {
	n := min(len(b), len(sig))
	return bytes.Equal(b[:n], sig[:n])
}

// parseProxyHeader is for whom a complete header speaks; nil if the proxy
// speaks for itself, or does not know. What else is in the header does not
// count.
func parseProxyHeader(b []byte) (*origin, error) {
	src := bytes.NewReader(b)
	br := bufio.NewReaderSize(src, maxProxyLine) // the library wants a line in one piece
	h, err := proxyproto.Read(br)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
	case br.Buffered()+src.Len() > 0:
		return nil, fmt.Errorf("%w: it does not end where it says", errProxyHeader)
	case h.Command.IsLocal() || h.TransportProtocol.IsUnix():
		return nil, nil
	}
	remote, local, ok := h.TCPAddrs()
	if !ok {
		return nil, fmt.Errorf("%w: it speaks of something else than a TCP connection", errProxyHeader)
	}
	return &origin{remote, local, remote.String()}, nil
}
