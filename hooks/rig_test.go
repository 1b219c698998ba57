package hooks_test

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// rig is the hooks in a real server with a real listener.
type rig struct {
	relay    *relay.Relay
	gate     *listen.Gate
	server   *mqtt.Server
	access   *hooks.Access
	sessions *hooks.Sessions
	addr     string

	mu     sync.Mutex // guards what follows
	events []events.Event
}

const maxPacketSize = 100_000

// newRig serves on one TCP listener until the end of the test. Hooks in first
// run before ours, those in last after them.
func newRig(t *testing.T, anonymous bool, first, last []mqtt.Hook) *rig {
	t.Helper()
	brokertest.NoLeaks(t)
	r := new(rig)
	bus := events.NewBus(nil, wire.MatchTopic)
	bus.Subscribe("test", events.Filter{}, 10_000, func(e events.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	})
	log := slog.New(slog.DiscardHandler)
	config := relay.DefaultConfig()
	config.ReceiveMaximum, config.MaxTopicAlias = 20, 7
	r.relay = relay.New(config, nil, bus, log)
	r.sessions = hooks.NewSessions(r.relay, bus, nil, func(client string, conn *listen.Conn) {
		if cl, ok := r.server.Clients.Get(client); ok && cl.Net.Conn == conn {
			r.server.Clients.Delete(client)
		}
	})
	r.access = hooks.NewAccess(&hooks.Rules{Anonymous: map[string]bool{"tcp": anonymous}}, nil, bus, log)
	r.gate = listen.NewGate(listen.Options{Limits: listen.Limits{MaxPacketSize: maxPacketSize}, OnEnd: r.sessions.Ended,
		Control: func(c *listen.Conn) error { return hooks.Control(r.server, c) }})
	r.server = mqtt.New(&mqtt.Options{Logger: log, SysTopicResendInterval: math.MaxInt32})
	ours := []mqtt.Hook{r.access, r.sessions, hooks.NewSubscriptions(r.access, r.sessions)}
	for _, list := range [][]mqtt.Hook{first, ours, last} {
		for _, h := range list {
			if err := r.server.AddHook(h, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := listen.New(listen.Config{ID: "tcp", Type: listen.TypeTCP, Address: "127.0.0.1:0"}, r.gate)
	if err := r.server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Serve(); err != nil {
		t.Fatal(err)
	}
	r.addr = l.Address()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		l.Close(nil)
		if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, listen.EndServerShutdown); err != nil {
			t.Error(err)
		}
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
		r.relay.Close()
		if err := bus.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// of returns the events of a type so far.
func (r *rig) of(t events.Type) (out []events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Type == t {
			out = append(out, e)
		}
	}
	return out
}

// await waits until there are n events of a type, and returns them.
func (r *rig) await(tb testing.TB, t events.Type, n int) []events.Event {
	tb.Helper()
	brokertest.WaitFor(tb, string(t)+" events", func() bool { return len(r.of(t)) >= n })
	return r.of(t)
}

// paired waits until every connection event has its disconnection event, and
// requires that there are n pairs.
func (r *rig) paired(tb testing.TB, n int) {
	tb.Helper()
	brokertest.WaitFor(tb, "every connection to be over", func() bool { return r.gate.Totals().Connections == 0 })
	r.await(tb, events.Disconnection, n)
	began, ended := map[string]int{}, map[string]int{}
	for _, e := range r.of(events.Connection) {
		d := e.Data.(events.ConnectionData)
		began[d.ClientID+d.Remote]++
	}
	for _, e := range r.of(events.Disconnection) {
		d := e.Data.(events.DisconnectionData)
		ended[d.ClientID+d.Remote]++
		if d.Duration < 0 || d.Duration > time.Minute {
			tb.Errorf("connection of %v", d.Duration)
		}
	}
	if len(began) != n || len(ended) != n {
		tb.Errorf("%d connections began and %d ended, want %d", len(began), len(ended), n)
	}
	for key, n := range began {
		if n != 1 || ended[key] != 1 {
			tb.Errorf("%s began %d times and ended %d times", key, n, ended[key])
		}
	}
	c := r.sessions.Counters()
	var sum uint64
	for _, n := range c.Disconnections {
		sum += n
	}
	if c.Connected != 0 || int(c.Connections) != n || int(sum) != n {
		tb.Errorf("counters %+v, want %d of each", c, n)
	}
	if got := r.server.Clients.Len(); got != 0 {
		tb.Errorf("the server still holds %d clients", got)
	}
}
