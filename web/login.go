package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/statsd"
)

// Session says who asks.
type Session struct {
	Username string `json:"username"`
	Role     Role   `json:"role"`
}

// Login is the body of a login.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// loginTimeout bounds the wait for the turn of a login.
const loginTimeout = 10 * time.Second

// errNobody is the error of requests that do not say who asks.
var errNobody = errors.New("nobody is logged in")

// errScheme is that of logins by another way than Basic.
var errScheme = errors.New("unknown way to sign in")

// authenticate finds out who asks, and begins their visit. The context ends when
// they may not ask any more.
func (s *Server) authenticate(r *http.Request) (context.Context, *visit, error) {
	if len(r.Header["Authorization"]) > 0 {
		name, password, ok := r.BasicAuth()
		if !ok {
			return nil, nil, errScheme
		}
		p, err := s.identify(r, name, password)
		if err != nil {
			return nil, nil, err
		}
		if ctx, v, ok := s.opts.Accounts.enter(r.Context(), p); ok {
			return ctx, v, nil
		}
		return nil, nil, errNobody
	}
	for i, c := range r.CookiesNamed(sessionCookie) {
		if i == maxCookiesTried {
			break
		}
		if ctx, v, ok := s.opts.Accounts.resume(r.Context(), c.Value); ok {
			return ctx, v, nil
		}
	}
	return nil, nil, errNobody
}

// identify is Accounts.identify for a request, with those told of who are
// turned away.
func (s *Server) identify(r *http.Request, name, password string) (person, error) {
	ctx, cancel := context.WithTimeout(r.Context(), loginTimeout)
	defer cancel()
	from := remoteOf(r)
	p, err := s.opts.Accounts.identify(ctx, from, name, password)
	if err != nil && s.opts.Refused != nil && r.Context().Err() == nil {
		s.opts.Refused(from, reasonOf(err))
	}
	return p, err
}

// reasonOf is the word for why a login has failed.
func reasonOf(err error) string {
	switch locked := (*auth.LockedError)(nil); {
	case errors.As(err, &locked):
		return "locked"
	case errors.Is(err, auth.ErrRefused):
		return "bad_credentials"
	case errors.Is(err, ErrNoRole):
		return "no_role"
	}
	return "busy"
}

// refuse answers those of whom it is not known who they are.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	renew(w)
	challenge := func() {
		if !fromBrowser(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="edgebroker", charset="UTF-8"`)
		}
	}
	switch locked := (*auth.LockedError)(nil); {
	case errors.As(err, &locked):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(locked.Wait.Seconds()))))
		statsd.WriteError(w, http.StatusTooManyRequests, "too many failed logins from your address", "wait, and then use the right password")
	case errors.Is(err, errNobody):
		challenge()
		statsd.WriteError(w, http.StatusUnauthorized, "you are not logged in", "log in with POST /login, or use HTTP Basic (curl -u NAME)")
	case errors.Is(err, errScheme):
		challenge()
		statsd.WriteError(w, http.StatusUnauthorized, "this way to sign in is not known here", "use HTTP Basic (curl -u NAME)")
	case errors.Is(err, auth.ErrRefused):
		challenge()
		statsd.WriteError(w, http.StatusUnauthorized, "user name or password is wrong", "`edgebroker users passwd --file FILE NAME` sets a new password; FILE is http.users of the configuration")
	case errors.Is(err, ErrNoRole):
		statsd.WriteError(w, http.StatusForbidden, ErrNoRole.Error(), "`edgebroker users groups --file FILE --group viewer NAME` lets them look, --group admin do everything; FILE is http.users of the configuration")
	default:
		w.Header().Set("Retry-After", "1")
		statsd.WriteError(w, http.StatusServiceUnavailable, "too many logins at once", "try again")
	}
}

// login answers POST /login.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	in, err := readLogin(r)
	if err != nil {
		statsd.WriteError(w, http.StatusBadRequest, err.Error(), `send {"username":"NAME","password":"PASSWORD"} as application/json`)
		return
	}
	p, err := s.identify(r, in.Username, in.Password)
	renew(w)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	token, ok := s.opts.Accounts.open(p)
	if !ok {
		s.refuse(w, r, auth.ErrRefused) // the password has changed since it was found right
		return
	}
	s.forget(r)
	http.SetCookie(w, s.cookie(token))
	w.WriteHeader(http.StatusNoContent)
}

// readLogin reads the body of a login.
func readLogin(r *http.Request) (in Login, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return in, errors.New("the body is not said to be JSON")
	}
	body, err := io.ReadAll(r.Body) // bounded, and in memory: see readBody
	if err != nil {
		return in, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&in) != nil || d.Decode(new(any)) != io.EOF { // the error may hold the password
		return in, errors.New("the body is no login")
	}
	return in, nil
}

// logout answers POST /logout.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.forget(r)
	gone := s.cookie("")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	w.WriteHeader(http.StatusNoContent)
}

// forget ends the sessions that a request shows.
func (s *Server) forget(r *http.Request) {
	for i, c := range r.CookiesNamed(sessionCookie) {
		if i == maxCookiesTried {
			return
		}
		s.opts.Accounts.end(c.Value)
	}
}

// cookie carries a session's token. It ends with the browser, if not before.
func (s *Server) cookie(token string) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.opts.TLS != nil}
}

// remoteOf is the address that a request comes from.
func remoteOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Address(net.TCPAddrFromAddrPort(at))
}
