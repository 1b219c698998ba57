package brokertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A ring finds nothing amiss with a broker, and sees one that ends.
func TestRing(t *testing.T) {
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	b, err := appliance.New(cfg, appliance.WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ring, err := brokertest.JoinRing(brokertest.RingOptions{Addr: b.Addr(cfg.Listeners[0].Name), Members: 8, Name: "ring"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	tally, err := ring.Run(ctx)
	if err != nil || tally.Acked < 8 || tally.Got != tally.Acked || tally.Lost+tally.Again+tally.Twice+tally.Disorder != 0 || tally.Longest <= 0 {
		t.Errorf("got %+v, %v", tally, err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Run(t.Context()); err == nil {
		t.Error("a broker that has ended is as good")
	}
	_ = ring.Leave()
}
