package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// Bounds of the address. What strangers can make it hold follows from them: see
// docs/SECURITY.md.
const (
	maxConnections  = 64
	maxPerNetwork   = 16 // other than from this machine
	maxStreams      = 16
	maxHeader       = 32 << 10 // so that clients with ids beyond some 10 KB cannot be asked about here
	maxBody         = 16 << 10
	headerTimeout   = 5 * time.Second // from accept, handshake apart, or from the begin of a request
	bodyTimeout     = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	loginPath       = "/login"
	logoutPath      = "/logout"
	sessionPath     = "/v1/session"
	sessionCookie   = "edgebroker_session"
	maxCookiesTried = 4
)

// Options are what a Server is made of.
type Options struct {
	Accounts *Accounts      // who may come in
	API      *statsd.Server // whose routes are answered
	Page     http.Handler   // answers "/" and what is below "/assets/", to everybody; nil: there is none
	TLS      *tls.Config    // nil: plain HTTP

	// Hosts are the names by which browsers may ask for the broker, besides
	// localhost and IP addresses, in any case of letters; Names, if not nil,
	// reports whether there is a further one.
	Hosts []string
	Names func(host string) bool

	// Refused is told who was turned away at a login, by the address, and why in
	// one word. It is called from any goroutine. Nil: nobody is told.
	Refused func(remote netip.Addr, reason string)
	Log     *slog.Logger // of what people change, and of what goes wrong; nil discards
}

// Server answers at one address. Use it once: New, Serve (which blocks), Close.
// Close may be called from any goroutine, more than once.
type Server struct {
	opts  Options
	log   *slog.Logger
	hosts map[string]bool
	open  map[string]bool // paths that are answered to everybody
	api   http.Handler
	cross *http.CrossOriginProtection
	http  *http.Server

	stopping context.Context // ends when Close begins: streams end with it
	stop     context.CancelFunc
	served   chan struct{} // closed when Serve returns

	mu       sync.Mutex // guards everything that follows
	listener *boundedListener
	detached bool
	closing  bool
	silent   map[net.Conn]struct{} // that have sent no request yet
}

// New returns a server that does not serve yet.
func New(o Options) *Server {
	s := &Server{opts: o, log: o.Log, hosts: map[string]bool{"localhost": true}, open: map[string]bool{},
		cross: http.NewCrossOriginProtection(), served: make(chan struct{}), silent: make(map[net.Conn]struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, h := range o.Hosts {
		s.hosts[plainHost(h)] = true
	}
	for _, r := range statsd.Routes() {
		if r.Access == statsd.Open {
			s.open[r.Pattern] = true
		}
	}
	s.api = o.API.Handler(maxStreams, s.permit)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.guard(http.HandlerFunc(s.dispatch)),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// One request at a time on each connection bounds what strangers can
		// make us hold.
		Protocols: new(http.Protocols),
		ConnState: s.connState,
	}
	s.http.Protocols.SetHTTP1(true)
	return s
}

// Serve answers those who connect to l until Close or Detach, or until l is
// closed, and then returns nil; any other end is an error. It closes l, unless
// Detach was called.
func (s *Server) Serve(l net.Listener) error {
	defer close(s.served)
	s.mu.Lock()
	if s.detached {
		s.mu.Unlock()
		return nil
	}
	s.listener = bounded(l, s.opts.TLS)
	s.mu.Unlock()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Detach stops accepting, returns once Serve has, if it was called, and leaves
// the socket open for another Server: clients that are about to connect wait for
// that one. Connections go on until Close.
func (s *Server) Detach() {
	s.mu.Lock()
	s.detached = true
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.detach()
	<-s.served
	l.attachable()
}

// Close ends the streams, lets requests that are being answered finish until ctx
// ends, and cuts off the rest. The error says that it had to.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	s.mu.Lock()
	s.closing = true
	silent := slices.Collect(maps.Keys(s.silent))
	s.mu.Unlock()
	for _, c := range silent { // Shutdown would wait for what they say
		_ = c.Close()
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return fmt.Errorf("close http address: requests were cut off: %w", err)
	}
	return nil
}

// connState keeps count of connections that have sent no request yet.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.silent, c)
	case s.closing:
		_ = c.Close()
	default:
		s.silent[c] = struct{}{}
	}
}

// dispatch answers what has passed the guard.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == loginPath, path == logoutPath:
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			statsd.WriteError(w, http.StatusMethodNotAllowed, "method not allowed", "use POST")
			return
		}
		if path == loginPath {
			s.login(w, r)
		} else {
			s.logout(w, r)
		}
	case s.opts.Page != nil && (path == "/" || strings.HasPrefix(path, "/assets/")):
		renew(w)
		s.opts.Page.ServeHTTP(w, r)
	case s.open[path]:
		s.api.ServeHTTP(w, r)
	default:
		s.known(w, r)
	}
}

// visitKey is the key of the *visit in the context of a request.
type visitKey struct{}

// known answers those who have said who they are.
func (s *Server) known(w http.ResponseWriter, r *http.Request) {
	ctx, v, err := s.authenticate(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer v.leave()
	switch {
	case fromElsewhere(r):
		statsd.WriteError(w, http.StatusForbidden, "requests from pages of other sites are refused", "ask from the broker's own page, or from a program")
	case r.URL.Path != sessionPath:
		s.api.ServeHTTP(w, r.WithContext(context.WithValue(ctx, visitKey{}, v)))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", http.MethodGet)
		statsd.WriteError(w, http.StatusMethodNotAllowed, "method not allowed", "use GET")
	default:
		renew(w)
		statsd.WriteJSON(w, http.StatusOK, Session{Username: v.name, Role: v.role})
	}
}

// permit lets a route answer those whose role is enough for it.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, route statsd.Route) bool {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	role := Role("")
	if v != nil {
		role = v.role
	}
	if !role.may(route.Access) {
		statsd.WriteError(w, http.StatusForbidden, "this is for administrators",
			"log in as a user of group admin, or use the commands on the machine itself")
		return false
	}
	if route.Stream {
		v.endWith(s.stopping)
	}
	if route.Access == statsd.Write {
		s.log.Info("changed over http", "username", v.name, "remote", r.RemoteAddr, "request", route.Method+" "+r.URL.EscapedPath())
	}
	return true
}

// renew gives the client a span of time to take the answer.
func renew(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTimeout))
}
