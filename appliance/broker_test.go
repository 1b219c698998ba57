package appliance_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// shortDir is a folder whose path is short enough for sockets in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// config is that of a broker on a free TCP port, a unix socket and a control
// socket.
func config(t testing.TB) appliance.Config {
	t.Helper()
	dir := shortDir(t)
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{
		{Name: "tcp", Type: appliance.ListenTCP, Address: "127.0.0.1:0"},
		{Name: "unix", Type: appliance.ListenUnix, Address: filepath.Join(dir, "mqtt.sock")},
	}
	cfg.Control.Socket = filepath.Join(dir, "control.sock")
	return cfg
}

func newBroker(t testing.TB, cfg appliance.Config, opts ...appliance.Option) *appliance.Broker {
	t.Helper()
	b, err := appliance.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs a broker for the length of a test that must not leak goroutines.
func start(t testing.TB, cfg appliance.Config, opts ...appliance.Option) *appliance.Broker {
	t.Helper()
	brokertest.NoLeaks(t)
	b := newBroker(t, cfg, opts...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
	return b
}

// changing is where brokers have their configuration from when they are reloaded.
type changing struct {
	mu   sync.Mutex
	next appliance.Config
}

// begin starts a broker of cfg, which the test stops.
func (c *changing) begin(t testing.TB, cfg appliance.Config) *appliance.Broker {
	t.Helper()
	c.set(cfg)
	b := newBroker(t, cfg, appliance.WithConfigSource(func() (appliance.Config, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next, nil
	}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// reload has b, which c has begun, go on with cfg.
func (c *changing) reload(t testing.TB, b *appliance.Broker, cfg appliance.Config) {
	t.Helper()
	c.set(cfg)
	if _, err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (c *changing) set(cfg appliance.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = cfg
}

func stop(t testing.TB, b *appliance.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestNewDoesNothing(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	b := newBroker(t, cfg)
	if exists(t, cfg.Control.Socket) || exists(t, cfg.Listeners[1].Address) {
		t.Error("New has made a socket")
	}
	if s := b.Stats(); s.ClientCount != 0 || s.MessageCount != 0 || s.Uptime != 0 || len(s.Listeners) != 0 {
		t.Errorf("before Start: %+v", s)
	}
	if len(b.Clients()) != 0 || b.Kick("x") || b.Addr("tcp") != "" {
		t.Error("before Start there are clients or addresses")
	}
	if _, ok := b.Client("x"); ok {
		t.Error("before Start there is a client")
	}
	if err := b.Publish(t.Context(), appliance.Message{Topic: "t"}); !errors.Is(err, appliance.ErrState) {
		t.Errorf("Publish before Start: %v", err)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	cfg := appliance.DefaultConfig()
	cfg.Listeners, cfg.Events.Queue = nil, 0
	_, err := appliance.New(cfg)
	if err == nil || !strings.Contains(err.Error(), "listeners") || !strings.Contains(err.Error(), "events.queue") {
		t.Errorf("error does not name every problem: %v", err)
	}
}

func TestStart(t *testing.T) {
	cfg := config(t)
	b := start(t, cfg)
	for _, addr := range []string{b.Addr("tcp"), "unix:" + b.Addr("unix")} {
		brokertest.Dial(t, addr, brokertest.Clean(wire.V5, addr)).Disconnect()
	}
	if b.Addr("nobody") != "" {
		t.Error("an unknown listener has an address")
	}
	if err := b.Start(t.Context()); !errors.Is(err, appliance.ErrState) {
		t.Errorf("second Start: %v", err)
	}
	if info, err := os.Stat(cfg.Control.Socket); err != nil || info.Mode().Perm() != cfg.Control.Mode {
		t.Errorf("control socket: %v, %v", info, err)
	}
	l := b.Stats().Listeners
	if len(l) != 2 || l[0].Name != "tcp" || l[0].Type != "tcp" || l[0].Address != b.Addr("tcp") ||
		l[1].Type != "unix" || l[1].Address != cfg.Listeners[1].Address {
		t.Errorf("listeners %+v", l)
	}
	stop(t, b)
	if exists(t, cfg.Control.Socket) || exists(t, cfg.Listeners[1].Address) {
		t.Error("Stop leaves a socket behind")
	}
	if s := b.Stats(); len(s.Listeners) != 0 || s.Connections.Total != 2 {
		t.Errorf("after Stop: listeners %v, connections %+v", s.Listeners, s.Connections)
	}
	if err := b.Publish(t.Context(), appliance.Message{Topic: "t"}); !errors.Is(err, appliance.ErrState) {
		t.Errorf("Publish after Stop: %v", err)
	}
	if err := b.Start(t.Context()); !errors.Is(err, appliance.ErrState) {
		t.Errorf("Start after Stop: %v", err)
	}
}

// A broker that cannot have everything takes nothing.
func TestStartUndoes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name   string
		change func(*appliance.Config)
		listen bool // the error wraps ErrListen
		want   []string
	}{
		{"a taken port", func(c *appliance.Config) {
			c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "last", Type: appliance.ListenTCP, Address: taken.Addr().String()})
		}, true, []string{`"last"`, taken.Addr().String(), "listeners[2].address", "in use"}},
		{"a folder that does not exist", func(c *appliance.Config) {
			c.Listeners[1].Address = filepath.Join(filepath.Dir(c.Control.Socket), "missing", "mqtt.sock")
		}, true, []string{`"unix"`, "missing", "listeners[1].address"}},
		{"a control socket that is no socket", func(c *appliance.Config) {
			if err := os.WriteFile(c.Control.Socket, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, []string{"control.sock", "not a socket"}},
		{"rules that do not exist", func(c *appliance.Config) {
			c.Access.Rules = []string{filepath.Join(filepath.Dir(c.Control.Socket), "acl")}
		}, false, []string{"access.rules", "acl", "make the file"}},
		{"a data folder below one that does not exist", func(c *appliance.Config) {
			c.Storage.Directory = filepath.Join(filepath.Dir(c.Control.Socket), "missing", "data")
		}, false, []string{"storage cannot be used", "missing", "make the folder above it first"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			brokertest.NoLeaks(t)
			cfg := config(t)
			tc.change(&cfg)
			fileInTheWay := exists(t, cfg.Control.Socket)
			passed, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer passed.Close()
			b := newBroker(t, cfg, appliance.WithSockets([]systemd.Socket{{Name: "passed", Listener: passed}}))
			b.On("*", func(events.Event) {}) // its goroutine must end as well
			if err = b.Start(t.Context()); err == nil {
				stop(t, b)
				t.Fatal("Start succeeded")
			}
			if nc, err := net.Dial("tcp", passed.Addr().String()); err == nil {
				nc.Close()
				t.Error("a socket that was passed is left open")
			}
			if errors.Is(err, appliance.ErrListen) != tc.listen {
				t.Errorf("wraps ErrListen: %v, want %v: %v", !tc.listen, tc.listen, err)
			}
			for _, s := range tc.want {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not name %q", err, s)
				}
			}
			if exists(t, cfg.Control.Socket) != fileInTheWay || exists(t, cfg.Listeners[1].Address) {
				t.Error("a socket is left behind")
			}
			if addr := b.Addr("tcp"); addr != "" {
				if nc, err := net.Dial("tcp", addr); err == nil {
					nc.Close()
					t.Error("a listener is left behind")
				}
			}
			if len(b.Stats().Listeners) != 0 {
				t.Error("listeners are reported")
			}
			stop(t, b)
		})
	}
	t.Run("a context that has ended", func(t *testing.T) {
		brokertest.NoLeaks(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b := newBroker(t, config(t))
		if err := b.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Start: %v", err)
		}
		stop(t, b)
	})
}

func TestStopBeforeStart(t *testing.T) {
	brokertest.NoLeaks(t)
	b := newBroker(t, config(t))
	b.On("connection", func(events.Event) {})
	stop(t, b)
	stop(t, b)
	if err := b.Start(t.Context()); !errors.Is(err, appliance.ErrState) {
		t.Errorf("Start after Stop: %v", err)
	}
}

func TestStopTellsClients(t *testing.T) {
	b := start(t, config(t))
	ended := make(chan events.DisconnectionData, 3)
	b.On("disconnection", func(e events.Event) { ended <- e.Data.(events.DisconnectionData) })
	five := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "five"))
	three := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, "three"))
	old := brokertest.Dial(t, "unix:"+b.Addr("unix"), brokertest.Clean(wire.V31, "old"))

	var together sync.WaitGroup
	for range 4 {
		together.Go(func() { stop(t, b) })
	}
	if got := five.ExpectDisconnect(); got != wire.ServerShuttingDown {
		t.Errorf("v5 client told %v", got)
	}
	for _, c := range []*brokertest.Client{three, old} {
		if left := rest(t, c); len(left) > 0 {
			t.Errorf("3.x client was sent % x", left)
		}
	}
	together.Wait()
	for range 3 {
		if d := <-ended; d.Reason != "server_shutdown" || d.Error != "" {
			t.Errorf("client %s: %q %q", d.ClientID, d.Reason, d.Error)
		}
	}
	stop(t, b)
}

// rest reads until the peer closes.
func rest(t testing.TB, c *brokertest.Client) (all []byte) {
	t.Helper()
	var buf [256]byte
	for {
		n, err := c.Conn().Read(buf[:])
		all = append(all, buf[:n]...)
		if err != nil {
			return all
		}
	}
}

// A handler that does not return cannot hold Stop longer than its context.
func TestStopIsBounded(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	b := newBroker(t, cfg)
	stuck, release := make(chan struct{}), make(chan struct{})
	b.On("system", func(events.Event) { close(stuck); <-release })
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-stuck
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.Stop(ctx) }()
	brokertest.WaitFor(t, "the broker to stop listening", func() bool { return len(b.Stats().Listeners) == 0 })
	waiting, give := context.WithCancel(t.Context())
	give()
	if err := b.Stop(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("second Stop: %v", err)
	}
	cancel()
	if err := <-result; !errors.Is(err, events.ErrNotDrained) || !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if exists(t, cfg.Control.Socket) {
		t.Error("the control socket is left behind")
	}
	close(release)
}

// A Stop without any time still ends everything, only nobody waits for it.
func TestStopWithoutTime(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	b := newBroker(t, cfg)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if got := c.ExpectDisconnect(); got != wire.ServerShuttingDown {
		t.Errorf("told %v", got)
	}
	c.Conn().Close()
	brokertest.WaitFor(t, "the server to forget the client", func() bool { return b.ServerClients() == 0 })
	if exists(t, cfg.Control.Socket) || exists(t, cfg.Listeners[1].Address) {
		t.Error("a socket is left behind")
	}
}

func TestRun(t *testing.T) {
	brokertest.NoLeaks(t)
	b := newBroker(t, config(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	brokertest.WaitFor(t, "the broker to start", func() bool { return len(b.Stats().Listeners) == 2 })
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	cancel()
	if got := c.ExpectDisconnect(); got != wire.ServerShuttingDown {
		t.Errorf("told %v", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
