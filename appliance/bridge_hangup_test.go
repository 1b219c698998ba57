package appliance_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Over real sockets, with a store: a far side that hangs up at a topic gets all
// else, and what it hangs up at can be read.
func TestUplinkFarSideHangsUp(t *testing.T) {
	if testing.Short() {
		t.Skip("it is sure of its verdict after half a minute")
	}
	t.Parallel()
	far := newFarSide(t)
	far.answer = func(_ int, f wire.Frame) []byte {
		if f.Type == wire.PUBLISH {
			if p, _ := wire.DecodePublish(f, wire.V5); string(p.Topic) == "bad" {
				return hangUp
			}
		}
		return nil
	}
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1})}
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	for i := range 10 {
		pub.Publish([]string{"good", "bad"}[i/5%2*(1-i%2)], fmt.Sprint(i), 1, false)
	}
	brokertest.WaitFor(t, "an uplink for which nothing waits", func() bool {
		st := near.Uplinks()[0]
		return st.Queued+st.InFlight == 0
	})
	if got := once(far.payloads()); got != "0 1 2 3 4 5 7 9" {
		t.Errorf("got %q", got)
	}
	st := near.Uplinks()[0]
	if st.Dead != 2 || st.Refused != 2 || !strings.Contains(st.LastError, "closed the connection") {
		t.Errorf("got %+v", st)
	}
	balanced(t, near)
}
