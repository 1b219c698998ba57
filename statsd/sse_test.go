package statsd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// sse is a server-sent event as a browser has it.
type sse struct{ event, id, data string }

// browse opens a stream as a browser does and returns what comes, closed at its
// end; each comment is an sse whose event is ":".
func (r *running) browse(t *testing.T, target, last string) <-chan sse {
	t.Helper()
	resp := r.open(t, target, last)
	got := make(chan sse, 10000)
	go func() {
		defer close(got)
		defer resp.Body.Close()
		readSSE(resp.Body, got)
	}()
	return got
}

func readSSE(from io.Reader, got chan<- sse) {
	var e sse
	in := bufio.NewScanner(from)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ": ")
		switch {
		case in.Text() == ":":
			got <- sse{event: ":"}
		case in.Text() == "":
			if e != (sse{}) {
				got <- e
			}
			e = sse{}
		case name == "event":
			e.event = value
		case name == "id":
			e.id = value
		case name == "data" && e.data == "":
			e.data = value
		default:
			got <- sse{event: "broken line: " + in.Text()}
		}
	}
}

// open opens a stream as a browser does that comes back, or comes.
func (r *running) open(t *testing.T, target, last string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://edgebroker"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != statsd.EventStream {
		t.Fatalf("%d, content type %q", resp.StatusCode, kind)
	}
	return resp
}

func nextSSE(t *testing.T, from <-chan sse) sse {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event in a minute")
		return sse{}
	}
}

func TestServerSentEvents(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	got := r.browse(t, "/v1/events", "")
	for _, e := range []events.Event{
		message(1, "a", "21.5"),
		message(2, "a", "two\nlines\r\n\ndata: x\n\nid: 7"),
		{ID: "3", Type: "users.created", Source: "dev1", Data: json.RawMessage("{\n\"name\":\n\"ann\"}")},
	} {
		r.backend.bus.Publish(e)
		line, _ := json.Marshal(e)
		if s := nextSSE(t, got); s != (sse{string(e.Type), e.ID, string(line)}) {
			t.Errorf("%+v, want %s", s, line)
		}
	}
	// What would break the form is left out; the JSON has it all.
	r.backend.bus.Publish(events.Event{ID: "4\nid: 5", Type: "a\r\ndata: b", Source: "x"})
	s := nextSSE(t, got)
	var e events.Event
	if err := json.Unmarshal([]byte(s.data), &e); err != nil || s.event != "" || s.id != "" || e.Type != "a\r\ndata: b" {
		t.Errorf("%+v, %v", s, err)
	}

	stats := r.browse(t, "/v1/stats/stream?interval=100ms", "")
	want, _ := json.Marshal(exampleSnapshot())
	for range 2 {
		if s := nextSSE(t, stats); s != (sse{"stats", "", string(want)}) {
			t.Errorf("%+v", s)
		}
	}
}

func TestFormOfStreams(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	for accept, want := range map[string]string{
		"": "application/jsonl", "*/*": "application/jsonl", "application/json": "application/jsonl", "text/*": "application/jsonl",
		"text/event-stream": statsd.EventStream, "Text/Event-Stream; q=0.9": statsd.EventStream, "application/json, text/event-stream": statsd.EventStream,
	} {
		_, h, _ := r.ask(t, "GET", "/v1/events?until=2026-01-01T00:00:00Z", func(q *http.Request) {
			if accept != "" {
				q.Header.Set("Accept", accept)
			}
		})
		if got := h.Get("Content-Type"); got != want || h.Get("Cache-Control") != "no-store" {
			t.Errorf("Accept %q: %q", accept, got)
		}
	}
}

func TestHeartbeatForBrowsers(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, 10*time.Millisecond) })
	got := r.browse(t, "/v1/events", "")
	for range 3 {
		if s := nextSSE(t, got); s.event != ":" {
			t.Errorf("%+v", s)
		}
	}
}

// A browser that comes back gets what is recorded of what it has missed, once,
// and is told when there may be more.
func TestResume(t *testing.T) {
	backend := newFakeBackend()
	for i := range 6 {
		e := events.New(events.System, events.Source, events.SystemData{What: fmt.Sprint(i)})
		backend.past = append(backend.past, e)
	}
	past := func(i int) string { return backend.past[i].ID }
	// Made in between, and not recorded.
	between := events.New(events.Message, "dev1", events.MessageData{}).ID
	backend.past = append(backend.past, events.New(events.System, events.Source, events.SystemData{What: "6"}))
	r := start(t, backend, statsd.Options{}, nil)
	kept := "?type=system,connection"
	for name, c := range map[string]struct {
		target, last, want string
		missed             bool
	}{
		"the rest":                       {"/v1/events" + kept, past(3), "4 5 6", false},
		"nothing":                        {"/v1/events" + kept, past(6), "", false},
		"all types":                      {"/v1/events", past(3), "4 5 6", true},
		"any type":                       {"/v1/events?type=*", past(3), "4 5 6", true},
		"messages":                       {"/v1/events?type=message,system,connection", past(5), "6", true},
		"not recorded":                   {"/v1/events" + kept, between, "6", true},
		"from before what is recorded":   {"/v1/events" + kept, "00000000000000000010", "0 1 2 3 4 5 6", true},
		"another's":                      {"/v1/events" + kept, "yesterday", "", true},
		"since is overruled":             {"/v1/events" + kept + "&follow=true&since=2020-01-01T00:00:00Z", past(3), "4 5 6", false},
		"others are filtered":            {"/v1/events?type=connection", past(3), "", false},
		"what an attacker would inject":  {"/v1/events" + kept, "x data: y", "", true},
		"a very long one, as it happens": {"/v1/events" + kept, strings.Repeat("x", 10000), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.browse(t, c.target, c.last)
			live := events.New(events.Connection, "dev1", events.ConnectionData{ClientID: "dev1"})
			backend.bus.Publish(live)
			var whats []string
			missed := false
			for {
				s := nextSSE(t, got)
				var e events.Event
				if err := json.Unmarshal([]byte(s.data), &e); err != nil {
					t.Fatalf("%+v: %v", s, err)
				}
				if e.ID == live.ID {
					break
				}
				d := e.Data.(events.SystemData)
				if d.What == events.SystemEventsMissed {
					missed = true
					if s.id != "" || len(whats) > 0 || d.Detail == "" {
						t.Errorf("the remark has the id %q, comes after %v: %+v", s.id, whats, d)
					}
					continue
				}
				if s.id != e.ID {
					t.Errorf("id %q of %+v", s.id, e)
				}
				whats = append(whats, d.What)
			}
			if strings.Join(whats, " ") != c.want || missed != c.missed {
				t.Errorf("got %v, missed %v; want %s, %v", whats, missed, c.want, c.missed)
			}
		})
	}
	// One that had come to its end is over: else a browser comes back for ever.
	status, _, body := r.ask(t, "GET", "/v1/events?since=2020-01-01T00:00:00Z", func(q *http.Request) { q.Header.Set("Last-Event-ID", past(3)) })
	if status != http.StatusNoContent || body != "" {
		t.Errorf("a stream of the past alone goes on: %d %s", status, body)
	}
}

// A browser that reads nothing holds up nobody, and hears of what it has lost.
func TestSlowBrowser(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, time.Hour) })
	resp := r.open(t, "/v1/events", "")
	defer resp.Body.Close()
	payload := strings.Repeat("x", 1000)
	const total = 4000
	for i := range total {
		r.backend.bus.Publish(message(i, "a", payload)) // does not wait
	}
	lost := r.backend.bus.Dropped()
	if lost == 0 {
		t.Fatal("nothing was dropped: the test does not test")
	}
	seen, told := 0, 0
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	last := ""
	for seen+told < total && in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			last = in.Text()
			continue
		}
		var e events.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		if d, ok := e.Data.(events.SystemData); ok {
			var n int
			if _, err := fmt.Sscanf(d.Detail, "%d events were lost", &n); err != nil {
				t.Fatal(d.Detail)
			}
			if strings.HasPrefix(last, "id: ") {
				t.Errorf("the remark has an id: %s", last)
			}
			told += n
			continue
		}
		seen++
	}
	if uint64(told) != lost || seen != total-told {
		t.Errorf("saw %d, was told of %d, want %d lost", seen, told, lost)
	}
}

// Profiles are for this machine, and in the form of net/http/pprof.
func TestPprof(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, nil)
	for target, want := range map[string]struct {
		status int
		begin  string
	}{
		"/debug/pprof/heap":                   {200, "\x1f\x8b"},
		"/debug/pprof/goroutine?debug=2":      {200, "goroutine "},
		"/debug/pprof/profile?seconds=0.05":   {200, "\x1f\x8b"},
		"/debug/pprof/trace?seconds=0.05":     {200, "go 1."},
		"/debug/pprof/cmdline":                {404, `{"error":"no such profile"`},
		"/debug/pprof/profile?seconds=0":      {400, `{"error":"seconds`},
		"/debug/pprof/profile?seconds=NaN":    {400, `{"error":"seconds`},
		"/debug/pprof/profile?seconds=1e9":    {400, `{"error":"seconds`},
		"/debug/pprof/heap?debug=9":           {400, `{"error":"debug`},
		"/debug/pprof/..%2f..%2fetc%2fpasswd": {404, `{"error":"no such profile"`},
	} {
		if status, _, body := r.ask(t, "GET", target, nil); status != want.status || !strings.HasPrefix(body, want.begin) {
			t.Errorf("%s: %d %.60q", target, status, body)
		}
	}
	handler := r.server.Handler(1, func(http.ResponseWriter, *http.Request, statsd.Route) bool { return true })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: handler}
	go func() { _ = web.Serve(l) }()
	defer web.Close()
	local := slices.DeleteFunc(statsd.Routes(), func(r statsd.Route) bool { return r.Access != statsd.Local })
	if len(local) == 0 {
		t.Fatal("no route is local: the test does not test")
	}
	for _, route := range local {
		resp, err := http.Get("http://" + l.Addr().String() + strings.ReplaceAll(route.Pattern, "{name}", "heap"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("%s is answered elsewhere: %d", route.Pattern, resp.StatusCode)
		}
	}
}
