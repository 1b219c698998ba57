package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// broker is one for the length of a test.
type broker struct {
	*appliance.Broker
	addr string // of its TCP listener, "127.0.0.1:port"
	unix string // of its unix socket, "unix:/path"
	log  *brokertest.Log
}

// start runs a broker that listens on TCP and on a unix socket, and stops it
// with the test: that must not take long, and leave no goroutine behind.
// change may be nil.
func start(t testing.TB, change func(*appliance.Config), opts ...appliance.Option) *broker {
	t.Helper()
	brokertest.NoLeaks(t)
	dir, err := os.MkdirTemp("", "eb") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{
		{Name: "tcp", Type: appliance.ListenTCP, Address: "127.0.0.1:0"},
		{Name: "unix", Type: appliance.ListenUnix, Address: filepath.Join(dir, "mqtt.sock")},
	}
	cfg.Control.Socket = filepath.Join(dir, "control.sock")
	cfg.Events.Queue = 100_000 // tests count events, and a test's machine may be slow
	if change != nil {
		change(&cfg)
	}
	log := new(brokertest.Log)
	usual := appliance.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	opts = append([]appliance.Option{usual}, opts...)
	b, err := appliance.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopLater(t, b, log)
	return &broker{Broker: b, addr: b.Addr("tcp"), unix: "unix:" + b.Addr("unix"), log: log}
}

// stopLater stops b when the test is over, and shows its log if that has failed.
func stopLater(t testing.TB, b *appliance.Broker, log *brokertest.Log) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("the broker's log:\n%s", log)
		}
	})
}

// eventLog keeps the events of a broker.
type eventLog struct {
	mu   sync.Mutex
	list []events.Event
}

// watch collects the events of a type from now on.
func (b *broker) watch(eventType events.Type) *eventLog {
	l := new(eventLog)
	b.On(string(eventType), func(e events.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = append(l.list, e)
	})
	return l
}

func (l *eventLog) all() []events.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]events.Event(nil), l.list...)
}

// await waits until there are n events, and returns them.
func (l *eventLog) await(t testing.TB, n int) []events.Event {
	t.Helper()
	brokertest.WaitFor(t, fmt.Sprintf("%d events", n), func() bool { return len(l.all()) >= n })
	return l.all()
}

// program returns the path of a program that a test needs.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("EDGEBROKER_E2E") == "1" {
			t.Fatalf("EDGEBROKER_E2E=1 and %v; install mosquitto-clients", err)
		}
		t.Skipf("%v; install mosquitto-clients to run this test", err)
	}
	return path
}

// within is a context that ends with the test or when patience does.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for a value of a channel.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(brokertest.Patience):
		t.Fatalf("waited %v in vain for %s", brokertest.Patience, what)
		panic("unreachable")
	}
}
