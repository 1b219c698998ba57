package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/web"
	"github.com/synthetism/edgebroker/wire"
)

// staff is a file of users whose passwords are their names: ann is an admin,
// vic a viewer, pump a device. It is made as `edgebroker users add` makes it.
type staff struct{ path string }

func newStaff(t testing.TB) *staff {
	t.Helper()
	p := &staff{filepath.Join(t.TempDir(), "people")}
	p.edit(t, func(e *auth.PasswordEdit) error {
		return errors.Join(e.Add("ann", cheapHash("ann"), []string{"admin"}), e.Add("vic", cheapHash("vic"), []string{"viewer"}), e.Add("pump", cheapHash("pump"), []string{"devices"}))
	})
	return p
}

// cheapHash is the hash of a password as mosquitto_passwd makes it, which costs
// nothing. It is another one each time.
func cheapHash(password string) string {
	salt := make([]byte, 12)
	_, _ = rand.Read(salt)
	sum := sha512.Sum512(append([]byte(password), salt...))
	b64 := base64.StdEncoding.EncodeToString
	return "$6$" + b64(salt) + "$" + b64(sum[:])
}

func (p *staff) edit(t testing.TB, change func(*auth.PasswordEdit) error) {
	t.Helper()
	if err := auth.EditPasswordFile(t.Context(), p.path, change); err != nil {
		t.Fatal(err)
	}
}

// withHTTP adds an HTTP address.
func withHTTP(p *staff) func(*appliance.Config) {
	return func(c *appliance.Config) {
		c.HTTP.Address, c.HTTP.Users = "127.0.0.1:0", p.path
	}
}

// browser is a client of the HTTP address.
type browser struct {
	t      testing.TB
	base   string
	client *http.Client
	who    func(*http.Request)
}

func (b *broker) browser(t testing.TB, config *tls.Config, who func(*http.Request)) *browser {
	t.Helper()
	br := &browser{t: t, base: "http://" + b.HTTPAddr(), who: who, client: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: config},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if config != nil {
		br.base = "https://" + b.HTTPAddr()
	}
	return br
}

func anonymous(*http.Request) {}

func asBasic(name string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, name) }
}

// do sends a request whose answer the caller closes.
func (b *browser) do(method, path string, body string, change ...func(*http.Request)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	b.who(req)
	for _, c := range change {
		c(req)
	}
	return b.client.Do(req)
}

// ask sends a request and reads the answer, or of a stream its head.
func (b *browser) ask(method, path string, change ...func(*http.Request)) (int, string) {
	b.t.Helper()
	resp, err := b.do(method, path, "", change...)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind == statsd.EventStream || kind == "application/jsonl" {
		return resp.StatusCode, ""
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// login makes who a session.
func (b *browser) login(name string) *browser {
	b.t.Helper()
	resp, err := b.do("POST", "/login", fmt.Sprintf(`{"username":%q,"password":%q}`, name, name), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 204 || len(resp.Cookies()) != 1 {
		b.t.Fatalf("login of %s: %v", name, resp)
	}
	next := *b
	next.who = func(r *http.Request) { r.AddCookie(resp.Cookies()[0]) }
	return &next
}

// Every route is asked by everybody, in both ways to say who one is. A route of a
// kind that this test does not know fails it.
func TestHTTPRoles(t *testing.T) {
	p := newStaff(t)
	b := start(t, withHTTP(p))
	nobody := b.browser(t, nil, anonymous)
	roles := []struct {
		name string
		as   map[string]*browser
	}{
		{"nobody", map[string]*browser{"-": nobody}},
		{"pump", map[string]*browser{"basic": b.browser(t, nil, asBasic("pump"))}},
		{"vic", map[string]*browser{"basic": b.browser(t, nil, asBasic("vic")), "session": nobody.login("vic")}},
		{"ann", map[string]*browser{"basic": b.browser(t, nil, asBasic("ann")), "session": nobody.login("ann")}},
	}
	// Who gets in, by access: nobody, a device, a viewer, an admin. 0: it answers.
	want := map[statsd.Access][4]int{
		statsd.Open:  {0, 0, 0, 0},
		statsd.Read:  {401, 403, 0, 0},
		statsd.Admin: {401, 403, 403, 0},
		statsd.Write: {401, 403, 403, 0},
		statsd.Local: {401, 403, 404, 404},
	}
	fill := strings.NewReplacer("{id}", "x", "{name}", "heap")
	for _, route := range append(statsd.Routes(), web.Routes()...) {
		allowed, known := want[route.Access]
		if !known {
			t.Errorf("%s %s: access %q is judged by nobody", route.Method, route.Pattern, route.Access)
			continue
		}
		for i, role := range roles {
			for how, as := range role.as {
				path := fill.Replace(route.Pattern)
				if path == "/logout" { // of nobody
					as = nobody
				}
				status, text := as.ask(route.Method, path)
				answered := status != 401 && status != 403
				if allowed[i] == 0 && !answered && path != "/login" || allowed[i] != 0 && status != allowed[i] {
					t.Errorf("%s %s (%s) for %s by %s: %d %.100s", route.Method, path, route.Access, role.name, how, status, text)
				}
				if allowed[i] == 0 && (status == 405 || status == 404 && !strings.Contains(route.Pattern, "{")) {
					t.Errorf("%s %s for %s: %d %.100s", route.Method, path, role.name, status, text)
				}
			}
		}
	}
}

// What somebody has changed is in the log, by name.
func TestHTTPChangesAreLogged(t *testing.T) {
	p := newStaff(t)
	var log brokertest.Log
	b := start(t, withHTTP(p), appliance.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "pump-7"))
	ann := b.browser(t, nil, anonymous).login("ann")
	if status, text := ann.ask("POST", "/v1/clients/pump-7/kick"); status != 200 {
		t.Fatalf("kick: %d %s", status, text)
	}
	for _, want := range []string{"changed over http", "username=ann", `POST /v1/clients/pump-7/kick`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log.String())
		}
	}
}

// A wrong password is an event.
func TestHTTPRefusalIsAnEvent(t *testing.T) {
	b := start(t, withHTTP(newStaff(t)))
	refused := make(chan events.RefusalData, 10)
	b.On("refusal", func(e events.Event) { refused <- e.Data.(events.RefusalData) })
	if status, _ := b.browser(t, nil, func(r *http.Request) { r.SetBasicAuth("ann", "guess") }).ask("GET", "/v1/stats"); status != 401 {
		t.Fatalf("status %d", status)
	}
	if d := <-refused; d != (events.RefusalData{Remote: "127.0.0.1", What: "login", Reason: "bad_credentials"}) {
		t.Errorf("event %+v", d)
	}
}

// sse are the lines of an event stream, closed at its end.
func (b *browser) sse(path string) <-chan string {
	b.t.Helper()
	resp, err := b.do("GET", path, "", func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") })
	if err != nil || resp.StatusCode != 200 {
		b.t.Fatal(resp, err)
	}
	got := make(chan string, 1000)
	go func() {
		defer close(got)
		defer resp.Body.Close()
		in := bufio.NewScanner(resp.Body)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			got <- in.Text()
		}
	}()
	return got
}

// until reads lines up to one that begins with prefix; false at the end.
func until(got <-chan string, prefix string) bool {
	for line := range got {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// A change of the address leaves MQTT clients alone, and sessions too.
func TestHTTPReload(t *testing.T) {
	p, pki := newStaff(t), newPKI(t)
	e := startEditable(t, func(c *appliance.Config) { c.HTTP.Users = p.path })
	c := brokertest.Dial(t, e.addr, brokertest.Clean(wire.V5, "pump-7"))
	c.Subscribe(1, "a")
	works := func(what string) {
		t.Helper()
		c.Publish("a", what, 1, false)
		c.ExpectMessage("a", what)
	}
	if e.HTTPAddr() != "" {
		t.Fatal("there is an address that nobody has configured")
	}
	port := freePort(t)
	e.edit(func(c *appliance.Config) { c.HTTP.Address = "127.0.0.1:" + port })
	e.mustReload(t)
	works("on")
	first := e.HTTPAddr()
	ann := e.browser(t, nil, anonymous).login("ann")
	stream := ann.sse("/v1/events")
	e.edit(func(c *appliance.Config) { c.HTTP.Hosts = []string{"gateway.example"} })
	byName := func(r *http.Request) { r.Host = "gateway.example" }
	if status, _ := ann.ask("GET", "/v1/session", byName); status != 403 {
		t.Fatalf("an unknown host: %d", status)
	}
	e.mustReload(t)
	if status, _ := ann.ask("GET", "/v1/session", byName); status != 200 || e.HTTPAddr() != first {
		t.Errorf("the host counts: %d, address %s", status, e.HTTPAddr())
	}
	if until(stream, "event: nothing") {
		t.Error("a stream of the address before goes on")
	}

	// To TLS, at the same address.
	e.edit(func(c *appliance.Config) {
		c.HTTP.TLS.Certificate, c.HTTP.TLS.PrivateKey = pki.path("server.crt"), pki.path("server.key")
	})
	e.mustReload(t)
	secure := e.browser(t, pki.clientConfig(t, ""), ann.who)
	if status, _ := secure.ask("GET", "/v1/session"); status != 200 {
		t.Errorf("the session does not go on with TLS: %d", status)
	}
	if status, text := ann.ask("GET", "/v1/session"); status != 400 || !strings.Contains(text, "HTTPS") {
		t.Errorf("plain HTTP goes on: %d %s", status, text)
	}
	works("tls")

	// An address that somebody else has leaves everything as it is.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := e.file
	for _, address := range []string{taken.Addr().String(), "192.0.2.99:80"} {
		e.edit(func(c *appliance.Config) { c.HTTP.Address, c.HTTP.Dashboard = address, "off" })
		for _, reload := range []func(context.Context) (appliance.ReloadReport, error){e.TryReload, e.Reload} {
			if _, err := reload(t.Context()); !errors.Is(err, appliance.ErrListen) || !strings.Contains(err.Error(), "http.address") {
				t.Errorf("%s: %v", address, err)
			}
			if status, _ := secure.ask("GET", "/v1/session"); status != 200 || e.HTTPAddr() != first {
				t.Errorf("%s: the address before is gone: %d, %s", address, status, e.HTTPAddr())
			}
		}
	}
	// So do files that are not good.
	for name, change := range map[string]func(*appliance.Config){
		"users": func(c *appliance.Config) { c.HTTP.Users = pki.path("server.crt") },
		"key":   func(c *appliance.Config) { c.HTTP.TLS.PrivateKey = pki.path("nothing") },
	} {
		e.edit(func(c *appliance.Config) { *c = before; change(c) })
		if _, err := e.Reload(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if status, _ := secure.ask("GET", "/v1/session"); status != 200 {
			t.Errorf("%s: %d", name, status)
		}
	}

	// To every interface at the same port, where the address before is in the
	// way of the new one; and back.
	for _, address := range []string{":" + port, "127.0.0.1:" + port} {
		e.edit(func(c *appliance.Config) { *c = before; c.HTTP.Address = address })
		e.mustReload(t)
		if status, _ := e.browser(t, pki.clientConfig(t, ""), func(r *http.Request) { ann.who(r) }).at("127.0.0.1:"+port).ask("GET", "/v1/session"); status != 200 {
			t.Errorf("at %s: %d", address, status)
		}
	}
	// With another program in the way of the new address, the one before is
	// bound again.
	other, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err == nil {
		e.edit(func(c *appliance.Config) { *c = before; c.HTTP.Address = "0.0.0.0:" + port })
		if _, err := e.Reload(t.Context()); !errors.Is(err, appliance.ErrListen) {
			t.Errorf("reload: %v", err)
		}
		if status, _ := secure.ask("GET", "/v1/session"); status != 200 {
			t.Errorf("the address before is gone: %d", status)
		}
		_ = other.Close()
	}

	e.edit(func(c *appliance.Config) { *c = before; c.HTTP.Address = "" })
	e.mustReload(t)
	if _, err := secure.do("GET", "/healthz", ""); err == nil || e.HTTPAddr() != "" {
		t.Error("an address that is configured no more answers")
	}
	e.edit(func(c *appliance.Config) { *c = before })
	e.mustReload(t)
	if status, _ := secure.ask("GET", "/v1/session"); status != 401 {
		t.Errorf("a session outlives its address: %d", status)
	}
	works("end")
}

// at is b at another address.
func (b *browser) at(address string) *browser {
	next := *b
	scheme, _, _ := strings.Cut(b.base, "//")
	next.base = scheme + "//" + address
	return &next
}

// A reload that is asked for over HTTP and moves the address is answered.
func TestHTTPReloadByItself(t *testing.T) {
	p := newStaff(t)
	e := startEditable(t, withHTTP(p))
	ann := e.browser(t, nil, asBasic("ann"))
	for i := range 3 {
		e.edit(func(c *appliance.Config) { c.HTTP.Hosts = []string{fmt.Sprintf("h%d.example", i)} })
		if status, text := ann.ask("POST", "/v1/reload"); status != 200 || !strings.Contains(text, "http.hosts") {
			t.Fatalf("%d %s", status, text)
		}
	}
	e.edit(func(c *appliance.Config) { c.HTTP.Address = "" })
	if status, text := ann.ask("POST", "/v1/reload"); status != 200 || !strings.Contains(text, "http.address") {
		t.Fatalf("%d %s", status, text)
	}
}

// A changed file of users counts at a reload: whose entry has changed is out.
func TestHTTPUsersReload(t *testing.T) {
	p := newStaff(t)
	b := start(t, withHTTP(p))
	nobody := b.browser(t, nil, anonymous)
	ann, vic := nobody.login("ann"), nobody.login("vic")
	gone, stays := ann.sse("/v1/events"), vic.sse("/v1/events")
	p.edit(t, func(e *auth.PasswordEdit) error { return e.SetHash("ann", cheapHash("ann")) })
	if _, err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if until(gone, "event: nothing") {
		t.Error("a stream outlives its user's password")
	}
	if status, _ := ann.ask("GET", "/v1/session"); status != 401 {
		t.Errorf("a session outlives its user's password: %d", status)
	}
	if status, _ := vic.ask("GET", "/v1/session"); status != 200 || !until(stays, "event: system") {
		t.Errorf("somebody else is out: %d", status)
	}
}

// A renewed certificate is shown to those who connect from then on.
func TestHTTPCertificateRenewal(t *testing.T) {
	p, pki := newStaff(t), newPKI(t)
	b := start(t, func(c *appliance.Config) {
		withHTTP(p)(c)
		c.HTTP.TLS = appliance.HTTPTLSConfig{Certificate: pki.path("server.crt"), PrivateKey: pki.path("server.key"), MinVersion: "1.3"}
	})
	serial := func() string {
		t.Helper()
		resp, err := b.browser(t, pki.clientConfig(t, ""), asBasic("vic")).do("GET", "/v1/version", "")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 || resp.TLS.Version != tls.VersionTLS13 || resp.Proto != "HTTP/1.1" {
			t.Errorf("%v, TLS %x, %s", resp.Status, resp.TLS.Version, resp.Proto)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	if before != serial() {
		t.Fatal("the certificate changes by itself")
	}
	pki.issue(t, "server")
	if err := b.ReloadCertificates(); err != nil {
		t.Fatal(err)
	}
	renewed := serial()
	if renewed == before {
		t.Error("the certificate before is shown")
	}
	pki.issue(t, "server")
	if _, err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if serial() == renewed {
		t.Error("a reload does not renew it")
	}
	resp, err := b.browser(t, pki.clientConfig(t, ""), anonymous).do("POST", "/login", `{"username":"ann","password":"ann"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	if err != nil || len(resp.Cookies()) != 1 || !resp.Cookies()[0].Secure {
		t.Errorf("the cookie is not for TLS alone: %v %v", resp, err)
	}
	resp.Body.Close()
	names := 0
	for _, c := range b.Certificates() {
		if c.Listener == "http" && c.Role == "certificate" && !c.NotAfter.IsZero() {
			names++
		}
	}
	if names != 1 {
		t.Errorf("certificates %+v", b.Certificates())
	}
}

// Whoever shows no certificate does not come as far as the login, where that is
// asked for.
func TestHTTPClientCertificates(t *testing.T) {
	p, pki := newStaff(t), newPKI(t)
	pki.issue(t, "tablet")
	b := start(t, func(c *appliance.Config) {
		withHTTP(p)(c)
		c.HTTP.TLS = appliance.HTTPTLSConfig{Certificate: pki.path("server.crt"), PrivateKey: pki.path("server.key"), ClientCA: pki.CertificateFile()}
	})
	if _, err := b.browser(t, pki.clientConfig(t, ""), asBasic("ann")).do("GET", "/healthz", ""); err == nil {
		t.Error("no certificate is needed")
	}
	tablet := pki.clientConfig(t, "tablet")
	if status, _ := b.browser(t, tablet, anonymous).ask("GET", "/v1/stats"); status != 401 {
		t.Errorf("a certificate is a login: %d", status)
	}
	if status, _ := b.browser(t, tablet, asBasic("vic")).ask("GET", "/v1/stats"); status != 200 {
		t.Errorf("with both: %d", status)
	}
}

// Streams end when the broker stops, and nothing is left behind.
func TestHTTPStop(t *testing.T) {
	p := newStaff(t)
	b := start(t, withHTTP(p))
	ann := b.browser(t, nil, anonymous).login("ann")
	streams := []<-chan string{ann.sse("/v1/events"), ann.sse("/v1/stats/stream?interval=1h")}
	idle, err := net.Dial("tcp", b.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	for _, s := range streams {
		if until(s, "event: nothing") {
			t.Error("a stream goes on")
		}
	}
}

// The start fails, and leaves nothing behind, when the address cannot be served.
func TestHTTPStartFails(t *testing.T) {
	p := newStaff(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(broken, []byte("ann:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*appliance.HTTPConfig)
		want   string
	}{
		"address in use":   {func(h *appliance.HTTPConfig) { h.Address = taken.Addr().String() }, "http.address"},
		"no users":         {func(h *appliance.HTTPConfig) { h.Users = "/nowhere/users" }, "http.users"},
		"broken users":     {func(h *appliance.HTTPConfig) { h.Users = broken }, "http.users"},
		"no certificate":   {func(h *appliance.HTTPConfig) { h.TLS.Certificate, h.TLS.PrivateKey = "/nowhere/crt", "/nowhere/key" }, "certificate"},
		"not this machine": {func(h *appliance.HTTPConfig) { h.Address, h.Plain = "192.0.2.99:80", true }, "http.address"},
	} {
		t.Run(name, func(t *testing.T) {
			brokertest.NoLeaks(t)
			cfg := appliance.DefaultConfig()
			cfg.Listeners[0].Address = "127.0.0.1:0"
			withHTTP(p)(&cfg)
			c.change(&cfg.HTTP)
			b, err := appliance.New(cfg, appliance.WithoutControl())
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("start: %v, want something about %s", err, c.want)
			}
			if err := b.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

// The page is there for this machine, and else when somebody has said so.
func TestHTTPDashboard(t *testing.T) {
	for _, c := range []struct {
		address string
		set     appliance.Dashboard
		want    bool
	}{
		{"127.0.0.1:8080", "auto", true}, {"127.0.0.1:8080", "", true}, {"localhost:8080", "auto", true}, {"[::1]:8080", "auto", true},
		{"0.0.0.0:8080", "auto", false}, {":8080", "auto", false}, {"gateway:8080", "auto", false}, {"0.0.0.0:8080", "on", true},
		{"127.0.0.1:8080", "off", false}, {"", "on", false},
	} {
		if got := (appliance.HTTPConfig{Address: c.address, Dashboard: c.set}).HasDashboard(); got != c.want {
			t.Errorf("%s, %s: %v", c.address, c.set, got)
		}
	}
	p := newStaff(t)
	b := start(t, func(c *appliance.Config) { withHTTP(p)(c); c.HTTP.Dashboard = "off" })
	if status, _ := b.browser(t, nil, anonymous).ask("GET", "/"); status != 401 {
		t.Errorf("a page that is off: %d", status)
	}
}

// A scrape every few seconds, by HTTP Basic, as Prometheus does it.
func TestHTTPScrape(t *testing.T) {
	b := start(t, withHTTP(newStaff(t)))
	vic := b.browser(t, nil, asBasic("vic"))
	for range 20 {
		status, text := vic.ask("GET", "/metrics")
		if status != 200 || !bytes.Contains([]byte(text), []byte("edgebroker_build_info")) {
			t.Fatalf("%d %.100s", status, text)
		}
	}
}
