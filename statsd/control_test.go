package statsd_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// A reload says what is in force now or, when nothing has changed, why.
func TestReload(t *testing.T) {
	backend := newFakeBackend()
	r := start(t, backend, statsd.Options{}, nil)
	for _, try := range []bool{true, false} {
		want, _ := backend.Reload(t.Context(), try)
		if got, err := r.control.Reload(t.Context(), try); err != nil || got.DryRun != try || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	backend.mu.Lock()
	backend.broken = errors.New("rules:3: no filter")
	backend.mu.Unlock()
	var refused *statsd.APIError
	if _, err := r.control.Reload(t.Context(), false); !errors.As(err, &refused) || refused.Message != "rules:3: no filter" || refused.Hint == "" {
		t.Errorf("got %v", err)
	}
}

func TestControlClient(t *testing.T) {
	dev1 := statsd.Client{ID: "dev1", Connected: true, ConnectedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Received: statsd.Count{Messages: 5}, Filters: []statsd.ClientFilter{{Filter: "a/#", QoS: 1}}}
	dev2 := statsd.Client{ID: "dev2", Received: statsd.Count{Messages: 9}}
	r := start(t, newFakeBackend(dev1, dev2), statsd.Options{}, nil)
	ctx := t.Context()

	if got, err := r.control.Stats(ctx); err != nil || !reflect.DeepEqual(got, exampleSnapshot()) {
		t.Errorf("stats %+v, %v", got, err)
	}
	if got, err := r.control.Version(ctx); err != nil || got.Version != "1.2.3" || got.Arch == "" {
		t.Errorf("version %+v, %v", got, err)
	}
	if got, err := r.control.Client(ctx, "dev1"); err != nil || !reflect.DeepEqual(got, dev1) {
		t.Errorf("client %+v, %v", got, err)
	}
	if got, err := r.control.Clients(ctx, "in", 1); err != nil || !reflect.DeepEqual(got, []statsd.Client{dev2}) {
		t.Errorf("clients %+v, %v", got, err)
	}
	if got, err := r.control.Clients(ctx, "", 0); err != nil || len(got) != 2 || got[0].ID != "dev1" {
		t.Errorf("clients %+v, %v", got, err)
	}
	if got, err := r.control.Drops(ctx); err != nil || len(got) != 3 || got[0].Count != 7 || got[1].Client != "a" || got[2].Client != "b" {
		t.Errorf("drops %+v, %v", got, err)
	}
	if got, err := r.control.Bridges(ctx); err != nil || len(got) != 2 || got[1].Why != "connection refused" {
		t.Errorf("bridges %+v, %v", got, err)
	}
	if got, err := r.control.DeadLetters(ctx, "cloud"); err != nil || got.Total != 300 || string(got.Letters[0].Payload) != "x" {
		t.Errorf("dead letters %+v, %v", got, err)
	}
	if n, err := r.control.EndDeadLetters(ctx, "cloud", true); n != 300 || err != nil {
		t.Errorf("replayed %d, %v", n, err)
	}
	if _, err := r.control.EndDeadLetters(ctx, "cloud", false); err == nil || err.Error() != "disk on fire" {
		t.Errorf("discard: %v", err)
	}
	if _, err := r.control.DeadLetters(ctx, "plant"); !errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("dead letters of an unknown one: %v", err)
	}
	for _, pause := range []bool{true, false} {
		if err := r.control.PauseBridge(ctx, "cloud", pause); err != nil {
			t.Errorf("pause %v: %v", pause, err)
		}
		if done, err := r.control.TestBridge(ctx, "cloud", pause); err != nil || done.OK != pause {
			t.Errorf("got %+v, %v", done, err)
		}
		if err := r.control.PauseBridge(ctx, "plant", pause); !errors.Is(err, statsd.ErrNotFound) {
			t.Errorf("pause %v of an unknown one: %v", pause, err)
		}
	}
	if !slices.Equal(r.backend.paused, []bool{true, false}) {
		t.Errorf("the backend was told %v", r.backend.paused)
	}
	if err := r.control.Kick(ctx, "dev1"); err != nil {
		t.Errorf("kick: %v", err)
	}
	if err := r.control.Kick(ctx, "dev2"); !errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("kick of an absent client: %v", err)
	}
	if _, err := r.control.Client(ctx, "nobody"); !errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("unknown client: %v", err)
	}
	_, err := r.control.Clients(ctx, "colour", 0)
	refused, ok := errors.AsType[*statsd.APIError](err)
	if !ok || refused.Status != 400 || refused.Message != "unknown sort order" || !strings.HasPrefix(refused.Hint, "use one of id") || errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("unknown order: %#v", err)
	}
}

// Client ids are any text. Each must lead to its own client, none to a route.
func TestStrangeClientIDs(t *testing.T) {
	ids := []string{"a/b", "a%2Fb", ".", "..", "../../healthz", "dev1/kick", "a b?c=d#e", "ü–☃", "%", "%zz", "\x01\n", "//", "{id}", strings.Repeat("long/", 4000)}
	var clients []statsd.Client
	for _, id := range ids {
		clients = append(clients, statsd.Client{ID: id, Connected: true})
	}
	r := start(t, newFakeBackend(clients...), statsd.Options{}, nil)
	for _, id := range ids {
		if c, err := r.control.Client(t.Context(), id); err != nil || c.ID != id {
			t.Errorf("client %.20q: got %.20q, %v", id, c.ID, err)
		}
		if err := r.control.Kick(t.Context(), id); err != nil {
			t.Errorf("kick %.20q: %v", id, err)
		}
	}
	if !reflect.DeepEqual(r.backend.kicked, ids) {
		t.Errorf("kicked %.20q", r.backend.kicked)
	}
}

func TestUnreachable(t *testing.T) {
	t.Run("no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		_, err := statsd.Dial(path).Stats(t.Context())
		u, ok := errors.AsType[*statsd.ErrUnreachable](err)
		if !ok || u.Path != path || !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("error %#v", err)
		}
		if want := "reach control socket " + path + ": connect: no such file or directory"; err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	})
	t.Run("the server goes away in the middle", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var buf [4096]byte
			conn.Read(buf[:])
			conn.Write([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\n\n\n\r\n"))
			conn.Close()
		}()
		snaps := 0
		err = statsd.Dial(path).StatsStream(t.Context(), time.Second, func(statsd.Snapshot) error { snaps++; return nil })
		if _, ok := errors.AsType[*statsd.ErrUnreachable](err); !ok || snaps != 1 {
			t.Errorf("error %v after %d snapshots: a broken stream must not look like one that ended", err, snaps)
		}
	})
	t.Run("ctx ends first", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.Listen("unix", path) // accepts in the kernel, never answers
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := statsd.Dial(path).Stats(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("something else answers", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var buf [4096]byte
			conn.Read(buf[:])
			conn.Write([]byte("HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\n\r\nshort"))
			conn.Close()
		}()
		_, err = statsd.Dial(path).Stats(t.Context())
		if e, ok := errors.AsType[*statsd.APIError](err); !ok || e.Status != 418 || e.Message != "unexpected answer: 418 Teapot" {
			t.Errorf("error %#v", err)
		}
	})
}
