package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/trace"
)

// fakeBroker is a statsd.Backend with fixed answers. Its clients bring names
// that a terminal would act on.
type fakeBroker struct {
	statsd.Answers // only Topics is asked here
	snapshot       statsd.Snapshot
	clients        []statsd.Client
	health         statsd.Health
	events         []events.Event // sent to every stream, at once
	losses         []statsd.Loss
	kicked         chan string
}

var _ statsd.Backend = (*fakeBroker)(nil)

func (f *fakeBroker) Snapshot() statsd.Snapshot { return f.snapshot }
func (f *fakeBroker) Health() statsd.Health     { return f.health }
func (f *fakeBroker) Trace(trace.Query) (*trace.Trace, func(), error) {
	return nil, nil, trace.ErrTooMany
}
func (f *fakeBroker) Clients() []statsd.Client { return slices.Clone(f.clients) }

func (f *fakeBroker) Reload(_ context.Context, try bool) (statsd.Reloaded, error) {
	return statsd.Reloaded{DryRun: try, Users: 2, Rules: 7, Disconnected: 1}, nil
}

func (f *fakeBroker) Losses() []statsd.Loss                             { return f.losses }
func (f *fakeBroker) Bridges() []statsd.Bridge                          { return f.snapshot.Bridges }
func (f *fakeBroker) Fleet(context.Context, time.Duration) statsd.Fleet { return statsd.Fleet{} }
func (f *fakeBroker) DeadLetters(string) (statsd.DeadLetters, error) {
	return statsd.DeadLetters{}, statsd.ErrNoBridge
}
func (f *fakeBroker) EndDeadLetters(string, bool) (int, error) { return 0, statsd.ErrNoBridge }
func (f *fakeBroker) TestBridge(context.Context, string, bool) (statsd.BridgeTest, error) {
	return statsd.BridgeTest{}, statsd.ErrNoBridge
}
func (f *fakeBroker) PauseBridge(string, bool) error { return statsd.ErrNoBridge }

func (f *fakeBroker) History(_ context.Context, q recorder.Query, filter events.Filter, fn func(events.Event) error) error {
	keep := filter.Matcher(func(string, string) bool { return false })
	for _, e := range f.events {
		if e.Time.Before(q.Since) || !q.Until.IsZero() && e.Time.After(q.Until) || !keep(&e) {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeBroker) Topics(int, bool, int) (statsd.Topics, error) { return statsd.Topics{}, nil }

func (f *fakeBroker) Backup(context.Context, io.Writer) error { return statsd.ErrNoStore }

func (f *fakeBroker) Client(id string) (statsd.Client, bool) {
	for _, c := range f.clients {
		if c.ID == id {
			return c, true
		}
	}
	return statsd.Client{}, false
}

func (f *fakeBroker) Kick(id string) bool {
	c, ok := f.Client(id)
	if !ok || !c.Connected {
		return false
	}
	f.kicked <- id
	return true
}

func (f *fakeBroker) Events(filter events.Filter, _ int, fn func(events.Event)) (func(), func() uint64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, ev := range f.events {
			if len(filter.Types) == 0 || slices.Contains(filter.Types, ev.Type) {
				fn(ev)
			}
		}
	}()
	return func() { <-done }, func() uint64 { return 0 }
}

const hostileID = "evil\x1b[2J\nid\u202e"

func newFakeBroker() *fakeBroker {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &fakeBroker{
		snapshot: statsd.Snapshot{
			Version: "v9.9.9", StartedAt: start, Uptime: 3700, ClientCount: 2, MessageCount: 1234567,
			Connections:    statsd.Connections{Current: 2, Maximum: 7, Total: 40, Refused: 3},
			Received:       statsd.Traffic{Messages: 1234567, QoS0: 1234000, QoS1: 567, PayloadBytes: 5 << 20, Bytes: 6 << 20},
			Dropped:        statsd.Dropped{Total: 12, ByReason: map[string]uint64{"queue_full": 10, "expired": 2}},
			Rates:          statsd.Rates{Received: statsd.Rate{Min1: 12.34, Min5: 250, Min15: 0}},
			Disconnections: map[string]uint64{"normal": 30, "kicked": 8},
		},
		clients: []statsd.Client{
			{ID: "quiet", Connected: true, ConnectedAt: time.Now().Add(-90 * time.Second), Remote: "127.0.0.1:5001", Protocol: "5", Received: statsd.Count{Messages: 1}},
			{ID: hostileID, Connected: true, ConnectedAt: time.Now(), Remote: "127.0.0.1:5002", Protocol: "3.1.1", Received: statsd.Count{Messages: 500}, Subscriptions: 1,
				Filters: []statsd.ClientFilter{{Filter: "a/\x1b]0;x\x07", QoS: 1}}},
			{ID: "away", Protocol: "5", SessionExpiry: 3600, Queued: statsd.Store{Messages: 42, Bytes: 4200}},
		},
		health: statsd.Health{Live: true, Ready: true},
		events: []events.Event{
			events.New(events.Connection, hostileID, events.ConnectionData{ClientID: hostileID, Remote: "127.0.0.1:5002", Listener: "local", Protocol: "5"}),
			events.New(events.Message, "quiet", events.MessageData{ClientID: "quiet", Topic: "a/b", Payload: []byte("21.5\x1b[31m"), QoS: 1, Size: 9}),
			events.New(events.Disconnection, "quiet", events.DisconnectionData{ClientID: "quiet", Remote: "127.0.0.1:5001", Reason: "normal", Duration: time.Minute}),
		},
		kicked: make(chan string, 8),
	}
}

// serveFake puts f behind a control socket until the test ends.
func serveFake(t *testing.T, f *fakeBroker) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "c.sock")
	s := statsd.NewServer(f, statsd.Options{})
	if err := s.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return socket
}

type result struct {
	code           int
	stdout, stderr string
}

// edgebroker runs the program in this process.
func edgebroker(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append([]string{program}, args...), strings.NewReader(""), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// wantCode fails the test unless r ended with code, and nothing that came from
// the network reached the output raw.
func wantCode(t *testing.T, r result, code int) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	for _, out := range []string{r.stdout, r.stderr} {
		if i := strings.IndexFunc(out, func(c rune) bool { return c == 0x1b || c == 0x202e || c == 7 }); i >= 0 {
			t.Errorf("raw control character in output %q", out)
		}
	}
}

func TestStats(t *testing.T) {
	socket := serveFake(t, newFakeBroker())

	t.Run("table", func(t *testing.T) {
		r := edgebroker(t, "stats", "--socket", socket)
		wantCode(t, r, exitOK)
		for _, want := range []string{
			"v9.9.9", "1h 1m", "3 refused", "1,234,567", "1,234,000", "5.0 MiB", "queue_full", "kicked",
		} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("no %q in\n%s", want, r.stdout)
			}
		}
	})
	t.Run("json is the snapshot", func(t *testing.T) {
		for format, lines := range map[string]int{"json": 0, "jsonl": 1} {
			r := edgebroker(t, "stats", "-o", format, "--socket", socket)
			wantCode(t, r, exitOK)
			var got statsd.Snapshot
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.MessageCount != 1234567 || got.Dropped.ByReason["expired"] != 2 {
				t.Errorf("%s: got %+v, error %v", format, got, err)
			}
			if n := strings.Count(r.stdout, "\n"); lines > 0 && n != lines {
				t.Errorf("%s: %d lines, want %d", format, n, lines)
			}
		}
	})
	t.Run("watch appends until interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &stopAfter{stop: cancel, want: 3}
		var errs bytes.Buffer
		code := run(ctx, []string{program, "stats", "--watch", "--interval", "100ms", "-o", "jsonl", "--socket", socket}, strings.NewReader(""), out, &errs)
		if code != exitOK || errs.Len() > 0 || out.lines != 3 {
			t.Errorf("code %d, stderr %q, %d lines, want 3", code, errs.String(), out.lines)
		}
	})
}

// stopAfter calls stop when it has seen want lines.
type stopAfter struct {
	stop        func()
	lines, want int
}

func (s *stopAfter) Write(p []byte) (int, error) {
	if s.lines += bytes.Count(p, []byte("\n")); s.lines >= s.want {
		s.stop()
	}
	return len(p), nil
}

func TestHealth(t *testing.T) {
	ill := newFakeBroker()
	ill.health = statsd.Health{Live: true, Problems: []string{"listener lan is not bound", "memory is low"}}
	illSocket := serveFake(t, ill)

	r := edgebroker(t, "health", "--socket", illSocket)
	wantCode(t, r, exitDegraded)
	if want := "edgebroker: error: listener lan is not bound\nedgebroker: error: memory is low\n"; r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
	r = edgebroker(t, "health", "--socket", serveFake(t, newFakeBroker()))
	wantCode(t, r, exitOK)
	if r.stdout != "ready\n" {
		t.Errorf("stdout %q", r.stdout)
	}
}

func TestClients(t *testing.T) {
	fake := newFakeBroker()
	socket := serveFake(t, fake)

	t.Run("list", func(t *testing.T) {
		r := edgebroker(t, "clients", "list", "--sort", "in", "--socket", socket)
		wantCode(t, r, exitOK)
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[1], `evil\`) || !strings.HasPrefix(lines[2], "quiet ") || !strings.HasPrefix(lines[3], "away ") {
			t.Errorf("got\n%s", r.stdout)
		}
	})
	t.Run("top", func(t *testing.T) {
		r := edgebroker(t, "clients", "list", "--sort", "queued", "--top", "1", "-o", "jsonl", "--socket", socket)
		wantCode(t, r, exitOK)
		var got statsd.Client
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.ID != "away" || got.Queued.Messages != 42 {
			t.Errorf("got %q, error %v", r.stdout, err)
		}
	})
	t.Run("json escapes what a terminal acts on and stays the same to a parser", func(t *testing.T) {
		r := edgebroker(t, "clients", "list", "-o", "json", "--socket", socket)
		wantCode(t, r, exitOK)
		var got []statsd.Client
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got, func(c statsd.Client) bool { return c.ID == hostileID }) {
			t.Errorf("no client %q in %s", hostileID, r.stdout)
		}
	})
	t.Run("show", func(t *testing.T) {
		r := edgebroker(t, "clients", "show", "--socket", socket, hostileID)
		wantCode(t, r, exitOK)
		if !strings.Contains(r.stdout, `a/\x1b]0;x\a (QoS 1)`) {
			t.Errorf("got\n%s", r.stdout)
		}
		r = edgebroker(t, "clients", "show", "--socket", socket, "away")
		wantCode(t, r, exitOK)
		if !strings.Contains(r.stdout, "kept for 1h00m") || !strings.Contains(r.stdout, "42 messages, 4.1 KiB") {
			t.Errorf("got\n%s", r.stdout)
		}
	})
	t.Run("kick", func(t *testing.T) {
		r := edgebroker(t, "clients", "kick", "--socket", socket, "quiet", hostileID)
		wantCode(t, r, exitOK)
		if a, b := <-fake.kicked, <-fake.kicked; a != "quiet" || b != hostileID || r.stdout != "" {
			t.Errorf("kicked %q and %q, stdout %q", a, b, r.stdout)
		}
	})
	t.Run("nobody of that name", func(t *testing.T) {
		for _, verb := range []string{"show", "kick"} {
			r := edgebroker(t, "clients", verb, "--socket", socket, "no\x1bone")
			wantCode(t, r, exitError)
			if !strings.Contains(r.stderr, `edgebroker: error: client "no\x1bone" is not `) || !strings.Contains(r.stderr, "edgebroker: hint: `edgebroker clients list`") {
				t.Errorf("%s: stderr %q", verb, r.stderr)
			}
		}
	})
}

func TestEvents(t *testing.T) {
	socket := serveFake(t, newFakeBroker())

	t.Run("lines for people", func(t *testing.T) {
		r := edgebroker(t, "events", "--count", "3", "--socket", socket)
		wantCode(t, r, exitOK)
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(lines) != 3 ||
			!strings.Contains(lines[0], `connection      evil\x1b[2J\nid\u202e from 127.0.0.1:5002 (MQTT 5, listener local, keep alive off)`) ||
			!strings.Contains(lines[1], `message         quiet a/b (QoS 1, 9 B): 21.5\x1b[31m`) ||
			!strings.Contains(lines[2], `disconnection   quiet from 127.0.0.1:5001: normal (after 1m00s, 0 in, 0 out)`) {
			t.Errorf("got\n%s", r.stdout)
		}
	})
	t.Run("json, by type, until count", func(t *testing.T) {
		r := edgebroker(t, "events", "--type", "message", "-n", "1", "-o", "json", "--socket", socket)
		wantCode(t, r, exitOK)
		var got events.Event
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Type != events.Message || got.Data.(events.MessageData).Topic != "a/b" {
			t.Errorf("got %q, error %v", r.stdout, err)
		}
	})
	t.Run("a daemon that stops is an error", func(t *testing.T) {
		fake := newFakeBroker()
		socket := filepath.Join(t.TempDir(), "c.sock")
		s := statsd.NewServer(fake, statsd.Options{})
		if err := s.Listen(socket, 0); err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve() }()
		var errs bytes.Buffer
		out := &stopAfter{want: 3, stop: func() { go func() { _ = s.Close(context.Background()) }() }}
		code := run(t.Context(), []string{program, "events", "--socket", socket}, strings.NewReader(""), out, &errs)
		if code != exitError || !strings.Contains(errs.String(), "closed the event stream") {
			t.Errorf("code %d, stderr %q", code, errs.String())
		}
	})
}

func TestUnreachableDaemon(t *testing.T) {
	dir := t.TempDir()
	silent := filepath.Join(dir, "silent.sock")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	for name, tc := range map[string]struct{ socket, want, hint string }{
		"no socket":  {filepath.Join(dir, "none.sock"), "no such file", "edgebroker serve"},
		"no answer":  {silent, "no answer within 200ms", "--timeout"},
		"not a sock": {dir, "reach control socket " + dir, "edgebroker serve"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{{"stats"}, {"clients", "list"}, {"clients", "kick"}, {"health"}} {
				args = append(slices.Clone(args), "--timeout", "200ms", "--socket", tc.socket)
				if args[len(args)-5] == "kick" {
					args = append(args, "someone")
				}
				r := edgebroker(t, args...)
				wantCode(t, r, exitUnreachable)
				lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
				if len(lines) != 2 || !strings.Contains(lines[0], tc.want) || !strings.Contains(lines[1], tc.hint) {
					t.Errorf("%v: stderr %q", args, r.stderr)
				}
			}
		})
	}
}

func TestPermissionDenied(t *testing.T) {
	d := &control{path: "/run/edgebroker/control.sock"}
	var errs bytes.Buffer
	err := d.explain(t.Context(), &statsd.ErrUnreachable{Path: d.path, Err: errPermission{}})
	want := "edgebroker: error: reach control socket /run/edgebroker/control.sock: permission denied\n" +
		"edgebroker: hint: run as root or join group \"edgebroker\"\n"
	if code := report(&errs, err); code != exitUnreachable || errs.String() != want {
		t.Errorf("code %d, stderr %q", code, cmp.Or(errs.String(), "empty"))
	}
}

// errPermission is what a socket of somebody else answers.
type errPermission struct{}

func (errPermission) Error() string        { return "connect: permission denied" }
func (errPermission) Is(target error) bool { return target.Error() == "permission denied" }
