package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/schematest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// apiDocument is docs/api/openapi.json.
type apiDocument struct{ *schematest.Document }

func loadAPI(t testing.TB) apiDocument {
	t.Helper()
	return apiDocument{schematest.Load(t, "../docs/api/openapi.json")}
}

// busyBroker is one of which everything can be asked: with clients, topics,
// retained messages, an uplink that has dead letters, losses and refusals.
func busyBroker(t *testing.T, p *staff, change func(*appliance.Config)) (b *broker, during func()) {
	t.Helper()
	write := func(text, path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var next appliance.Config
	far := start(t, func(c *appliance.Config) { c.Limits.MaxPacketSize = appliance.KiB })
	there, component := natsSystem(t)
	other := start(t, func(c *appliance.Config) { c.Bridges = []appliance.BridgeConfig{inFleet(there, "other")} })
	brokertest.WaitFor(t, "the uplink of another gateway", func() bool { return other.Stats().Bridges[0].State == "up" })
	b = start(t, func(c *appliance.Config) {
		dir := t.TempDir()
		c.Storage.Directory = filepath.Join(dir, "data")
		c.Storage.DailyWriteBudget = appliance.GiB
		c.Access.Passwords, c.Access.Rules, c.Access.Watch = p.path, []string{filepath.Join(dir, "rules")}, false
		write("deny user=pump all secret\nallow any all #\n", c.Access.Rules[0])
		yes := true
		for i := range c.Listeners {
			c.Listeners[i].AllowAnonymous = &yes
		}
		c.Events.Recorder.Messages = true
		c.Events.Sinks = []appliance.SinkConfig{{Name: "audit", Type: appliance.SinkFile, Path: filepath.Join(dir, "events.jsonl")}}
		c.Sessions.MaxQueuedMessages = 3
		c.Sessions.WhenFull = appliance.DropOldest
		c.Statsd.Address = "unixgram:" + filepath.Join(dir, "none.sock")
		c.Bridges = []appliance.BridgeConfig{{Name: "up", Address: "mqtt://" + far.addr, ClientID: "gateway", RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
			AckTimeout: 5 * time.Second, KeepAlive: 30 * time.Second, SessionExpiry: time.Hour, MaxQueuedMessages: 100, MaxQueuedBytes: appliance.MiB, WhenFull: appliance.DropOldest,
			Topics: []appliance.BridgeTopic{{Filter: "up/#", Direction: "out", QoS: 1}}}, inFleet(there, "fleet")}
		change(c)
		next = *c
		next.Limits.PublishRate = 1000
	}, appliance.WithVersion("1.2.3"), appliance.WithLogLevel(new(slog.LevelVar)), appliance.WithConfigSource(func() (appliance.Config, error) { return next, nil }))
	brokertest.WaitFor(t, "the uplinks", func() bool { return b.Stats().Bridges[0].State == "up" && b.Stats().Bridges[1].State == "up" })
	return b, func() {
		away := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "away"))
		away.Subscribe(1, "plant/#", "$share/g/plant/+")
		away.Disconnect()
		pump := brokertest.Kept(wire.V5, "pump-7")
		pump.HasUsername, pump.Username, pump.HasPassword, pump.Password = true, "pump", true, []byte("pump")
		c := brokertest.Dial(t, b.addr, pump).AutoAck()
		c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: "secret"}}})
		c.Subscribe(2, "plant/+")
		c.Subscribe(0, "x")
		for i := range 6 {
			c.Publish("plant/a", fmt.Sprint(i), byte(i%3), i == 0)
		}
		c.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte("plant/b"), Payload: []byte{0xff, 0xfe}, HasExpiry: true, Expiry: 1000})
		c.Publish("up/large", strings.Repeat("x", 2000), 1, false)
		c.Publish("up/small", "x", 1, false)
		c.Publish("plant/long", strings.Repeat("x", statsd.MaxPayload+1), 0, true)
		c.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Dup: true, Topic: []byte("plant/c"), Payload: []byte("x")})
		c.Publish("nobody/listens", "", 0, false)
		c.Unsubscribe("x")
		brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, ".."))
		brokertest.DialAny(t, b.addr, wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "scram", HasAuthMethod: true, AuthMethod: "NONE"})
		gone := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "gone"))
		gone.Subscribe(0, "plant/#")
		gone.Drop()
		for _, subject := range []string{"control.connect", "control.disconnect"} {
			if err := component.Publish(subject, []byte(`{"gateway":"none","data":{"clientId":"web-1","username":"web"}}`)); err != nil {
				t.Fatal(err)
			}
		}
		brokertest.WaitFor(t, "events of a component", func() bool { return b.Stats().Bridges[1].Events.Received >= 2 })
		write("allow any all plant/#\n", next.Access.Rules[0])
		brokertest.WaitFor(t, "a dead letter", func() bool { return b.Stats().Bridges[0].Dead == 1 && b.Stats().Bridges[0].Acked == 1 })
	}
}

// Every route is asked of a real broker, and each answer is what the document
// says, with nothing in it that the document does not know. A route that is not
// in the document fails this, and one that is in it alone.
func TestAPIDocument(t *testing.T) {
	d := loadAPI(t)
	p, pki := newStaff(t), newPKI(t)
	b, during := busyBroker(t, p, func(c *appliance.Config) {
		withHTTP(p)(c)
		c.HTTP.TLS = appliance.HTTPTLSConfig{Certificate: pki.path("server.crt"), PrivateKey: pki.path("server.key")}
	})
	ann := b.browser(t, pki.clientConfig(t, ""), asBasic("ann"))

	streamed, traced := b.streamed(t, ann, "/v1/events"), b.streamed(t, ann, "/v1/trace?address=127.0.0.1&payload=4")
	during()
	b.everyPacket(t)
	strange := brokertest.DialRaw(t, b.addr, wire.V5)
	strange.Send([]byte{0x30, 0x02, 0, 0})
	strange.ExpectClosed()
	wrong := b.browser(t, pki.clientConfig(t, ""), func(r *http.Request) { r.SetBasicAuth("ann", "guess") })
	if status, _ := wrong.ask("GET", "/v1/stats"); status != 401 {
		t.Fatalf("a wrong password: %d", status)
	}

	fill := map[string]map[string]string{
		"/v1/clients/{id}":          {"": "pump-7"},
		"/v1/clients/{id}/kick":     {"": "pump-7"},
		"/v1/client":                {"?": "id=.."},
		"/v1/client/kick":           {"?": "id=.."},
		"/v1/publishers":            {"?": "filter=plant/%23"},
		"/v1/retained":              {"?": "payload=true"},
		"/v1/retained/clear":        {"?": "filter=plant/a"},
		"/v1/log/level":             {"?": "level=debug"},
		"/v1/events":                {"?": "since=2020-01-01T00:00:00Z"},
		"/v1/reload":                {"?": "dry_run=true"},
		"/debug/pprof/{name}":       {"": "heap"},
		"/v1/stats/stream":          {"?": "interval=1h"},
		"/v1/trace":                 {"?": "client=pump-7"},
		"/v1/bridges/{name}/resume": {"": "up"},
	}
	asked := map[string]bool{}
	late := []string{"POST /v1/clients/{id}/kick", "POST /v1/client/kick", "POST /v1/bridges/{name}/dead-letters/replay", "POST /v1/bridges/{name}/dead-letters/discard", "POST /v1/bridges/{name}/test", "POST /v1/bridges/{name}/pause", "POST /v1/bridges/{name}/resume"}
	var routes []string
	for pattern, methods := range d.At("paths") {
		for method := range methods.(map[string]any) {
			if name := strings.ToUpper(method) + " " + pattern; !slices.Contains(late, name) {
				routes = append(routes, name)
			}
		}
	}
	slices.Sort(routes)
	for _, name := range append(routes, late...) {
		method, pattern, _ := strings.Cut(name, " ")
		asked[name] = true
		path := strings.NewReplacer("{id}", "pump-7", "{name}", "up").Replace(pattern)
		if f := fill[pattern]; f != nil {
			path = strings.NewReplacer("{id}", f[""], "{name}", f[""]).Replace(pattern)
			if f["?"] != "" {
				path += "?" + f["?"]
			}
		}
		operation := d.At("paths", pattern, strings.ToLower(method))
		var resp *http.Response
		var err error
		switch {
		case operation["x-access"] == "local":
			resp, err = b.overSocket(t, method, path)
		case pattern == "/login":
			resp, err = ann.do(method, path, `{"username":"vic","password":"vic"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
		default:
			resp, err = ann.do(method, path, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		d.answer(t, name, resp, "paths", pattern, strings.ToLower(method))
	}
	for _, r := range statsd.Routes() {
		if !asked[r.Method+" "+r.Pattern] {
			t.Errorf("%s %s is not in the document", r.Method, r.Pattern)
		}
	}

	// Failures.
	for path, status := range map[string]int{"/v1/clients/nobody": 404, "/v1/nowhere": 404, "/v1/topics?depth=x": 400, "/v1/bridges/none/dead-letters": 404} {
		if got, text := ann.ask("GET", path); got != status {
			t.Errorf("%s: %d %s", path, got, text)
		} else {
			d.Check(t, path, text, "components", "schemas", "Failure")
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	types := map[string]bool{}
	for line := range streamed {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e events.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			types[string(e.Type)] = true
			d.Check(t, "an event", data, "components", "schemas", "Event")
		}
	}
	packets := 0
	for line := range traced {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			packets++
			d.Check(t, "an entry of a trace", data, "components", "schemas", "Entry")
		}
	}
	if packets < 50 {
		t.Errorf("a trace of %d entries: the test does not test", packets)
	}
	// These do not happen here.
	for _, e := range []events.Event{
		events.New(events.Slow, "pump-7", events.SlowData{ClientID: "pump-7", State: events.SlowBegins}),
		events.New("users.created", "pump-7", json.RawMessage(`{"name":"ann"}`)),
		events.New("nothing", "pump-7", nil),
	} {
		text, _ := json.Marshal(e)
		d.Check(t, string(e.Type), string(text), "components", "schemas", "Event")
		types[string(e.Type)] = true
	}
	for _, typ := range []events.Type{events.Connection, events.Disconnection, events.Message, events.Subscription, events.Unsubscription, events.Drop, events.Refusal, events.Bridge, events.System} {
		if !types[string(typ)] {
			t.Errorf("no %s event came: the test does not test", typ)
		}
	}
	d.Uncovered(t, rareProperties, "components", "schemas")
}

// everyPacket has packets come and go with most of what packets may hold.
func (b *broker) everyPacket(t *testing.T) {
	t.Helper()
	con := brokertest.Kept(wire.V5, "rich")
	con.Will = &wire.Will{Topic: "wills/rich", Payload: []byte("gone"), QoS: 1, Retain: true, Delay: 60, Props: []byte{0x26, 0, 1, 'k', 0, 1, 'v'}}
	brokertest.Dial(t, b.addr, con).Disconnect()
	c := brokertest.Dial(t, b.addr, con)
	c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: "rich", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 1}}})
	props := []byte{0x09, 0, 2, 1, 2, 0x26, 0, 1, 'k', 0, 1, 'v'}
	for _, topic := range []string{"rich/topic", ""} {
		c.Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte(topic), Alias: 1, Props: props, Payload: []byte("x")}, 0))
	}
	c.Disconnect()
	brokertest.DialAny(t, b.addr, wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "auth", HasAuthMethod: true, AuthMethod: "NONE", AuthData: []byte("secret")})
}

// streamed begins a stream in the background.
func (b *broker) streamed(t *testing.T, as *browser, path string) <-chan string {
	t.Helper()
	resp, err := as.do("GET", path, "", func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") })
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	got := make(chan string, 100_000)
	go func() {
		defer close(got)
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		for line := range strings.Lines(string(text)) {
			got <- strings.TrimSuffix(line, "\n")
		}
	}()
	return got
}

// overSocket asks on the control socket.
func (b *broker) overSocket(t *testing.T, method, path string) (*http.Response, error) {
	socket := ""
	for _, s := range b.Settings() {
		if s.Key == "control.socket" {
			socket = s.Value
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://edgebroker"+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// answer checks a response of the route that is described at a path of keys.
func (d apiDocument) answer(t *testing.T, name string, resp *http.Response, path ...string) {
	t.Helper()
	defer resp.Body.Close()
	status := fmt.Sprint(resp.StatusCode)
	at := append(slices.Clone(path), "responses", status)
	if d.At(at...) == nil || resp.StatusCode >= 400 {
		text, _ := io.ReadAll(resp.Body)
		t.Errorf("%s: status %s, %s", name, status, text)
		return
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	content := d.At(append(slices.Clone(at), "content")...)
	if content == nil && kind == "" {
		return
	}
	if content[kind] == nil {
		t.Errorf("%s: content type %q is not in the document", name, kind)
		return
	}
	at = append(at, "content", kind, "schema")
	switch kind {
	case "application/json":
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		d.Check(t, name, string(text), at...)
	case "application/jsonl":
		var one json.RawMessage
		in := json.NewDecoder(resp.Body)
		n := 0
		for n < 1000 && in.Decode(&one) == nil {
			n++
			d.Check(t, name, string(one), at...)
			if strings.Contains(name, "stats") || strings.Contains(name, "trace") {
				break
			}
		}
		if n == 0 {
			t.Errorf("%s: an empty stream", name)
		}
	default:
		if n, err := io.Copy(io.Discard, resp.Body); n == 0 || err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

// rareProperties are those of requests, and of failures that this test does not
// cause.
const rareProperties = `Login.username Login.password Health.problems Storage.reason
	Bridge.lastError Bridge.lastErrorAt Bridge.why Entry.missed Packet.behind Packet.left Property.cut`

// What the document forbids is found.
func TestAPIDocumentIsStrict(t *testing.T) {
	d := loadAPI(t)
	for text, schema := range map[string]string{
		`{"kicked":"a","more":1}`:                    "Kicked",
		`{}`:                                         "Kicked",
		`{"kicked":1}`:                               "Kicked",
		`{"busiest":null}`:                           "Topics",
		`{"bridge":"a","count":-1,"extra":{}}`:       "DeadLettersDone",
		`{"id":"x","type":"drop","source":"a"}`:      "Event",
		`{"username":"a","role":"admin","token":""}`: "Session",
		`{"id":"x","type":"system","source":"a","timestamp":"2026-01-01T00:00:00.000000000Z","data":{"what":"started","more":1}}`: "Event",
		`{"id":"x","type":"system","source":"a","timestamp":"yesterday","data":{"what":"started"}}`:                               "Event",
		`{"id":"x","type":"system","source":"a","timestamp":"2026-01-01T00:00:00.000000000Z","data":null}`:                        "Event",
	} {
		if !json.Valid([]byte(text)) {
			t.Fatal(text)
		}
		if d.Valid(t, text, "components", "schemas", schema) == nil {
			t.Errorf("%s is taken for a %s", text, schema)
		}
	}
}
