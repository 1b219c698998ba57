//go:build chromium

package dashboard_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

const (
	adminName, adminPassword   = "ann", "correct-horse-1"
	viewerName, viewerPassword = "vic", "battery-staple-2"
)

// users writes a file of users for the HTTP address.
func users(t testing.TB) string {
	t.Helper()
	var lines strings.Builder
	for _, u := range []struct{ name, password, group string }{{adminName, adminPassword, "admin"}, {viewerName, viewerPassword, "viewer"}} {
		hash, err := auth.HashPassword(auth.NewSecret([]byte(u.password)))
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(u.name + ":" + hash + ":" + u.group + "\n")
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// broker is one with a dashboard.
type broker struct {
	*appliance.Broker
	mqtt, base string
}

// start runs a broker until the test ends or stop is called. change may be nil.
func start(t testing.TB, usersFile string, change func(*appliance.Config)) (b *broker, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "eb") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{{Name: "lan", Type: appliance.ListenTCP, Address: "127.0.0.1:0"}}
	cfg.Control.Socket = filepath.Join(dir, "control.sock")
	cfg.HTTP.Address = "127.0.0.1:0"
	cfg.HTTP.Users = usersFile
	if change != nil {
		change(&cfg)
	}
	made, err := appliance.New(cfg, appliance.WithVersion("devel"))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
			defer cancel()
			if err := made.Stop(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
			_ = os.RemoveAll(dir)
		})
	}
	t.Cleanup(stop)
	return &broker{Broker: made, mqtt: made.Addr("lan"), base: "http://" + made.HTTPAddr()}, stop
}

// publish publishes something every little while until the test ends.
func publish(t testing.TB, addr, client, topic string, every time.Duration) {
	t.Helper()
	c := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, client))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		frame := wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte(topic), Payload: []byte(`{"celsius":21.4}`)}, 0)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := c.Conn().Write(frame); err != nil {
					return // the broker has gone
				}
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}
