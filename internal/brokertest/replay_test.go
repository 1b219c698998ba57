package brokertest_test

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// startBroker runs an appliance and returns its MQTT address.
func startBroker(t *testing.T) string {
	t.Helper()
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	b, err := appliance.New(cfg, appliance.WithLogger(slog.New(slog.DiscardHandler)), appliance.WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stop the broker: %v", err)
		}
	})
	return b.Addr(cfg.Listeners[0].Name)
}

// TestReplay lives through a few hours and compares what the clients counted
// with what the schedule says.
func TestReplay(t *testing.T) {
	p := brokertest.NewPlant(brokertest.PlantOptions{Seed: 5, Devices: 100, Day: 8 * time.Hour})
	got, err := p.Replay(t.Context(), startBroker(t))
	if err != nil {
		t.Fatal(err)
	}
	want := p.Expect()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the clients counted\n%+v\nthe schedule says\n%+v", got, want)
	}
}
