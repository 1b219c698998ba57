package appliance_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What waits for an uplink that is down waits after a handover, too, and arrives
// once and in its order; without a store as well.
func TestHandoverOfUplinks(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			far := brokertest.Ports(t, 1)[0]
			cfg := config(t)
			if stored {
				cfg.Storage.Directory = t.TempDir()
			}
			cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far, appliance.BridgeTopic{Filter: "up/#", QoS: 2})}
			b := launch(t, cfg)
			pub := brokertest.Dial(t, address(b), brokertest.Clean(wire.V5, "pub"))
			for i := range 5 {
				pub.Publish("up/1", fmt.Sprint(i), byte(1+i%2), false)
			}
			var parcel *os.File
			moved, err := b.HandOver(t.Context(), func(f *os.File) (err error) {
				parcel, err = handover.Keep(f)
				return err
			})
			if !moved || err != nil {
				t.Fatal(moved, err)
			}
			p, err := handover.Open(parcel)
			if err != nil {
				t.Fatal(err)
			}
			goOn(t, cfg, p)
			p.Close()
			pub.Publish("up/1", "5", 2, false)
			there := config(t)
			there.Listeners[0].Address = far
			cloud := newBroker(t, there)
			var mu sync.Mutex
			var got []string
			cloud.On("message", func(e events.Event) { // before anything can come
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(e.Data.(events.MessageData).Payload))
			})
			if err := cloud.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(t, cloud) })
			brokertest.WaitFor(t, "all messages", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return strings.Join(got, " ") == "0 1 2 3 4 5"
			})
		})
	}
}

// A broker that does not run hands nothing over, and one that has handed over is
// over.
func TestHandoverOfAnEndedBroker(t *testing.T) {
	b, err := appliance.New(config(t))
	if err != nil {
		t.Fatal(err)
	}
	never := func(*os.File) error { t.Error("a parcel was sent"); return nil }
	if moved, err := b.HandOver(t.Context(), never); moved || err == nil {
		t.Errorf("before the start: %v, %v", moved, err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if moved, err := b.HandOver(t.Context(), func(*os.File) error { return nil }); !moved || err != nil {
		t.Errorf("%v, %v", moved, err)
	}
	if moved, err := b.HandOver(t.Context(), never); moved || err == nil {
		t.Errorf("again: %v, %v", moved, err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// goOn runs a broker that goes on from p.
func goOn(t *testing.T, cfg appliance.Config, p *handover.Parcel) {
	t.Helper()
	b, err := appliance.New(cfg, appliance.WithHandover(p))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
}
