package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// A kind of access that nobody has thought of is permitted to nobody.
func TestRolesPermitWhatTheyKnow(t *testing.T) {
	for _, role := range []Role{"", Viewer, Admin, "root"} {
		for access, want := range map[statsd.Access]bool{
			statsd.Open: true, statsd.Read: role == Viewer || role == Admin, statsd.Admin: role == Admin, statsd.Write: role == Admin,
			statsd.Local: false, "": false, "new": false,
		} {
			if role.may(access) != want {
				t.Errorf("role %q, access %q: %v", role, access, !want)
			}
		}
	}
	for groups, want := range map[string]Role{"": Viewer, "viewer": Viewer, "admin": Admin, "viewer,admin": Admin, "devices": "", "Admin": "", "devices,viewer": Viewer} {
		list := strings.FieldsFunc(groups, func(r rune) bool { return r == ',' })
		if got := roleOf(list); got != want {
			t.Errorf("groups %q: %q, want %q", groups, got, want)
		}
	}
}

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		for name, c := range map[string]struct {
			change []func(*http.Request)
			status int
			reason string
		}{
			"good":               {[]func(*http.Request){body(`{"username":"ann","password":"ann"}`)}, 204, ""},
			"wrong password":     {[]func(*http.Request){body(`{"username":"ann","password":"vic"}`)}, 401, "bad_credentials"},
			"unknown user":       {[]func(*http.Request){body(`{"username":"eve","password":"ann"}`)}, 401, "bad_credentials"},
			"empty":              {[]func(*http.Request){body(`{}`)}, 401, "bad_credentials"},
			"a device":           {[]func(*http.Request){body(`{"username":"pump","password":"pump"}`)}, 403, "no_role"},
			"no JSON":            {[]func(*http.Request){body(`username=ann&password=ann`)}, 400, ""},
			"a form":             {[]func(*http.Request){body(`{"username":"ann","password":"ann"}`), header("Content-Type", "text/plain")}, 400, ""},
			"more than a login":  {[]func(*http.Request){body(`{"username":"ann","password":"ann"} {}`)}, 400, ""},
			"unknown field":      {[]func(*http.Request){body(`{"username":"ann","password":"ann","admin":true}`)}, 400, ""},
			"no body":            {nil, 400, ""},
			"too large":          {[]func(*http.Request){body(`{"username":"ann","password":"` + strings.Repeat("x", maxBody) + `"}`)}, 413, ""},
			"another site":       {[]func(*http.Request){body(`{"username":"ann","password":"ann"}`), header("Origin", "http://evil.example")}, 403, ""},
			"another site, told": {[]func(*http.Request){body(`{"username":"ann","password":"ann"}`), header("Sec-Fetch-Site", "cross-site")}, 403, ""},
			"the page":           {[]func(*http.Request){body(`{"username":"ann","password":"ann"}`), header("Origin", "http://192.0.2.80")}, 204, ""},
		} {
			status, h, text := r.ask("POST", "/login", c.change...)
			if status != c.status || (status == 204) != (h.Get("Set-Cookie") != "") || strings.Contains(text, "vic") {
				t.Errorf("%s: %d, %v, %s", name, status, h, text)
			}
			var e struct{ Error, Hint string }
			if status != 204 && (json.Unmarshal([]byte(text), &e) != nil || e.Error == "" || e.Hint == "") {
				t.Errorf("%s: error %s", name, text)
			}
			if c.reason != "" && (len(r.refused) != 1 || <-r.refused != c.reason) {
				t.Errorf("%s: refusal is not told as %s", name, c.reason)
			} else if len(r.refused) > 0 {
				t.Errorf("%s: refusal %s is told", name, <-r.refused)
			}
		}
		if status, h, _ := r.ask("GET", "/login"); status != 405 || h.Get("Allow") != "POST" {
			t.Errorf("GET /login: %d", status)
		}
	})
}

func TestCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		resp := r.send(r.request("POST", "/login", body(`{"username":"ann","password":"ann"}`)))
		c := resp.Cookies()[0]
		if c.Name != "edgebroker_session" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure || c.Domain != "" || c.MaxAge != 0 {
			t.Errorf("cookie %+v", c)
		}
		with := func(q *http.Request) { q.AddCookie(c) }
		if status, _, text := r.ask("GET", "/v1/session", with); status != 200 || text != `{"username":"ann","role":"admin"}`+"\n" {
			t.Errorf("session: %d %s", status, text)
		}
		other := *c
		other.Value = c.Value[:len(c.Value)-1] + "A"
		for _, bad := range []string{other.Value, c.Value + "=", c.Value + "A", "", strings.Repeat("A", 43), strings.ToLower(c.Value)} {
			if bad != c.Value && r.status(func(q *http.Request) { q.AddCookie(&http.Cookie{Name: c.Name, Value: bad}) }) != 401 {
				t.Errorf("token %q is good", bad)
			}
		}
		// A new login ends the one before.
		second := r.send(r.request("POST", "/login", body(`{"username":"vic","password":"vic"}`), with)).Cookies()[0]
		if r.status(with) != 401 || r.status(func(q *http.Request) { q.AddCookie(second) }) != 200 {
			t.Error("the first session goes on")
		}
		status, h, _ := r.ask("POST", "/logout", func(q *http.Request) { q.AddCookie(second) })
		if status != 204 || !strings.Contains(h.Get("Set-Cookie"), "Max-Age=0") || r.status(func(q *http.Request) { q.AddCookie(second) }) != 401 {
			t.Errorf("logout: %d %v", status, h)
		}
		if status, _, _ := r.ask("POST", "/logout"); status != 204 {
			t.Errorf("logout of nobody: %d", status)
		}
	})
}

// What a browser's page has made must not carry WWW-Authenticate, or the browser
// asks for a password and sends it from then on, also for other sites.
func TestBrowsersAreNotChallenged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		for name, c := range map[string]struct {
			change func(*http.Request)
			want   bool
		}{
			"curl":              {header("User-Agent", "curl/8"), true},
			"fetch":             {header("Sec-Fetch-Mode", "cors"), false},
			"fetch, plain http": {header("User-Agent", "Mozilla/5.0 (X11)"), false},
			"event source":      {header("Accept", "text/event-stream"), false},
			"an old session":    {header("Cookie", "edgebroker_session=x"), false},
			"a page":            {header("Origin", "http://192.0.2.80"), false},
		} {
			for _, path := range []string{"/v1/session", "/v1/stats", "/nowhere"} {
				status, h, _ := r.ask("GET", path, c.change)
				if got := h.Get("WWW-Authenticate") != ""; status != 401 || got != c.want {
					t.Errorf("%s, %s: %d, challenge %v", name, path, status, got)
				}
			}
		}
	})
}

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, func(o *Options) { o.Names = func(h string) bool { return h == "cert.example" } })
		for host, want := range map[string]int{
			"192.0.2.80": 200, "192.0.2.80:8443": 200, "[2001:db8::1]:80": 200, "[::1]": 200, "10.1.2.3": 200,
			"localhost": 200, "LOCALHOST:80": 200, "gateway.example": 200, "gateway.example.:80": 200, "cert.example:443": 200,
			"evil.example": 403, "gateway.example.evil.example": 403, "xgateway.example": 403, "localhost.evil.example": 403,
			"192.0.2.80.evil.example": 403, "1.2.3": 403, "0x7f.1": 403, "[evil.example]": 403,
		} {
			for _, path := range []string{"/healthz", "/v1/session"} {
				status, _, text := r.ask("GET", path, basic("ann", "ann"), func(q *http.Request) { q.Host = host })
				if status != want || status == 403 && !strings.Contains(text, "http.hosts") {
					t.Errorf("%s%s: %d %s, want %d", host, path, status, text, want)
				}
			}
		}
	})
}

// Browsers send what they know by HTTP Basic, and cookies to other ports of the
// same host, with requests that pages of others make.
func TestOtherSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		session := r.login("ann", "ann")
		for _, who := range []func(*http.Request){session, basic("ann", "ann")} {
			for name, c := range map[string]struct {
				change    func(*http.Request)
				get, post int
			}{
				"program":                 {header("X", "y"), 200, 200},
				"page":                    {header("Sec-Fetch-Site", "same-origin"), 200, 200},
				"page, without metadata":  {header("Origin", "http://192.0.2.80"), 200, 200},
				"typed":                   {header("Sec-Fetch-Site", "none"), 200, 200},
				"another port":            {header("Sec-Fetch-Site", "same-site"), 403, 403},
				"another site":            {header("Sec-Fetch-Site", "cross-site"), 403, 403},
				"another site, old":       {header("Origin", "http://evil.example"), 200, 403}, // it cannot read the answer
				"another port, old":       {header("Origin", "http://192.0.2.80:81"), 200, 403},
				"page in a file, old":     {header("Origin", "null"), 200, 403},
				"what nobody has defined": {header("Sec-Fetch-Site", "new"), 403, 403},
			} {
				get, h, _ := r.ask("GET", "/v1/stats", who, c.change)
				post, _, _ := r.ask("POST", "/v1/clients/x/kick", who, c.change)
				if get != c.get || post != c.post {
					t.Errorf("%s: GET %d, POST %d; want %d, %d", name, get, post, c.get, c.post)
				}
				for name := range h {
					if strings.HasPrefix(name, "Access-Control") {
						t.Errorf("header %s lets pages read", name)
					}
				}
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Security-Policy", "script-src 'self'")
			fmt.Fprint(w, "page "+q.URL.Path)
		})
		r := serve(t, func(o *Options) { o.Page = page })
		for _, path := range []string{"/healthz", "/v1/stats", "/v1/nowhere", "/"} {
			_, h, text := r.ask("GET", path)
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": ""} {
				if h.Get(name) != want {
					t.Errorf("%s: %s is %q", path, name, h.Get(name))
				}
			}
			if csp := h.Get("Content-Security-Policy"); (path == "/") != (csp == "script-src 'self'") || csp == "" {
				t.Errorf("%s: policy %q", path, csp)
			}
			if path == "/" && text != "page /" {
				t.Errorf("page: %s", text)
			}
		}
		if status, _, text := r.ask("GET", "/assets/a.js"); status != 200 || text != "page /assets/a.js" {
			t.Errorf("assets: %d %s", status, text)
		}
		if status, _, text := r.ask("GET", "/readyz"); status != 200 || text != `{"live":true,"ready":true}`+"\n" {
			t.Errorf("health tells %d %s", status, text)
		}
	})
}

func TestNoPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		for _, path := range []string{"/", "/assets/a.js"} {
			anonymous, _, _ := r.ask("GET", path)
			known, _, _ := r.ask("GET", path, basic("ann", "ann"))
			if anonymous != 401 || known != 404 {
				t.Errorf("%s: %d, %d", path, anonymous, known)
			}
		}
	})
}

// stream begins an event stream and returns what comes, closed at its end.
func (r *rig) stream(who func(*http.Request), path string) <-chan string {
	r.t.Helper()
	resp := r.send(r.request("GET", path, who, header("Accept", "text/event-stream")))
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("stream: %v", resp)
	}
	got := make(chan string, 20000) // of a day, too
	go func() {
		defer close(got)
		defer resp.Body.Close()
		in := bufio.NewReader(resp.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			got <- strings.TrimSuffix(line, "\n")
		}
	}()
	return got
}

// ended reports whether a stream is over, when nothing more happens.
func ended(got <-chan string) bool {
	for {
		synctest.Wait()
		select {
		case _, ok := <-got:
			if !ok {
				return true
			}
		default:
			return false
		}
	}
}

// A stream ends when whoever reads it may not any more, and with the server.
func TestStreamsEnd(t *testing.T) {
	for name, end := range map[string]func(*rig, func(*http.Request)){
		"logout":        func(r *rig, who func(*http.Request)) { r.ask("POST", "/logout", who) },
		"user is gone":  func(r *rig, _ func(*http.Request)) { r.accounts.SetUsers(users(r.t)) },
		"no users":      func(r *rig, _ func(*http.Request)) { r.accounts.SetUsers(nil) },
		"other group":   func(r *rig, _ func(*http.Request)) { r.accounts.SetUsers(users(r.t, line("ann", "ann", "viewer"))) },
		"same password": func(r *rig, _ func(*http.Request)) { r.accounts.SetUsers(users(r.t, line("ann", "ann@x", "admin"))) },
		"server":        func(r *rig, _ func(*http.Request)) { _ = r.stop() },
		"broker":        func(r *rig, _ func(*http.Request)) { _ = r.api.Close(context.Background()) },
		"address gone":  func(r *rig, _ func(*http.Request)) { r.accounts.EndAll() },
		"a day":         func(*rig, func(*http.Request)) {}, // below
	} {
		for _, path := range []string{"/v1/events", "/v1/stats/stream?interval=1h"} {
			t.Run(name+" "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := serve(t, nil)
					who, same := r.login("ann", "ann"), basic("ann", "ann")
					first, second := r.stream(who, path), r.stream(same, path)
					if ended(first) || ended(second) {
						t.Fatal("it ends at once")
					}
					r.accounts.SetUsers(users(t, line("ann", "ann", "admin"), line("new", "new", "")))
					if ended(first) || ended(second) {
						t.Fatal("it ends when nothing has changed for its reader")
					}
					begun := time.Now()
					end(r, who)
					if took := time.Since(begun); took > time.Second {
						t.Errorf("it took %v", took)
					}
					if name == "a day" {
						time.Sleep(sessionLife)
					}
					if !ended(first) {
						t.Error("the stream of a session goes on")
					}
					if want := name != "logout" && name != "a day"; ended(second) != want {
						t.Errorf("the stream of a password: end is %v", !want)
					}
				})
			})
		}
	}
}

func TestEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		got := r.stream(basic("vic", "vic"), "/v1/events")
		e := events.New(events.System, "edgebroker", events.SystemData{What: "started"})
		r.backend.bus.Publish(e)
		text, _ := json.Marshal(e)
		for _, want := range []string{"event: system", "id: " + e.ID, "data: " + string(text), ""} {
			if line := <-got; line != want {
				t.Errorf("%q, want %q", line, want)
			}
		}
		for line := range got {
			if line == ":" { // a heartbeat
				break
			}
		}
	})
}

func TestStreamsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		for i := range maxStreams {
			resp, err := r.try(fmt.Sprintf("192.0.2.%d", i+1), r.request("GET", "/v1/events", basic("ann", "ann")))
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			defer resp.Body.Close()
		}
		if status, _, text := r.ask("GET", "/v1/events", basic("ann", "ann")); status != 503 || !strings.Contains(text, "too many streams") {
			t.Errorf("one too many: %d %s", status, text)
		}
		if r.status(basic("ann", "ann")) != 200 {
			t.Error("other requests suffer")
		}
	})
}

// Whoever sends nothing, or slowly, is cut off.
func TestSlowSenders(t *testing.T) {
	for name, c := range map[string]struct {
		sent  string
		after time.Duration
	}{
		"nothing":        {"", headerTimeout},
		"half a header":  {"GET /healthz HTTP/1.1\r\nHost: local", headerTimeout},
		"half a body":    {"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", bodyTimeout},
		"body elsewhere": {"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", bodyTimeout},
		"a long header":  {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 2*maxHeader), headerTimeout},
		"idle":           {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := serve(t, nil)
				conn := r.pipes.dial("192.0.2.1")
				defer conn.Close()
				begun := time.Now()
				go func() { _, _ = io.WriteString(conn, c.sent) }()
				_, _ = io.ReadAll(conn)
				if took := time.Since(begun); took > c.after+time.Second || took < c.after && name != "a long header" {
					t.Errorf("it took %v, want %v", took, c.after)
				}
			})
		})
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		open := func(from string) bool {
			conn := r.pipes.dial(from)
			t.Cleanup(func() { _ = conn.Close() })
			go func() { _, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
			n, _ := conn.Read(make([]byte, 1))
			return n == 1
		}
		for i := range maxPerNetwork + 1 {
			if got := open(fmt.Sprintf("2001:db8::%x", i+1)); got != (i < maxPerNetwork) {
				t.Errorf("connection %d of a network: %v", i, got)
			}
		}
		for i := range maxConnections - maxPerNetwork + 1 {
			if got := open("127.0.0.1"); got != (i < maxConnections-maxPerNetwork) {
				t.Errorf("connection %d of this machine: %v", i, got)
			}
		}
		time.Sleep(idleTimeout + time.Second) // all of them end
		if !open("192.0.2.1") {
			t.Error("places are not given back")
		}
	})
}

// A socket is handed on with the clients that are about to connect.
func TestDetach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	api := statsd.NewServer(&backend{health: statsd.Health{Live: true}}, statsd.Options{})
	defer api.Close(context.Background())
	ask := func() error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Get("http://" + l.Addr().String() + "/healthz")
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	var served sync.WaitGroup
	for range 20 {
		s := New(Options{Accounts: NewAccounts(), API: api})
		served.Go(func() {
			if err := s.Serve(l); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() { asked <- ask() }()
		s.Detach()
		served.Wait()
		next := New(Options{Accounts: NewAccounts(), API: api})
		served.Go(func() { _ = next.Serve(l) })
		if err := <-asked; err != nil {
			t.Errorf("asked while the socket was handed on: %v", err)
		}
		next.Detach()
		for _, s := range []*Server{s, next} {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		served.Wait()
	}
	never := New(Options{Accounts: NewAccounts(), API: api})
	never.Detach()
	if err := never.Serve(l); err != nil {
		t.Errorf("serve after Detach: %v", err)
	}
	last := New(Options{Accounts: NewAccounts(), API: api})
	served.Go(func() {
		if err := last.Serve(l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if err := ask(); err != nil {
		t.Error(err)
	}
	if err := last.Close(t.Context()); err != nil {
		t.Error(err)
	}
	served.Wait()
	if ask() == nil {
		t.Error("the socket is open after Close")
	}
}

func TestRoutesOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		for _, route := range Routes() {
			status, _, _ := r.ask(route.Method, route.Pattern, basic("vic", "vic"))
			if status == 404 || status == 405 || slices.Contains([]statsd.Access{statsd.Write, statsd.Admin, statsd.Local}, route.Access) {
				t.Errorf("%+v: %d", route, status)
			}
		}
	})
}
