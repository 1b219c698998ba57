package statsd_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/statsd"
)

// client speaks plain HTTP over the socket, a connection for each request.
func (r *running) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", r.path)
		},
	}}
}

// ask sends a plain HTTP request over the socket.
func (r *running) ask(t *testing.T, method, target string, change func(*http.Request)) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://edgebroker"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestRouteTable(t *testing.T) {
	for _, r := range statsd.Routes() {
		looks := r.Access == statsd.Open || r.Access == statsd.Read || r.Access == statsd.Admin || r.Access == statsd.Local
		if (r.Access == statsd.Write) != (r.Method == http.MethodPost) || !looks && r.Access != statsd.Write {
			t.Errorf("%s %s is marked %q: what changes something is a POST, what looks is a GET", r.Method, r.Pattern, r.Access)
		}
	}
}

func TestAnswers(t *testing.T) {
	r := start(t, newFakeBackend(statsd.Client{ID: "dev1", Connected: true}, statsd.Client{ID: "dev2"}), statsd.Options{}, nil)
	for name, c := range map[string]struct {
		method, target string
		status         int
		body           string // part of it
	}{
		"version":              {"GET", "/v1/version", 200, `"version":"1.2.3","goVersion":"go1.`},
		"stats":                {"GET", "/v1/stats", 200, `"clientCount":198,"messageCount":1234567`},
		"clients":              {"GET", "/v1/clients", 200, `[{"id":"dev1"`},
		"clients, sorted, cut": {"GET", "/v1/clients?sort=connected&top=1", 200, `[{"id":"dev1"`},
		"client":               {"GET", "/v1/clients/dev2", 200, `{"id":"dev2"`},
		"kick":                 {"POST", "/v1/clients/dev1/kick", 200, `{"kicked":"dev1"}`},
		"balance":              {"GET", "/v1/balance", 200, `"balanced":false,"accounts":[{"name":"copies at QoS 0","in":[{"name":`},
		"publishers":           {"GET", "/v1/publishers?filter=plant/%23&top=5", 200, `"total":3,"list":[{"topic":"plant/1`},
		"no top":               {"GET", "/v1/publishers?top=0", 400, `"top is not a number of topics"`},
		"topics":               {"GET", "/v1/topics?depth=2&sort=bytes", 200, `"busiest":[{"topic":`},
		"topics, odd order":    {"GET", "/v1/topics?sort=colour", 400, `use one of messages, bytes`},
		"topics, odd depth":    {"GET", "/v1/topics?depth=x", 400, `depth is not a number`},
		"topics too deep":      {"GET", "/v1/topics?depth=9", 400, `too deep`},
		"retained":             {"GET", "/v1/retained?payload=true", 200, `"payload":"21.5"`},
		"clear":                {"POST", "/v1/retained/clear?filter=%23", 200, `{"filter":"#","cleared":7,"dryRun":false}`},
		"clear, tried":         {"POST", "/v1/retained/clear?filter=%23&dry_run=true", 200, `{"filter":"#","cleared":7,"dryRun":true}`},
		"clear what?":          {"POST", "/v1/retained/clear", 400, `a filter is missing`},
		"clear by GET":         {"GET", "/v1/retained/clear?filter=a", 405, `"hint":"use POST"`},
		"clear, no bool":       {"POST", "/v1/retained/clear?filter=a&dry_run=maybe", 400, `neither true nor false`},
		"clear fails":          {"POST", "/v1/retained/clear?filter=broken", 500, `the store has failed`},
		"config":               {"GET", "/v1/config", 200, `[{"key":"log.level","value":"info","preset":true}]`},
		"log level":            {"GET", "/v1/log/level", 200, `{"level":"debug","config":"info"}`},
		"set log level":        {"POST", "/v1/log/level?level=warn", 200, `{"level":"debug"`},
		"no such log level":    {"POST", "/v1/log/level?level=loud", 400, `use one of debug, info, warn, error`},
		"log level is fixed":   {"POST", "/v1/log/level?level=error", 409, `not the broker's to change`},
		"live":                 {"GET", "/healthz", 200, `{"live":true,"ready":true}`},
		"ready":                {"GET", "/readyz", 200, `{"live":true,"ready":true}`},

		"no such path":          {"GET", "/v2", 404, `"error":"no such path"`},
		"root":                  {"GET", "/", 404, `"hint":"try /v1/stats`},
		"no such client":        {"GET", "/v1/clients/nobody", 404, `"error":"no such client"`},
		"kick the absent":       {"POST", "/v1/clients/dev2/kick", 404, `"error":"no such client is connected"`},
		"kick by GET":           {"GET", "/v1/clients/dev1/kick", 405, `"hint":"use POST"`},
		"write to a read route": {"DELETE", "/v1/clients/dev1", 405, `"hint":"use GET"`},
		"unknown order":         {"GET", "/v1/clients?sort=colour", 400, `use one of id, connected, in, out`},
		"top is no number":      {"GET", "/v1/clients?top=x", 400, `"hint":"use ?top=10`},
		"top is negative":       {"GET", "/v1/clients?top=-1", 400, `"hint":"use ?top=10`},
		"fleet":                 {"GET", "/v1/fleet?wait=20ms", 200, `"clientId":"20ms"`},
		"fleet, at once":        {"GET", "/v1/fleet", 200, `"clientId":"1s"`},
		"fleet, too long":       {"GET", "/v1/fleet?wait=6s", 400, `"hint":"use ?wait=2s"`},
		"fleet, no duration":    {"GET", "/v1/fleet?wait=x", 400, `"hint":"use ?wait=2s"`},
		"interval too short":    {"GET", "/v1/stats/stream?interval=1ms", 400, `"hint":"use ?interval=2s"`},
		"interval too long":     {"GET", "/v1/stats/stream?interval=2h", 400, `"hint":"use ?interval=2s"`},
		"interval without unit": {"GET", "/v1/stats/stream?interval=2", 400, `"hint":"use ?interval=2s"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := r.ask(t, c.method, c.target, nil)
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %s, want %d with %s", status, body, c.status, c.body)
			}
			if got := header.Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("not JSON: %s", body)
			}
			if status == 405 && header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
	if kicked := r.backend.kicked; len(kicked) != 1 || kicked[0] != "dev1" {
		t.Errorf("kicked %v, want dev1 once", kicked)
	}
}

func TestProfiles(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	for path, begin := range map[string]string{"/v1/debug/goroutines": "goroutine profile: total ", "/v1/debug/heap": "\x1f\x8b"} {
		status, header, body := r.ask(t, "GET", path, nil)
		if status != 200 || !strings.HasPrefix(body, begin) || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %v, %.40q", path, status, header, body)
		}
	}
}

func TestNoClientsIsAnEmptyList(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	if status, _, body := r.ask(t, "GET", "/v1/clients", nil); status != 200 || body != "[]\n" {
		t.Errorf("%d %q, want []", status, body)
	}
}

func TestBrowsersAreRefused(t *testing.T) {
	r := start(t, newFakeBackend(statsd.Client{ID: "dev1", Connected: true}), statsd.Options{}, nil)
	origin := func(v string) func(*http.Request) {
		return func(req *http.Request) { req.Header["Origin"] = []string{v} }
	}
	host := func(v string) func(*http.Request) { return func(req *http.Request) { req.Host = v } }
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"tool":                      {nil, 200},
		"curl on localhost":         {host("localhost"), 200},
		"page":                      {origin("https://evil.example"), 403},
		"page of the same host":     {origin("http://localhost"), 403},
		"page without a name":       {origin("null"), 403},
		"page with an empty origin": {origin(""), 403},
		"rebound name":              {host("evil.example"), 403},
		"rebound with port":         {host("localhost:8080"), 403},
		"address":                   {host("127.0.0.1"), 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range [][2]string{{"POST", "/v1/clients/dev1/kick"}, {"GET", "/v1/stats"}} {
				status, _, body := r.ask(t, q[0], q[1], c.change)
				if status != c.status {
					t.Errorf("%s %s: %d %s, want %d", q[0], q[1], status, body, c.status)
				}
				if status == 403 && !strings.Contains(body, `"hint":`) {
					t.Errorf("no hint: %s", body)
				}
			}
		})
	}
	if n := len(r.backend.kicked); n != 2 {
		t.Errorf("%d kicks went through, want 2", n)
	}
}

func TestHealth(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	for name, c := range map[string]struct {
		health      statsd.Health
		live, ready int
	}{
		"good":       {statsd.Health{Live: true, Ready: true}, 200, 200},
		"starting":   {statsd.Health{Live: true, Problems: []string{"listener tcp is not bound"}}, 200, 503},
		"deadlocked": {statsd.Health{Ready: true}, 503, 503},
	} {
		t.Run(name, func(t *testing.T) {
			r.backend.setHealth(c.health)
			live, _, _ := r.ask(t, "GET", "/healthz", nil)
			ready, _, body := r.ask(t, "GET", "/readyz", nil)
			if live != c.live || ready != c.ready {
				t.Errorf("live %d, ready %d, want %d and %d", live, ready, c.live, c.ready)
			}
			if len(c.health.Problems) > 0 && !strings.Contains(body, c.health.Problems[0]) {
				t.Errorf("body %s hides the problem", body)
			}
			h, err := r.control.Health(t.Context())
			if err != nil || h.Live != c.health.Live || h.Ready != c.health.Ready || len(h.Problems) != len(c.health.Problems) {
				t.Errorf("client says %+v, %v", h, err)
			}
		})
	}
}
