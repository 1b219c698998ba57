package statsd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/trace"
)

// fakeBackend is a broker with a real event bus and canned answers.
type fakeBackend struct {
	bus *events.Bus

	mu      sync.Mutex
	clients map[string]statsd.Client
	broken  error // what Reload fails with
	kicked  []string
	health  statsd.Health
	past    []events.Event
	paused  []bool

	questions []string // what Answers were asked

	tracer *trace.Tracer
	traces chan *trace.Trace // those that have begun
}

var _ statsd.Backend = (*fakeBackend)(nil)

func newFakeBackend(clients ...statsd.Client) *fakeBackend {
	f := &fakeBackend{
		bus: events.NewBus(nil, func(filter, topic string) bool {
			prefix, wild := strings.CutSuffix(filter, "#")
			return topic == filter || wild && strings.HasPrefix(topic, prefix)
		}),
		clients: make(map[string]statsd.Client),
		tracer:  trace.New(2), traces: make(chan *trace.Trace, 8),
		health: statsd.Health{Live: true, Ready: true},
	}
	for _, c := range clients {
		f.clients[c.ID] = c
	}
	return f
}

func (f *fakeBackend) Snapshot() statsd.Snapshot { return exampleSnapshot() }

func (f *fakeBackend) Clients() []statsd.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []statsd.Client
	for _, c := range f.clients {
		c.Filters = nil
		out = append(out, c)
	}
	return out
}

func (f *fakeBackend) Client(id string) (statsd.Client, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.clients[id]
	return c, ok
}

func (f *fakeBackend) Kick(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.clients[id]; !ok || !c.Connected {
		return false
	}
	f.kicked = append(f.kicked, id)
	return true
}

func (f *fakeBackend) Reload(_ context.Context, try bool) (statsd.Reloaded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return statsd.Reloaded{}, f.broken
	}
	return statsd.Reloaded{
		DryRun: try, Changes: []statsd.Change{{Key: "limits.publish_rate", From: "0", To: "10"}}, Users: 3, Rules: 20,
		Disconnected: 1, Clients: []statsd.AffectedClient{{ID: "pump-1", Why: "its user is gone"}},
	}, nil
}

func (f *fakeBackend) Events(filter events.Filter, queue int, fn func(events.Event)) (func(), func() uint64) {
	s := f.bus.Subscribe("control socket", filter, queue, fn)
	return s.Close, s.Dropped
}

func (f *fakeBackend) Losses() []statsd.Loss {
	return []statsd.Loss{{Client: "b", Topic: "x", Reason: "expired", Count: 2}, {Client: "a", Topic: "y", Reason: "queue_full", Count: 7}, {Client: "a", Topic: "x", Reason: "queue_full", Count: 2}}
}

func (f *fakeBackend) Bridges() []statsd.Bridge {
	return []statsd.Bridge{{Name: "cloud", Address: "mqtts://cloud:8883", State: "up"}, {Name: "plant", Address: "mqtt://plant:1883", State: "down", Why: "connection refused"}}
}

func (f *fakeBackend) Fleet(_ context.Context, wait time.Duration) statsd.Fleet {
	return statsd.Fleet{Gateways: []statsd.FleetGateway{{Name: "plant", ClientID: wait.String(), Answers: true, Uplinks: []statsd.FleetUplink{{Name: "cloud", State: "up"}}}}}
}

func (f *fakeBackend) DeadLetters(name string) (statsd.DeadLetters, error) {
	if name != "cloud" {
		return statsd.DeadLetters{}, fmt.Errorf("%w: %q", statsd.ErrNoBridge, name)
	}
	return statsd.DeadLetters{Total: 300, Letters: []statsd.DeadLetter{{Topic: "t", Why: "too large", Payload: []byte("x"), Size: 1}}}, nil
}

func (f *fakeBackend) EndDeadLetters(name string, replay bool) (int, error) {
	switch {
	case name != "cloud":
		return 0, fmt.Errorf("%w: %q", statsd.ErrNoBridge, name)
	case replay:
		return 300, nil
	}
	return 299, errors.New("disk on fire")
}

func (f *fakeBackend) TestBridge(_ context.Context, name string, own bool) (statsd.BridgeTest, error) {
	if name != "cloud" {
		return statsd.BridgeTest{}, statsd.ErrNoBridge
	}
	return statsd.BridgeTest{Bridge: name, OK: own}, nil
}

func (f *fakeBackend) PauseBridge(name string, pause bool) error {
	if name != "cloud" {
		return fmt.Errorf("%w: %q", statsd.ErrNoBridge, name)
	}
	f.paused = append(f.paused, pause)
	return nil
}

func (f *fakeBackend) History(_ context.Context, q recorder.Query, filter events.Filter, fn func(events.Event) error) error {
	keep := filter.Matcher(func(a, b string) bool { return a == b })
	for _, e := range f.past {
		if e.Time.Before(q.Since) || !q.Until.IsZero() && e.Time.After(q.Until) || !keep(&e) {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeBackend) Trace(q trace.Query) (*trace.Trace, func(), error) {
	t, err := f.tracer.Start(q)
	if err != nil {
		return nil, nil, err
	}
	f.traces <- t
	return t, t.Close, nil
}

func (f *fakeBackend) Health() statsd.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

func (f *fakeBackend) Backup(context.Context, io.Writer) error { return statsd.ErrNoStore }

func (f *fakeBackend) Balance() statsd.Balance { return exampleBalance() }

func (f *fakeBackend) Publishers(filter string, top int) statsd.Found[statsd.TopicPublishers] {
	f.asked("publishers", filter, top)
	return statsd.Found[statsd.TopicPublishers]{Total: 3, List: examplePublishers()}
}

func (f *fakeBackend) Retained(filter string, top int, payload bool) statsd.Found[statsd.Retained] {
	f.asked("retained", filter, top, payload)
	return statsd.Found[statsd.Retained]{Total: 7, List: []statsd.Retained{exampleRetained()}}
}

func (f *fakeBackend) ClearRetained(_ context.Context, filter string) (int, error) {
	f.asked("clear", filter)
	if filter == "broken" {
		return 1, errors.New("the store has failed")
	}
	return 7, nil
}

func (f *fakeBackend) Topics(depth int, byBytes bool, top int) (statsd.Topics, error) {
	f.asked("topics", depth, byBytes, top)
	if depth > 4 {
		return statsd.Topics{}, errors.New("too deep")
	}
	return exampleTopics(), nil
}

func (f *fakeBackend) LogLevel(set string) (statsd.LogLevel, error) {
	f.asked("log level", set)
	if set == "error" {
		return statsd.LogLevel{}, statsd.ErrLogFixed
	}
	return statsd.LogLevel{Level: "debug", Config: "info"}, nil
}

func (f *fakeBackend) Settings() []statsd.Setting {
	return []statsd.Setting{{Key: "log.level", Value: "info", Preset: true}}
}

// asked notes what the backend was asked.
func (f *fakeBackend) asked(words ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.questions = append(f.questions, strings.TrimSpace(fmt.Sprintln(words...)))
}

func (f *fakeBackend) setHealth(h statsd.Health) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health = h
}

// listeners says how many event streams run.
func (f *fakeBackend) listeners() int { return len(f.bus.Stats()) }

// exampleSnapshot has a different value in every field.
func exampleSnapshot() statsd.Snapshot {
	return statsd.Snapshot{
		Version: "1.2.3", StartedAt: time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC), Uptime: 273906.5,
		Listeners:   []statsd.Listener{{Name: "local", Type: "tcp", Address: "127.0.0.1:1883", Sockets: 208}, {Name: "evil\x1b[2J", Type: "unix", Address: "/run/mqtt.sock", Sockets: 3}},
		ClientCount: 198, MessageCount: 1234567,
		Connections:   statsd.Connections{Current: 199, Maximum: 200, Total: 4321, Refused: 17, Sockets: 211, Opened: 4400},
		Sessions:      statsd.Sessions{Total: 210, Connected: 198, Kept: 12, Expired: 5},
		Subscriptions: statsd.Subscriptions{Total: 640, Shared: 8},
		Retained:      statsd.Store{Messages: 1402, Bytes: 184320},
		Received:      statsd.Traffic{Messages: 1234567, QoS0: 1000000, QoS1: 234000, QoS2: 567, PayloadBytes: 123456789, Packets: 1500000, Bytes: 150000000},
		Sent:          statsd.Traffic{Messages: 7654321, QoS0: 7000000, QoS1: 654000, QoS2: 321, PayloadBytes: 987654321, Packets: 8000000, Bytes: 1100000000},
		Dropped:       statsd.Dropped{Total: 42, ByReason: map[string]uint64{"queue_full": 40, "expired": 2, "no_local": 0}},
		Delivery:      statsd.Delivery{Measured: 5000, Seconds: 1.5, P50: 0.000128, P99: 0.004096, Times: exampleTimes()},
		PayloadSizes:  []uint64{200000, 1000000, 30000, 4000, 500, 60, 7, 0, 0, 0, 0, 0, 0},
		Queued:        statsd.Queued{Messages: 31, Bytes: 5120, Inflight: 9},
		Outbound:      statsd.Outbound{Packets: 61, Bytes: 70001},
		Push:          statsd.PushStats{Datagrams: 71, Dropped: 6},
		OTLP:          statsd.OTLPStats{Reports: 61, Failed: 5, Rejected: 2},
		Rates:         statsd.Rates{Received: statsd.Rate{Min1: 1234.56, Min5: 1100, Min15: 900.04}, Sent: statsd.Rate{Min1: 2, Min5: 3, Min15: 4}, Dropped: statsd.Rate{Min1: 0.25}, Lost: statsd.Rate{Min1: 0.125}, BytesReceived: statsd.Rate{Min1: 2048, Min5: 1024, Min15: 512}, BytesSent: statsd.Rate{Min1: 1 << 20, Min5: 6, Min15: 7}, Connections: statsd.Rate{Min1: 0.1, Min5: 0.2, Min15: 0.3}},
		Storage:       exampleStorage(),
		Memory:        statsd.Memory{Heap: 12 << 20, Sys: 30 << 20, Resident: 24 << 20, Goroutines: 431},
		Budget: statsd.Budget{Bytes: 64 << 20, Source: "/sys/fs/cgroup/memory.max", Used: 53 << 20, Most: 57 << 20, Level: "guarded", Pressure: 1,
			Begun: map[string]uint64{"guarded": 3, "shedding": 1}, Outbound: 2 << 20, Input: 1 << 20, Shed: map[string]uint64{"connections": 4, "qos0": 17, "spilled": 100}},
		Events:         statsd.EventStats{Published: 99, Dropped: 3, Listeners: 2},
		Sinks:          []statsd.EventSink{{Name: "audit", Sent: 81, Dropped: 82, Errors: 83, Waiting: 84, Bytes: 85}},
		Refusals:       map[string]uint64{"connect": 7, "publish": 12, "subscribe": 0, "publish_rate": 1},
		Disconnections: map[string]uint64{"normal": 4000, "keepalive_timeout": 100, "tcp_closed": 23},
		Bridges: []statsd.Bridge{
			{Name: "cloud", Address: "mqtts://cloud.example.com:8883", ClientID: "gw-17", State: "up", Since: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC), Attempts: 4, Connects: 3,
				Queued: statsd.Store{Messages: 1200, Bytes: 99000}, Inflight: 4, Unanswered: 0.25, Sent: statsd.Count{Messages: 5004, PayloadBytes: 80064}, Acked: 5000, Retried: 2,
				Received: statsd.Count{Messages: 7, PayloadBytes: 70}, Refused: 3, Dead: 2, Loops: 1, Dropped: 9, Persistent: true,
				Events: &statsd.BridgeEvents{Sent: 11, Received: 12, Dropped: 13, Refused: 14}},
			{Name: "plant", Address: "mqtt://10.0.0.9:1883", ClientID: "gw-17-plant", State: "down", Why: "the far side has ended the connection: not authorized (\"\x1b[2J\")", Since: time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)},
		},
		Certificates: []statsd.Certificate{
			{Listener: "lan", Role: "certificate", Subject: "CN=gateway", Path: "/etc/edgebroker/server.crt", NotAfter: time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC), State: statsd.CertificateExpiring},
			{Listener: "lan", Role: "client_ca", Subject: "CN=\"plant\" \x1b[2J", Path: "/etc/edgebroker/ca.crt", NotAfter: time.Date(2046, 3, 20, 0, 0, 0, 0, time.UTC), State: statsd.CertificateOK},
			{Listener: "lan", Role: "client_ca", Subject: "CN=\"plant\" \x1b[2J", Path: "/etc/edgebroker/ca.crt", NotAfter: time.Date(2036, 3, 20, 0, 0, 0, 0, time.UTC), State: statsd.CertificateOK},
			{Listener: "lan", Role: "crl", Subject: "CN=plant", Path: "/etc/edgebroker/ca.crl", State: statsd.CertificateOK},
			{Listener: "web", Role: "crl", Subject: "CN=web", Path: "/etc/edgebroker/web.crl", NotAfter: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), State: statsd.CertificateExpired},
		},
	}
}

// exampleTimes has 5,000 deliveries.
func exampleTimes() []uint64 {
	times := make([]uint64, 26)
	times[0], times[2], times[7], times[8], times[12], times[24], times[25] = 10, 990, 2000, 1900, 90, 9, 1
	return times
}

// running is a server that answers, with the parts around it.
type running struct {
	backend *fakeBackend
	server  *statsd.Server
	path    string
	control *statsd.ControlClient
	stop    func() error // closes the server and waits for Serve; once
}

// start runs a server on a socket in a fresh directory until the test ends.
// change, if not nil, is called before the server listens.
func start(t *testing.T, backend *fakeBackend, opts statsd.Options, change func(*statsd.Server)) *running {
	t.Helper()
	return startBackend(t, backend, backend, opts, change)
}

// startBackend is start for a broker that differs from the fake it is made of.
func startBackend(t *testing.T, b statsd.Backend, backend *fakeBackend, opts statsd.Options, change func(*statsd.Server)) *running {
	t.Helper()
	r := &running{backend: backend, server: statsd.NewServer(b, opts), path: filepath.Join(t.TempDir(), "c.sock")}
	if change != nil {
		change(r.server)
	}
	if err := r.server.Listen(r.path, 0); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve() }()
	r.control = statsd.Dial(r.path)
	r.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		r.control.Close()
		return errors.Join(r.server.Close(ctx), <-served, backend.bus.Close(ctx))
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

// waitFor waits until cond holds, for things that a socket's peer does in its
// own time.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}
