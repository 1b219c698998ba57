package appliance_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Everything that the control socket offers, on a broker with one client.
func TestControlSocket(t *testing.T) {
	cfg := config(t)
	b := start(t, cfg, appliance.WithVersion("1.2.3"))
	daemon := statsd.Dial(cfg.Control.Socket)
	t.Cleanup(daemon.Close)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()

	ready, seen, streamed := make(chan struct{}), make(chan events.Event, 100), make(chan error, 1)
	go func() {
		streamed <- daemon.Events(ctx, events.Filter{Client: "c"}, func() { close(ready) }, func(e events.Event) error {
			seen <- e
			return nil
		})
	}()
	<-ready
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, "c"))
	c.Subscribe(1, "a/+")
	c.Publish("a/b", "12345", 1, false)
	c.ExpectMessage("a/b", "12345")

	s, err := daemon.Stats(ctx)
	if err != nil || s.Version != "1.2.3" || s.ClientCount != 1 || s.MessageCount != 1 || s.Subscriptions.Total != 1 ||
		len(s.Listeners) != 2 || s.Listeners[0].Address != b.Addr("tcp") || s.Listeners[0].Sockets != 1 || s.Listeners[1].Sockets != 0 ||
		s.Delivery.Measured == 0 || s.PayloadSizes[0] != 1 || s.Received.QoS1 != 1 || s.Sent.QoS1 != 1 {
		t.Errorf("stats: %+v, %v", s, err)
	}
	if v, err := daemon.Version(ctx); err != nil || v.Version != "1.2.3" {
		t.Errorf("version: %+v, %v", v, err)
	}
	list, err := daemon.Clients(ctx, "", 0)
	if err != nil || len(list) != 1 || list[0].ID != "c" || !list[0].Connected || list[0].Inflight != 1 {
		t.Errorf("clients: %+v, %v", list, err)
	}
	one, err := daemon.Client(ctx, "c")
	if err != nil || len(one.Filters) != 1 || one.Filters[0] != (statsd.ClientFilter{Filter: "a/+", QoS: 1}) {
		t.Errorf("client: %+v, %v", one, err)
	}
	if _, err := daemon.Client(ctx, "nobody"); !errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("unknown client: %v", err)
	}
	if err := daemon.Kick(ctx, "nobody"); !errors.Is(err, statsd.ErrNotFound) {
		t.Errorf("kick an unknown client: %v", err)
	}
	if err := daemon.Kick(ctx, "c"); err != nil {
		t.Errorf("kick: %v", err)
	}
	if got := c.ExpectDisconnect(); got != wire.AdministrativeAction {
		t.Errorf("kicked client told %v", got)
	}
	for _, want := range []events.Type{"connection", "subscription", "message", "disconnection"} {
		e := next(t, seen)
		if e.Type != want || e.Source != "c" {
			t.Errorf("streamed %+v instead of %s", e, want)
		}
		if d, ok := e.Data.(events.DisconnectionData); ok && d.Reason != "kicked" {
			t.Errorf("reason %q", d.Reason)
		}
	}
	if b.Stats().Events.Listeners != 1 {
		t.Errorf("%d listeners, want the stream", b.Stats().Events.Listeners)
	}
	badFilter := daemon.Events(ctx, events.Filter{Topic: "a#"}, nil, func(events.Event) error { return nil })
	var refused *statsd.APIError
	if !errors.As(badFilter, &refused) || refused.Status != 400 {
		t.Errorf("bad topic filter: %v", badFilter)
	}

	stop(t, b)
	if err := <-streamed; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	_, err = daemon.Stats(ctx)
	var gone *statsd.ErrUnreachable
	if !errors.As(err, &gone) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Stop: %v", err)
	}
}

// Two brokers cannot have one control socket, and the second takes nothing.
func TestControlSocketInUse(t *testing.T) {
	cfg := config(t)
	start(t, cfg)
	second := newBroker(t, appliance.Config{
		Listeners: []appliance.ListenerConfig{{Name: "tcp", Type: appliance.ListenTCP, Address: "127.0.0.1:0"}},
		Control:   cfg.Control, Limits: cfg.Limits, Sessions: cfg.Sessions, Retained: cfg.Retained, Storage: cfg.Storage, Events: cfg.Events, Statsd: cfg.Statsd, OTLP: cfg.OTLP, Log: cfg.Log,
	})
	err := second.Start(t.Context())
	if !errors.Is(err, statsd.ErrInUse) || !strings.Contains(err.Error(), cfg.Control.Socket) {
		t.Errorf("second broker: %v", err)
	}
	stop(t, second)
	if _, err := statsd.Dial(cfg.Control.Socket).Stats(t.Context()); err != nil {
		t.Errorf("the first broker's socket: %v", err)
	}
}

func TestWithoutControl(t *testing.T) {
	cfg := config(t)
	b := start(t, cfg, appliance.WithoutControl())
	if exists(t, cfg.Control.Socket) {
		t.Error("there is a control socket")
	}
	brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).Disconnect()
	stop(t, b)
}
