package web

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// line is a user in a file of users, with a hash that costs nothing. The
// password may be followed by "@" and the salt.
func line(name, password, groups string) string {
	password, salt, _ := strings.Cut(password, "@")
	salt += "12345678"
	sum := sha512.Sum512([]byte(password + salt))
	b64 := base64.StdEncoding.EncodeToString
	text := name + ":$6$" + b64([]byte(salt)) + "$" + b64(sum[:])
	if groups != "" {
		text += ":" + groups
	}
	return text + "\n"
}

// users is a file of users.
func users(t testing.TB, lines ...string) *auth.PasswordFile {
	t.Helper()
	v, err := auth.NewVerifier(auth.DefaultVerifierLimits())
	if err != nil {
		t.Fatal(err)
	}
	return usersOf(t, v, lines...)
}

// usersOf is users whose passwords v verifies.
func usersOf(t testing.TB, v *auth.Verifier, lines ...string) *auth.PasswordFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("# users\n"+strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := auth.LoadPasswordFile(path, v)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// people are an admin, a viewer and others, whose passwords are their names.
func people(t testing.TB) *auth.PasswordFile {
	return users(t, line("ann", "ann", "admin"), line("vic", "vic", "viewer"), line("nog", "nog", ""), line("pump", "pump", "devices"))
}

// backend is a broker of which little is asked.
type backend struct {
	statsd.Backend
	bus    *events.Bus
	health statsd.Health
}

func (b *backend) Snapshot() statsd.Snapshot { return statsd.Snapshot{Version: "1.2.3"} }
func (b *backend) Kick(string) bool          { return true }
func (b *backend) Health() statsd.Health     { return b.health }
func (b *backend) Clients() []statsd.Client  { return nil }
func (b *backend) Events(f events.Filter, queue int, fn func(events.Event)) (func(), func() uint64) {
	s := b.bus.Subscribe("test", f, queue, fn)
	return s.Close, s.Dropped
}

// pipes is a listener whose connections are pipes, which a bubble of synctest
// may wait for.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 80), Port: 80} }

// fromConn is a connection that comes from an address.
type fromConn struct {
	net.Conn
	from netip.AddrPort
}

func (c fromConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }

// dial connects from an address.
func (p *pipes) dial(from string) net.Conn {
	here, there := net.Pipe()
	p.conns <- fromConn{there, netip.AddrPortFrom(netip.MustParseAddr(from), 40000)}
	return here
}

// rig is a Server at pipes.
type rig struct {
	t        testing.TB
	pipes    *pipes
	server   *Server
	accounts *Accounts
	backend  *backend
	api      *statsd.Server
	refused  chan string
	stop     func() error
}

// serve runs a Server with people in it.
func serve(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	b := &backend{bus: events.NewBus(nil, func(a, b string) bool { return a == b }), health: statsd.Health{Live: true, Ready: true, Problems: []string{"secret"}}}
	r := &rig{t: t, pipes: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, accounts: NewAccounts(), backend: b,
		api: statsd.NewServer(b, statsd.Options{}), refused: make(chan string, 1000)}
	r.accounts.SetUsers(people(t))
	o := Options{Accounts: r.accounts, API: r.api, Hosts: []string{"Gateway.Example"}, Refused: func(_ netip.Addr, reason string) { r.refused <- reason }}
	if change != nil {
		change(&o)
	}
	r.server = New(o)
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(r.pipes) }()
	r.stop = sync.OnceValue(func() error {
		if err := r.server.Close(context.Background()); err != nil {
			return err
		}
		return <-served
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		_ = r.api.Close(context.Background())
		_ = b.bus.Close(context.Background())
	})
	return r
}

// request is one for the server, from 192.0.2.7.
func (r *rig) request(method, target string, change ...func(*http.Request)) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://192.0.2.80"+target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	return req
}

// send sends a request on a connection of its own.
func (r *rig) send(req *http.Request) *http.Response {
	r.t.Helper()
	resp, err := r.try("192.0.2.7", req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *rig) try(from string, req *http.Request) (*http.Response, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return r.pipes.dial(from), nil
	}}
	return transport.RoundTrip(req)
}

// ask sends a request and reads the answer.
func (r *rig) ask(method, target string, change ...func(*http.Request)) (int, http.Header, string) {
	r.t.Helper()
	resp := r.send(r.request(method, target, change...))
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Type", "application/json")
	}
}

// login logs in and returns what sends the session.
func (r *rig) login(name, password string) func(*http.Request) {
	r.t.Helper()
	resp := r.send(r.request("POST", "/login", body(`{"username":"`+name+`","password":"`+password+`"}`)))
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 {
		r.t.Fatalf("login of %s: %v", name, resp)
	}
	return func(req *http.Request) { req.AddCookie(resp.Cookies()[0]) }
}

// status is the answer to a look at the session.
func (r *rig) status(change ...func(*http.Request)) int {
	r.t.Helper()
	code, _, _ := r.ask("GET", "/v1/session", change...)
	return code
}
