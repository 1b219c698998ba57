package listen

import (
	"cmp"
	"container/list"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Receiver takes what a connection's client sends, once [Conn.Bind] has bound
// it. Receive and Flush are called by one goroutine, the connection's reader.
type Receiver interface {
	// Receive takes one message frame: PUBLISH, PUBACK, PUBREC, PUBREL or
	// PUBCOMP. f is valid during the call only. An error ends the connection;
	// if it wraps a *wire.Error, a v5 client is told its reason.
	Receive(f wire.Frame) error

	// Flush is called when a batch of input has been used up, before the
	// reader waits for more, and before a control frame is handed to the
	// server: now is the time to flush every connection that was sent to.
	Flush()

	// Writable is called, from any goroutine, when a backlog of outbound bytes
	// has shrunk. It may be called without need.
	Writable()
}

// Errors that a Conn's methods or the end of a connection may wrap.
var (
	// ErrPanic is the error of a connection whose handling panicked.
	ErrPanic = errors.New("connection handler panicked")

	errEnded    = errors.New("connection has ended")
	errNotBound = errors.New("connection established without a receiver")

	errConnectsHeld = errors.New("too many bytes held of what clients have sent in CONNECT")
	errTooMuchHeld  = errors.New("too many bytes held by clients that have not authenticated")
)

// Conn is one accepted connection. To the MQTT server it is a net.Conn that
// yields one control frame after the other; to the data plane it is the
// outbound half of a connection. The server's deadlines are ignored: see
// [Gate]. Methods may be called from any goroutine unless they say otherwise.
type Conn struct {
	gate      *Gate
	nc        net.Conn
	raw       syscall.RawConn // nil if nc has no file descriptor of its own
	tls       *tlsSocket      // nc, if it is one
	readFn    func(fd uintptr) bool
	writeFn   func(fd uintptr) bool
	at        *Listener // that has accepted it
	policy    *Policy   // of the listener when it accepted the connection
	maxPacket int
	remote    string                 // the peer's address, of whom origin may know better
	proxied   bool                   // the peer is a proxy
	origin    atomic.Pointer[origin] // nil: the peer speaks for itself, or its PROXY header has not come
	connected time.Time
	alive     entry

	// OnConnack completes the CONNACK of an accepted connection before it
	// leaves. Set it, in the reader's goroutine, before the server answers.
	OnConnack func(*wire.Connack)

	// Note is what the server's hooks remember of the connection, which does
	// not look at it. Only for the reader's goroutine and OnEnd.
	Note any

	connect    atomic.Pointer[wire.Connect]
	disconnect atomic.Pointer[wire.Disconnect]
	id         atomic.Pointer[string]
	closed     atomic.Bool  // set under mu; nothing is appended afterwards
	alone      atomic.Bool  // the server has let go of it: see Options.Control
	lastSeen   atomic.Int64 // wheel tick of the last batch that held a frame
	bytesIn    atomic.Uint64
	packetsIn  atomic.Uint64
	taps       atomic.Pointer[taps] // nil: none; that of out, for the reader
	ice        atomic.Pointer[ice]  // nil: it is not to stop
	done       chan struct{}
	from       netip.Prefix  // what the gate counts it by; invalid: nothing
	strange    *list.Element // its place among the gate's unauthenticated ones, nil when it has none any more; the gate's mu guards it

	// The reader's.
	in          input
	control     []byte // what the server has yet to read of the current control frame
	subscribe   *wire.Subscribe
	unsubscribe *wire.Unsubscribe
	auth        *wire.Auth
	authStep    AuthStep // of the re-authentication that is going on
	authData    []byte   // for CONNACK
	username    *string  // of SetUsername
	connectSize int      // bytes of CONNECT
	charged     int      // bytes charged to the gate before authentication
	connectHeld int64    // bytes of CONNECT charged to the gate
	share       share    // of the gate's memory for input
	heavy       bool     // it holds the gate's lock of that name
	pong        [2]byte  // PINGRESP
	fresh       bool     // a frame has come whole since the share was settled
	refusal     *refusal
	adopted     *adoption // nil: it began here
	readN       int
	readErr     error

	// The writer's: whoever set out.busy.
	iov      [][]byte
	vec      *vector // room for more than one of them
	written  int
	writeErr error

	mu       sync.Mutex // guards everything that follows
	out      outbound
	recv     Receiver
	connack  bool // CONNACK with success has been appended
	answer   answer
	endWord  string
	endErr   error
	sendErr  error // why writing failed
	peerGone bool  // nothing can reach the peer, or it has no wish to hear more
	kicked3  bool  // the server wanted to send a DISCONNECT that 3.x does not have

	untappable bool // taps have been told of the end

	certs      []*x509.Certificate
	authCancel func() // wakes the authentication step that is going on, if there is one
}

func newConn(l *Listener, p *Policy, nc net.Conn) *Conn {
	c := &Conn{
		gate: l.gate, nc: nc, at: l, policy: p, remote: remoteName(nc),
		maxPacket: cmp.Or(p.MaxPacketSize, l.gate.limits().MaxPacketSize),
		connected: time.Now(), done: make(chan struct{}),
	}
	c.alive.conn = c
	var sc syscall.Conn
	switch t := nc.(type) {
	case *net.TCPConn:
		_ = t.SetNoDelay(true)
		sc = t
	case *net.UnixConn:
		sc = t
	case *tlsSocket:
		c.tls = t
		return c
	default:
		return c
	}
	if raw, err := sc.SyscallConn(); err == nil {
		c.raw, c.readFn, c.writeFn = raw, c.readFD, c.writeFD
	}
	return c
}

// remoteName is the address of the peer, or "unix" for one that has none.
func remoteName(nc net.Conn) string {
	a := nc.RemoteAddr()
	if a == nil {
		return ""
	}
	if s := a.String(); s != "" && s != "@" {
		return s
	}
	return a.Network()
}

// Bind makes r the receiver of message frames. Call it once, in the reader's
// goroutine, when the session is established.
func (c *Conn) Bind(r Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recv = r
}

// Connect returns what the client asked for in its CONNECT, its will included,
// or nil if none has come yet. It must not be changed.
func (c *Conn) Connect() *wire.Connect { return c.connect.Load() }

// Disconnect returns the DISCONNECT that the client sent, if it sent one.
func (c *Conn) Disconnect() (wire.Disconnect, bool) {
	if d := c.disconnect.Load(); d != nil {
		return *d, true
	}
	return wire.Disconnect{}, false
}

// Version is the protocol version of the CONNECT, 0 before it.
func (c *Conn) Version() wire.Version {
	if con := c.connect.Load(); con != nil {
		return con.Version
	}
	return 0
}

// ID is the client id: the one in CONNECT, or the one given with SetID, or the
// one that CONNACK assigned. Empty if there is none yet.
func (c *Conn) ID() string {
	if id := c.id.Load(); id != nil {
		return *id
	}
	return ""
}

// SetID names a client that brought no client id.
func (c *Conn) SetID(id string) { c.id.Store(&id) }

// Listener is the ID of the listener that accepted the connection.
func (c *Conn) Listener() string { return c.at.cfg.ID }

// Remote is the address of the client, as text: of the peer or, if that is a
// proxy which has said so, of the client that it speaks for.
func (c *Conn) Remote() string {
	if o := c.origin.Load(); o != nil {
		return o.name
	}
	return c.remote
}

// ConnectedAt is when the connection was accepted.
func (c *Conn) ConnectedAt() time.Time { return c.connected }

// Certificates are those with which the client has shown who it is, its own
// first, then those that lead up to an authority that the listener's TLS
// configuration trusts. Nil if it has shown none. They must not be changed.
func (c *Conn) Certificates() []*x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.certs
}

// Done is closed when everything about the connection is over but for the
// farewell to its socket: the server has returned and OnEnd has been called.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Traffic is what went over a connection, or all of them: bytes on the
// transport (of MQTT only where that is WebSocket or TLS) and MQTT frames. Frames out
// are counted when they are appended, bytes out when the kernel has taken them.
type Traffic struct {
	BytesIn, BytesOut, PacketsIn, PacketsOut uint64
}

// Traffic returns the connection's traffic so far.
func (c *Conn) Traffic() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Traffic{
		BytesIn: c.bytesIn.Load(), PacketsIn: c.packetsIn.Load(),
		BytesOut: c.out.bytes, PacketsOut: c.out.packets,
	}
}

// LocalAddr is the address that the client has reached; see [Conn.Remote].
func (c *Conn) LocalAddr() net.Addr {
	if o := c.origin.Load(); o != nil {
		return o.local
	}
	return c.nc.LocalAddr()
}

// RemoteAddr is the address of the client; see [Conn.Remote].
func (c *Conn) RemoteAddr() net.Addr {
	if o := c.origin.Load(); o != nil {
		return o.remote
	}
	return c.nc.RemoteAddr()
}

// SetDeadline implements net.Conn and does nothing: keep alive is the gate's.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
