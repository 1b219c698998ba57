package listen

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// tlsRecord is how much of our output goes into one record. Devices whose
	// TLS has little room cannot take the largest ones.
	tlsRecord = 4 << 10
	// maxTLSHandshake bounds the bytes of a handshake; the client's certificates
	// are most of it.
	maxTLSHandshake = 64 << 10
)

// tlsSocket is the socket of a client that speaks TLS. It begins as a plain
// socket, on which shake does the handshake. One goroutine reads, handshake
// included, and one at a time writes; deadlines are set from any.
//
// If the socket below does not wait, writeNow does not either: what the kernel
// does not take is kept below TLS, one record of ours at most.
type tlsSocket struct {
	*tls.Conn
	below  *belowTLS
	ahead  [1]byte     // the reader's: an idle connection waits with no more buffer than this
	shaken atomic.Bool // the handshake is complete
	owed   int         // the writer's: bytes in the record that the kernel has yet to take
}

// newTLSSocket makes the server's side of TLS over nc. If waits is set, writes
// wait for the peer.
func newTLSSocket(nc net.Conn, config *tls.Config, waits bool) *tlsSocket {
	below := newBelowTLS(nc, waits)
	return &tlsSocket{Conn: tls.Server(below, config), below: below}
}

// shake does the handshake, bounded by the socket's deadlines and by held,
// which is told how many bytes of unfinished input there are and says whether
// that is too many. It returns the verified certificates of the client, nil if
// it has shown none.
func (t *tlsSocket) shake(held func(int) bool) ([]*x509.Certificate, error) {
	t.below.held = held
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	t.below.finish()
	t.shaken.Store(true)
	if chains := t.ConnectionState().VerifiedChains; len(chains) > 0 {
		return chains[0], nil
	}
	return nil, nil
}

// refusal is the reason for refusing a client whose handshake has ended with
// err, empty if it went away.
func (t *tlsSocket) refusal(err error) (word string, why error) {
	var header tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.Is(t.below.err, os.ErrDeadlineExceeded):
		return RefusedSlowConnect, errors.New("no complete TLS handshake in time")
	case errors.Is(err, errTooMuchHeld):
		return RefusedMemory, err
	case errors.Is(err, errTooMuch):
		return RefusedTLS, fmt.Errorf("TLS handshake of more than %d bytes", maxTLSHandshake)
	case t.below.lost.Load():
		return "", cmp.Or(t.below.err, err)
	case errors.As(err, &header):
		return RefusedNotTLS, errors.New("client does not speak TLS, this listener does not speak anything else")
	case errors.As(err, &verification):
		return RefusedCertificate, fmt.Errorf("client certificate: %w", verification.Err)
	}
	return RefusedTLS, fmt.Errorf("TLS handshake: %w", err)
}

// fill waits for input and puts into room, which is in's, what has come. Nobody needs a buffer of
// in while it waits.
func (t *tlsSocket) fill(in *input, room func() []byte) (int, error) {
	b := t.below
	b.idle = in.park
	n, err := t.Conn.Read(t.ahead[:])
	b.idle = nil
	if n == 0 {
		return 0, err
	}
	p := room()
	p[0] = t.ahead[0]
	b.dry = true // whatever is wrong, the next call will see it again
	for n < len(p) {
		k, err := t.Conn.Read(p[n:])
		n += k
		if err != nil {
			break
		}
	}
	b.dry, b.unfinished = false, 0
	return n, nil
}

// waiting reports whether the kernel has not taken something yet.
func (t *tlsSocket) waiting() bool { return t.below.waiting() }

// writeNow gives work to the kernel until that takes no more. It returns what
// is left, and how many bytes the kernel has. Those of the last record may be
// owed: see settle.
func (t *tlsSocket) writeNow(work *batch) (rest *batch, total int, err error) {
	v, p := vectors.Get().(*vector), pages.Get().(*page)
	for work != nil && !t.waiting() {
		var n int
		n, err = t.Conn.Write(record(work.gather(v, tlsRecord), p))
		work = work.advance(n)
		switch {
		case err == nil && t.waiting():
			t.owed = n
		default:
			total += n
		}
		if err != nil {
			break
		}
	}
	clear(v.list[:])
	vectors.Put(v)
	pages.Put(p)
	return work, total, err
}

// settle waits until the kernel has everything that was written, and returns
// how many bytes had been owed.
func (t *tlsSocket) settle() (int, error) {
	n := t.owed
	t.owed = 0
	return n, t.below.flush()
}

// writeAll writes list, and waits until the kernel has it. It uses up list, but
// does not touch what that refers to.
func (t *tlsSocket) writeAll(list [][]byte) (total int, err error) {
	p := pages.Get().(*page)
	defer pages.Put(p)
	for len(list) > 0 {
		n := 0
		for len(list) > 0 && n < tlsRecord {
			k := copy(p[n:tlsRecord], list[0])
			n += k
			if list[0] = list[0][k:]; len(list[0]) == 0 {
				list = list[1:]
			}
		}
		if _, err = t.Conn.Write(p[:n]); err == nil {
			err = t.below.flush()
		}
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// SetReadDeadline bounds the reader. One that has passed wakes the reader even
// from writing to a peer that takes nothing, which it does while it shakes
// hands, and later if writes wait.
func (t *tlsSocket) SetReadDeadline(d time.Time) error {
	if now := time.Now(); !d.IsZero() && d.Before(now) && (t.below.waits || !t.shaken.Load()) {
		_ = t.below.SetWriteDeadline(now.Add(drainTimeout))
	}
	return t.below.SetReadDeadline(d)
}

// notify tells the peer that nothing more will come, if it can be told soon.
func (t *tlsSocket) notify() {
	if t.shaken.Load() && !t.below.lost.Load() {
		t.below.hurry.Store(true)
		_ = t.Conn.CloseWrite()
	}
}

// Close closes the socket. It waits for the peer half a second at most.
func (t *tlsSocket) Close() error {
	t.notify()
	return t.below.Close()
}

// depart closes the socket within lingerTimeout or so, after giving the peer the
// chance to read our last words if polite is set, or if they were an alert that
// ended the handshake. Nobody may be reading or writing.
func (t *tlsSocket) depart(polite bool) error {
	if !t.shaken.Load() {
		polite = t.below.said && !t.below.lost.Load()
	}
	t.notify()
	if !polite {
		return t.below.Close()
	}
	if hc, ok := t.below.Conn.(interface{ CloseWrite() error }); ok && hc.CloseWrite() == nil {
		_ = t.below.SetReadDeadline(time.Now().Add(lingerTimeout))
		linger(t.below.Conn)
	}
	return t.below.Close()
}

// record brings list into one piece, in p if need be.
func record(list [][]byte, p *page) []byte {
	if len(list) == 1 {
		return list[0]
	}
	n := 0
	for _, b := range list {
		n += copy(p[n:], b)
	}
	return p[:n]
}

// secure does the handshake of TLS if the connection's listener is for that. It
// is bounded like CONNECT: in time by Limits.ConnectTimeout, in bytes as input
// of who has not authenticated.
func (c *Conn) secure() error {
	t := c.tls
	if w, ok := c.nc.(*webSocket); ok {
		t, _ = w.Conn.(*tlsSocket)
	}
	if t == nil {
		return nil
	}
	if d := c.connectTimeout(); d > 0 {
		_ = t.below.SetWriteDeadline(c.connected.Add(d))
	}
	certs, err := t.shake(func(n int) bool { return c.charge(len(c.in.bytes()) + n) })
	switch {
	case c.closed.Load(): // ended meanwhile: that is why it failed, if it did
		return errEnded
	case err == nil:
		c.charge(0)
		if c.tls == nil { // WebSocket has bounds of its own
			t.below.held = nil
		}
		c.mu.Lock()
		c.certs = certs
		c.mu.Unlock()
		return t.below.SetWriteDeadline(time.Time{})
	}
	word, err := t.refusal(err)
	if word == "" {
		return c.readFailed(err)
	}
	c.gate.opts.Log.Debug("TLS handshake failed", "listener", c.Listener(), "remote", c.Remote(), "error", err)
	return c.refuse(word, nil, err)
}
