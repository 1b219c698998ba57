package e2e_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// bound is a socket as the service manager passes it.
func bound(t *testing.T, name, network, address string) systemd.Socket {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return systemd.Socket{Name: name, Listener: l}
}

// Listeners of every type take the sockets that systemd has bound.
func TestSocketActivation(t *testing.T) {
	p := newPKI(t)
	path := filepath.Join(t.TempDir(), "s")
	sockets := []systemd.Socket{bound(t, "lan", "tcp", "127.0.0.1:0"), bound(t, "secure", "tcp", "127.0.0.1:0"),
		bound(t, "here", "unix", path), bound(t, "web", "tcp", "127.0.0.1:0"), bound(t, "nobody's", "tcp", "127.0.0.1:0")}
	open := true
	b := start(t, func(c *appliance.Config) {
		secure := p.listener("secure", appliance.ListenTLS)
		secure.Address, secure.AllowAnonymous = "systemd:secure", &open
		c.Listeners = append(c.Listeners,
			appliance.ListenerConfig{Name: "plain", Address: "systemd:lan", AllowAnonymous: &open},
			appliance.ListenerConfig{Name: "local", Type: appliance.ListenUnix, Address: "systemd:here"},
			appliance.ListenerConfig{Name: "web", Type: appliance.ListenWebSocket, Address: "systemd:web", AllowAnonymous: &open},
			secure)
	}, appliance.WithSockets(sockets))
	for i, name := range []string{"plain", "secure", "local", "web"} {
		if got, want := b.Addr(name), sockets[i].Listener.Addr().String(); got != want {
			t.Errorf("%s listens on %s; want %s", name, got, want)
		}
	}
	watch := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "watch"))
	watch.Subscribe(0, "#")
	for _, addr := range []string{b.Addr("plain"), "unix:" + path, "tls:" + b.Addr("secure")} {
		brokertest.Dial(t, addr, brokertest.Clean(wire.V311, "c")).Publish("t", addr, 0, false)
		watch.ExpectMessage("t", addr)
	}
	pahoAt(t, "ws://"+b.Addr("web")+"/mqtt", "ws", 4)
	if c, err := net.Dial("tcp", sockets[4].Listener.Addr().String()); err == nil {
		c.Close()
		t.Error("a socket that no listener names is still open")
	}
}

// A socket that is not there, or of the wrong kind, is named.
func TestSocketActivationFails(t *testing.T) {
	for _, tt := range []struct {
		address, kind, want string
	}{
		{"systemd:lan", appliance.ListenTCP, `listener "x": systemd has passed no socket called "lan"; it has passed here, web; correct listeners[0].address`},
		{"systemd:here", appliance.ListenTCP, `listener "x": the socket that it was given is no TCP socket; set its type to "unix"`},
		{"systemd:web", appliance.ListenUnix, `listener "x": the socket that it was given is no unix socket; set its type to "tcp"`},
	} {
		open := true
		cfg := appliance.DefaultConfig()
		cfg.Listeners = []appliance.ListenerConfig{{Name: "x", Type: tt.kind, Address: tt.address, AllowAnonymous: &open}}
		cfg.Control.Socket = filepath.Join(t.TempDir(), "c")
		b, err := appliance.New(cfg, appliance.WithSockets([]systemd.Socket{
			bound(t, "here", "unix", filepath.Join(t.TempDir(), "s")), bound(t, "web", "tcp", "127.0.0.1:0")}))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); !errors.Is(err, appliance.ErrListen) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", tt.address, err, tt.want)
		}
	}
}
