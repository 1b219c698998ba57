package statsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// Limits of the control socket. Its users are local and few.
const (
	headerTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second // for a client to take what was written
	heartbeat     = 15 * time.Second // between blank lines in an idle event stream
	idleTimeout   = time.Minute
	maxHeader     = 256 << 10 // a client id of 64 KiB, escaped, is part of a path
	maxStreams    = 32        // each holds a goroutine, a queue and a buffer
)

// DefaultMode lets the owner and the group of the socket file in.
const DefaultMode fs.FileMode = 0o660

// Options are the parts of a Server that have defaults.
type Options struct {
	// Log receives what goes wrong with the socket. Nil discards.
	Log *slog.Logger
	// CheckFilter says why a topic filter is invalid, so that a request with a
	// bad one is answered with an error. Nil lets every filter pass.
	CheckFilter func(filter string) error
	// Rest is stirred by requests; nil for none.
	Rest *rest.Rest
	// Sys, if it is not nil, returns all values of $SYS/broker, for /metrics to
	// show under the names that exporters for mosquitto give them. It is called
	// from any goroutine.
	Sys func() []SysValue
}

// timing holds the spans that tests shorten.
type timing struct {
	write     time.Duration
	heartbeat time.Duration
}

// Server answers on the control socket. Use it once: NewServer, Listen, Serve
// (which blocks), Close. Close may be called from any goroutine, more than once.
type Server struct {
	backend     Backend
	log         *slog.Logger
	checkFilter func(string) error
	http        *http.Server
	metrics     http.Handler
	timing      timing
	rest        *rest.Rest // nil: nobody's

	stopping context.Context // ends when Close begins: streams end with it
	stop     context.CancelFunc

	mu     sync.Mutex
	socket *socket // nil before Listen and after Close
	closed bool
}

// NewServer returns a server for b that does not listen yet.
func NewServer(b Backend, opts Options) *Server {
	s := &Server{
		backend:     b,
		log:         opts.Log,
		rest:        opts.Rest,
		checkFilter: opts.CheckFilter,
		timing:      timing{write: writeTimeout, heartbeat: heartbeat},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.metrics = metricsHandler(b.Snapshot, opts.Sys, s.log)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.renewing(s.guard(s.table(routes(), make(chan struct{}, maxStreams), s.judge))),
		ConnContext:       s.greet,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s
}

// Listen binds the unix socket at path and gives it mode (0 is DefaultMode)
// before anybody can connect. A missing parent directory is created. A socket
// file that nobody answers on is replaced; if somebody answers, the error wraps
// ErrInUse; anything else at path is left alone and is an error.
func (s *Server) Listen(path string, mode fs.FileMode) error {
	if mode == 0 {
		mode = DefaultMode
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("listen on control socket %s: %w", path, net.ErrClosed)
	}
	if s.socket != nil {
		return fmt.Errorf("listen on control socket %s: already listening on %s", path, s.socket.path)
	}
	sock, err := listenSocket(path, mode)
	if err != nil {
		return fmt.Errorf("listen on control socket: %w", err)
	}
	s.socket = sock
	return nil
}

// Serve answers requests until Close, and then returns nil. Any other end is an
// error. Call it once, after Listen.
func (s *Server) Serve() error {
	s.mu.Lock()
	sock, closed := s.socket, s.closed
	s.mu.Unlock()
	if closed {
		return nil
	}
	if sock == nil {
		return errors.New("serve control socket: Listen was not called")
	}
	if err := s.http.Serve(sock.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve control socket %s: %w", sock.path, err)
	}
	return nil
}

// Close removes the socket file, ends the streams, lets requests that are being
// answered finish until ctx ends, and cuts off the rest. The error says that it
// had to.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	sock := s.socket
	s.socket, s.closed = nil, true
	s.mu.Unlock()
	s.stop()
	if sock != nil {
		sock.remove()
	}
	err := s.http.Shutdown(ctx)
	if sock != nil {
		// Shutdown knows the listener only if Serve was called.
		_ = sock.listener.Close()
	}
	if err != nil {
		_ = s.http.Close()
		return fmt.Errorf("close control socket: requests were cut off: %w", err)
	}
	return nil
}
