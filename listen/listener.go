package listen

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// The types of listener.
const (
	TypeTCP       = "tcp"
	TypeUnix      = "unix"
	TypeWebSocket = "ws" // MQTT over WebSocket over TCP

	TypeTLS          = "tls" // MQTT over TLS over TCP
	TypeWebSocketTLS = "wss" // MQTT over WebSocket over TLS over TCP
)

// Config describes one listener.
type Config struct {
	ID      string      // its name, in logs and events
	Type    string      // TypeTCP (also when empty), TypeUnix, TypeWebSocket, TypeTLS or TypeWebSocketTLS
	Address string      // "host:port", port 0 for any free one; or the socket's path
	Mode    fs.FileMode // of a unix socket; 0: as the umask has it
	Key     string      // where the address is configured, such as "listeners[0].address"; for errors

	// Bound, if not nil, is listened on instead of binding Address. The
	// listener closes it.
	Bound net.Listener

	// TLS is the server's side of TLS, for TypeTLS and TypeWebSocketTLS only.
	// Each handshake may take a new one from its GetConfigForClient.
	TLS *tls.Config

	Policy Policy // at first; see Listener.SetPolicy

	// After, if not nil, is the listener that this one takes the place of, while
	// its connections go on: they count as its own.
	After *Listener
}

// load is what bounds of a listener are compared with. The gate's mu guards it.
type load struct {
	open int // connections
	from addresses
}

// Listener accepts connections on one address and hands each to the server in
// a goroutine of its own. Use it once: Init, Serve, Close.
type Listener struct {
	cfg    Config
	gate   *Gate
	policy atomic.Pointer[Policy]

	load *load

	closed chan struct{} // closed by Close
	served sync.WaitGroup

	mu      sync.Mutex // guards everything that follows
	nl      net.Listener
	started bool
	ended   bool
}

var _ listeners.Listener = (*Listener)(nil)

// New returns a listener that has bound nothing yet.
func New(cfg Config, g *Gate) *Listener {
	cfg.Type = cmp.Or(cfg.Type, TypeTCP)
	l := &Listener{cfg: cfg, gate: g, load: new(load), closed: make(chan struct{})}
	if cfg.After != nil {
		l.load = cfg.After.load
		l.cfg.After = nil // nor is what it came after kept
	}
	l.SetPolicy(cfg.Policy)
	return l
}

// ID returns the listener's name.
func (l *Listener) ID() string { return l.cfg.ID }

// Protocol returns the listener's type.
func (l *Listener) Protocol() string { return l.cfg.Type }

// Connections is how many connections are open that came by l, or by a listener
// whose place it has taken.
func (l *Listener) Connections() int {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	return l.load.open
}

// Address returns the address that is bound, or, before Init, the one that is
// to be.
func (l *Listener) Address() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nl != nil {
		return l.nl.Addr().String()
	}
	return l.cfg.Address
}

// Init binds the address. Its error wraps ErrListen and says what to do.
func (l *Listener) Init(*slog.Logger) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nl != nil {
		return nil
	}
	nl, err := bind(&l.cfg)
	if err != nil {
		return err
	}
	l.gate.setAllBuffers(nl)
	l.nl = nl
	return nil
}

// Serve accepts connections until Close. Each is handed to establish, whose
// panics end that connection only.
func (l *Listener) Serve(establish listeners.EstablishFn) {
	l.mu.Lock()
	nl := l.nl
	if nl == nil || l.started || l.ended {
		l.mu.Unlock()
		return
	}
	l.started = true
	l.served.Add(1)
	l.mu.Unlock()
	defer l.served.Done()

	hand := func(c *Conn) error { return establish(l.cfg.ID, c) }
	for a := (accepter{listener: l, log: l.gate.opts.Log}); ; {
		nc, err := nl.Accept()
		if err != nil {
			if !a.failed(err) {
				return
			}
			continue
		}
		a.succeeded()
		l.gate.setBuffers(nc)
		p := l.policy.Load()
		if c := l.gate.admit(l, p, l.dress(nc, p)); c != nil {
			go c.serve(hand)
		}
	}
}

// dress makes of a socket what the listener's type calls for.
func (l *Listener) dress(nc net.Conn, p *Policy) net.Conn {
	switch l.cfg.Type {
	case TypeTLS:
		return newTLSSocket(nc, l.cfg.TLS, false)
	case TypeWebSocket:
		return newWebSocket(nc, p.Origins)
	case TypeWebSocketTLS: // WebSocket reads and writes as it likes
		return newWebSocket(newTLSSocket(nc, l.cfg.TLS, true), p.Origins)
	}
	return nc
}

// Close stops accepting and waits until Serve has returned. Connections go on:
// see [Gate.Shutdown]. The server's own way to close clients is not used,
// since it tells 3.x clients what their protocol does not have. Calling it
// again does nothing.
func (l *Listener) Close(listeners.CloseFn) {
	l.mu.Lock()
	nl, first := l.nl, !l.ended
	if nl == nil {
		nl = l.cfg.Bound // of which Init has not come
	}
	l.ended = true
	l.mu.Unlock()
	if first {
		close(l.closed)
		if nl != nil {
			if err := nl.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				l.gate.opts.Log.Warn("close listener", "listener", l.cfg.ID, "error", err)
			}
		}
	}
	l.served.Wait()
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	calm       = 10 * time.Second // without an error: the next one is worth a new warning
)

// accepter copes with errors of Accept, such as too many open files: it waits
// and tries again, and warns once per spell of them.
type accepter struct {
	listener *Listener
	log      *slog.Logger
	backoff  time.Duration
	began    time.Time // of the spell; zero if there is none
	last     time.Time
	errors   int
}

// failed waits a little and reports whether to go on.
func (a *accepter) failed(err error) bool {
	l := a.listener
	select {
	case <-l.closed:
		return false
	default:
	}
	now := time.Now()
	if a.began.IsZero() {
		a.began, a.errors = now, 0
		a.log.Warn("cannot accept connections, trying again; raise LimitNOFILE if files are exhausted",
			"listener", l.cfg.ID, "error", err)
	}
	a.last = now
	a.errors++
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	t := time.NewTimer(a.backoff)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}

func (a *accepter) succeeded() {
	a.backoff = 0
	if !a.began.IsZero() && time.Since(a.last) >= calm {
		a.log.Info("accepting connections again", "listener", a.listener.cfg.ID,
			"errors", a.errors, "dur", a.last.Sub(a.began))
		a.began = time.Time{}
	}
}
