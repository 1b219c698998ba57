package appliance_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Who asks for a reload while clients are handed over is told that it is too
// late, and keeps nobody from going on.
func TestHandoverDuringAReload(t *testing.T) {
	cfg := config(t)
	cfg.Listeners = append(cfg.Listeners, appliance.ListenerConfig{Name: "ws", Type: appliance.ListenWebSocket, Address: "127.0.0.1:0"})
	cfg.Upgrade.Spread = time.Second
	b := launch(t, cfg)
	brokertest.Dial(t, address(b), brokertest.Clean(wire.V5, "c"))
	for range 2 { // the second one waits until the spread is over
		nc, err := net.Dial("tcp", b.Addr("ws"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	brokertest.WaitFor(t, "connections", func() bool { return b.Stats().Connections.Sockets == 3 })
	asked := make(chan error, 1)
	b.On("system", func(e events.Event) {
		if e.Data.(events.SystemData).What == "handing_over" {
			go func() {
				_, err := statsd.Dial(cfg.Control.Socket).Reload(context.Background(), false)
				asked <- err
			}()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	moved, err := b.HandOver(ctx, func(*os.File) error { return nil })
	if !moved || err != nil {
		t.Errorf("moved %v, %v", moved, err)
	}
	if err := <-asked; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reload: %v", err)
	}
}

// Whoever has begun to ask something, and does not go on, holds no handover up for
// longer than clients can wait.
func TestHandoverDuringARequest(t *testing.T) {
	cfg := config(t)
	b := launch(t, cfg)
	c := brokertest.Dial(t, address(b), brokertest.Clean(wire.V5, "c"))
	c.Subscribe(0, "t")
	slow, err := net.Dial("unix", cfg.Control.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("GET /v1/stats HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := statsd.Dial(cfg.Control.Socket).Version(t.Context()); err != nil { // by then the one before has been accepted
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	moved, _ := b.HandOver(ctx, func(*os.File) error { return nil })
	if !moved {
		t.Error("clients were disconnected")
	}
}
