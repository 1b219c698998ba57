package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxTLSRest bounds what may wait below TLS: a record of ours, and what TLS
// itself answers to a peer that asks for new keys and does not listen.
const maxTLSRest = 64 << 10

// belowTLS is the socket below a tlsSocket. Its writes wait for the peer during
// the handshake, and afterwards if waits is set.
type belowTLS struct {
	net.Conn
	raw     syscall.RawConn // nil if there is no file descriptor
	readFn  func(fd uintptr) bool
	writeFn func(fd uintptr) bool
	waits   bool
	shaking atomic.Bool
	hurry   atomic.Bool // write deadlines are at most lingerTimeout away
	lost    atomic.Bool // the peer is gone

	// The reader's.
	left       int            // bytes that may still be read while shaking hands
	unfinished int            // bytes read since TLS last yielded something
	held       func(int) bool // is asked whether so many may be unfinished; nil: nobody is
	idle       func()         // called before Read waits; may be nil
	dry        bool           // Read fails instead of asking the kernel
	said       bool           // something was written during the handshake
	buf        []byte
	n          int
	err        error // of the last Read

	mu      sync.Mutex // guards everything that follows
	out     []byte     // what writeFD offers
	written int
	failed  error
	rest    []byte // what the kernel has not taken
	sending bool   // flush is writing what was before rest
}

func newBelowTLS(nc net.Conn, waits bool) *belowTLS {
	b := &belowTLS{Conn: nc, left: maxTLSHandshake, waits: true}
	b.shaking.Store(true)
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true)
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			b.raw, b.readFn, b.writeFn, b.waits = raw, b.readFD, b.writeFD, waits
		}
	}
	return b
}

// dryError says that TLS has nothing to yield without asking the kernel. It is
// temporary, so TLS can go on afterwards.
type dryError struct{}

func (dryError) Error() string   { return "no input at hand" }
func (dryError) Timeout() bool   { return true }
func (dryError) Temporary() bool { return true }

var (
	_ net.Error = dryError{}

	errTLSRest = errors.New("peer does not take TLS's own answers")
)

// finish ends the handshake, for the reader and for writers.
func (b *belowTLS) finish() {
	b.unfinished = 0
	b.shaking.Store(false)
}

func (b *belowTLS) Read(p []byte) (int, error) {
	if b.dry {
		return 0, dryError{}
	}
	if b.shaking.Load() {
		if b.left == 0 {
			b.err = errTooMuch
			return 0, errTooMuch
		}
		p = p[:min(len(p), b.left)]
	}
	var n int
	var err error
	if b.raw != nil {
		b.n, b.err, b.buf = 0, nil, p
		err = b.raw.Read(b.readFn)
		b.buf = nil
		if n = b.n; err == nil {
			err = b.err
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
	} else {
		if b.idle != nil {
			b.idle()
		}
		n, err = b.Conn.Read(p)
	}
	b.err = err
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		b.lost.Store(true)
	}
	b.left = max(b.left-n, 0)
	b.unfinished += n
	if n > 0 && b.held != nil && !b.held(b.unfinished) {
		b.err = errTooMuchHeld
		return n, errTooMuchHeld
	}
	return n, err
}

// readFD is the callback of raw.Read.
func (b *belowTLS) readFD(fd uintptr) bool {
	for {
		n, err := rawRead(fd, b.buf)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if b.idle != nil {
				b.idle()
			}
			return false
		}
		b.n, b.err = max(n, 0), err
		return true
	}
}

// Write takes all of p, unless the connection has failed. See belowTLS about
// waiting.
func (b *belowTLS) Write(p []byte) (int, error) {
	if shaking := b.shaking.Load(); shaking || b.waits {
		if shaking {
			b.said = true
		}
		n, err := b.Conn.Write(p)
		if err != nil {
			b.lost.Store(true)
		}
		return n, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	if b.failed == nil && len(b.rest) == 0 && !b.sending {
		b.out, b.written = p, 0
		if err := b.raw.Write(b.writeFn); err != nil {
			b.failLocked(err)
		}
		n, b.out = b.written, nil
	}
	if b.failed == nil && len(b.rest)+len(p)-n > maxTLSRest {
		b.failLocked(errTLSRest)
	}
	if b.failed != nil {
		return n, b.failed
	}
	b.rest = append(b.rest, p[n:]...)
	return len(p), nil
}

// writeFD is the callback of raw.Write: one write call, whatever it takes.
func (b *belowTLS) writeFD(fd uintptr) bool {
	for {
		n, err := rawWrite(fd, b.out)
		switch err {
		case nil:
			b.written = n
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			b.failLocked(fmt.Errorf("write: %w", err))
		}
		return true
	}
}

func (b *belowTLS) failLocked(err error) {
	if b.failed == nil {
		b.failed = err
	}
	b.lost.Store(true)
	b.rest = nil
}

// waiting reports whether there is something that the kernel has not taken.
func (b *belowTLS) waiting() bool {
	if b.waits {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rest) > 0
}

// flush waits until the kernel has taken everything. One goroutine at a time.
func (b *belowTLS) flush() error {
	if b.waits {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.rest) > 0 {
		p := b.rest
		b.rest, b.sending = nil, true
		b.mu.Unlock()
		_, err := b.Conn.Write(p)
		b.mu.Lock()
		b.sending = false
		if err != nil {
			b.failLocked(err)
		}
	}
	return b.failed
}

// SetWriteDeadline bounds writes that wait.
func (b *belowTLS) SetWriteDeadline(t time.Time) error {
	if b.hurry.Load() {
		if soon := time.Now().Add(lingerTimeout); t.IsZero() || t.After(soon) {
			t = soon
		}
	}
	return b.Conn.SetWriteDeadline(t)
}
