package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
)

// TestPlantDay replays a day of a plant with 200 devices, as fast as it goes,
// and compares what `edgebroker stats` and `edgebroker events` say, through
// the control socket, with what the plant has counted itself: to the message.
func TestPlantDay(t *testing.T) {
	if testing.Short() {
		t.Skip("a day of a plant takes seconds")
	}
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.Control.Socket = filepath.Join(t.TempDir(), "control.sock")
	b, err := appliance.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	control := statsd.Dial(cfg.Control.Socket)
	defer control.Close()
	log := watchConnections(t, control)

	plant := brokertest.NewPlant(brokertest.PlantOptions{Seed: 1883, Devices: 200, Day: 24 * time.Hour})
	tally, err := plant.Replay(t.Context(), b.Addr("local"))
	if err != nil {
		t.Fatal(err)
	}

	var snap statsd.Snapshot
	brokertest.WaitFor(t, "the last connections to end", func() bool {
		if snap, err = control.Stats(t.Context()); err != nil {
			t.Fatal(err)
		}
		return snap.ClientCount == 0 && total(snap.Disconnections) == tally.Connects
	})
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"connections", snap.Connections.Total, tally.Connects},
		{"disconnections", fmt.Sprint(snap.Disconnections), fmt.Sprint(tally.Disconnects)},
		{"received by QoS", [3]uint64{snap.Received.QoS0, snap.Received.QoS1, snap.Received.QoS2}, tally.Published.QoS},
		{"received payload bytes", snap.Received.PayloadBytes, tally.Published.Bytes},
		{"message count, wills included", snap.MessageCount, tally.Published.Messages() + tally.Wills.Messages()},
		{"sent by QoS", [3]uint64{snap.Sent.QoS0, snap.Sent.QoS1, snap.Sent.QoS2}, tally.Delivered.QoS},
		{"sent payload bytes", snap.Sent.PayloadBytes, tally.Delivered.Bytes},
		{"retained", uint64(snap.Retained.Messages), tally.Retained},
		{"kept sessions", uint64(snap.Sessions.Kept), tally.Sessions},
		{"subscriptions", uint64(snap.Subscriptions.Total), tally.Subscriptions},
		{"queued", snap.Queued.Messages, int64(0)},
	} {
		if c.got != c.want {
			t.Errorf("%s: stats say %v, the plant counted %v", c.what, c.got, c.want)
		}
	}
	t.Logf("%d connects, %d messages published, %d delivered", tally.Connects, tally.Published.Messages(), tally.Delivered.Messages())
	compareClients(t, control, tally)

	want := make(map[string]uint64)
	for id, c := range tally.Clients {
		want[id] = c.Connects
	}
	brokertest.WaitFor(t, "an event for each connect and each disconnect", func() bool {
		connects, disconnects := log.counts()
		return maps.Equal(connects, want) && maps.Equal(disconnects, want)
	})
}

// compareClients compares the counters of each session that is still there.
func compareClients(t *testing.T, control *statsd.ControlClient, tally brokertest.Tally) {
	t.Helper()
	clients, err := control.Clients(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(clients) == 0 {
		t.Error("no client has a kept session: nothing to compare")
	}
	for _, c := range clients {
		want := tally.Clients[c.ID]
		got := [4]uint64{c.Received.Messages, c.Received.PayloadBytes, c.Sent.Messages, c.Sent.PayloadBytes}
		if got != [4]uint64{want.Published.Messages(), want.Published.Bytes, want.Received.Messages(), want.Received.Bytes} {
			t.Errorf("client %s: clients list says %v, the plant counted %+v", c.ID, got, want)
		}
	}
}

// connectionLog counts connection and disconnection events by client.
type connectionLog struct {
	mu                    sync.Mutex
	connects, disconnects map[string]uint64
}

func (l *connectionLog) counts() (connects, disconnects map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.connects), maps.Clone(l.disconnects)
}

// watchConnections follows the events as `edgebroker events --type connection
// --type disconnection` does, until the test ends.
func watchConnections(t *testing.T, control *statsd.ControlClient) *connectionLog {
	t.Helper()
	log := &connectionLog{connects: map[string]uint64{}, disconnects: map[string]uint64{}}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- control.Events(ctx, events.Filter{Types: []events.Type{events.Connection, events.Disconnection}},
			func() { close(ready) }, func(e events.Event) error {
				log.mu.Lock()
				defer log.mu.Unlock()
				switch e.Type {
				case events.Connection:
					log.connects[e.Source]++
				case events.Disconnection:
					log.disconnects[e.Source]++
				default:
					return fmt.Errorf("unexpected event %+v", e)
				}
				return nil
			})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return log
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
