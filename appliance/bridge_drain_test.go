package appliance_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
)

// pause pauses or resumes an uplink as somebody at the console does.
func pause(t testing.TB, cfg appliance.Config, name string, pause bool) {
	t.Helper()
	control := statsd.Dial(cfg.Control.Socket)
	defer control.Close()
	if err := control.PauseBridge(t.Context(), name, pause); err != nil {
		t.Fatal(err)
	}
}

// After an outage the far side gets the latest of each topic, once, also if both
// ends were started anew meanwhile, and all where a rule does not say so.
func TestUplinkKeepLatest(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg, farCfg := config(t), config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(farCfg.Listeners[0].Address,
		appliance.BridgeTopic{Filter: "all/#", QoS: 2},
		appliance.BridgeTopic{Filter: "#", QoS: 2, Keep: appliance.KeepLatest})}
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	for i := range 30 {
		pub.Publish(fmt.Sprint("last/", i%3), fmt.Sprint(i), 1+byte(i%2), i%2 == 0)
		if i%10 == 0 {
			pub.Publish("all/x", fmt.Sprint(i), 1, false)
		}
		if i == 15 {
			pub.Disconnect()
			stop(t, near)
			near = launch(t, cfg)
			pub = client(t, near, "pub")
		}
	}
	pause(t, cfg, "up", true)
	c := client(t, launch(t, farCfg), "above")
	c.Subscribe(2, "#")
	pause(t, cfg, "up", false)
	for _, want := range [][2]string{{"all/x", "0"}, {"all/x", "10"}, {"all/x", "20"}, {"last/0", "27"}, {"last/1", "28"}, {"last/2", "29"}} {
		c.ExpectMessage(want[0], want[1])
	}
	relayed(t, near)
	c.ExpectNothing()
	balanced(t, near)
}

// What has waited for longer than its rule lets it, over a restart too, is
// dropped, and says so; the first rule that fits a topic counts.
func TestUplinkTTL(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	to := brokertest.Ports(t, 1)[0]
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(to,
		appliance.BridgeTopic{Filter: "alarm/#", QoS: 2},
		appliance.BridgeTopic{Filter: "temp/#", QoS: 2, TTL: time.Second},
		appliance.BridgeTopic{Filter: "#", QoS: 2, TTL: time.Hour})}
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	pub.Publish("temp/a", "old", 1, false)
	pub.Publish("alarm/a", "for ever", 2, false)
	pub.Publish("temp/a", "old", 2, false)
	pub.Publish("other", "for an hour", 1, false)
	pub.Disconnect()
	stop(t, near)
	near = launch(t, cfg)
	pause(t, cfg, "up", true)
	began := time.Now() // while the broker is down no time passes for it
	brokertest.WaitFor(t, "time to pass", func() bool { return time.Since(began) > 2100*time.Millisecond })
	farCfg := config(t)
	farCfg.Listeners[0].Address = to
	c := client(t, launch(t, farCfg), "above")
	c.Subscribe(2, "#")
	pause(t, cfg, "up", false)
	is(t, near, bridge.Up)
	c.ExpectMessage("alarm/a", "for ever")
	c.ExpectMessage("other", "for an hour")
	relayed(t, near)
	c.ExpectNothing()
	if n := near.Stats().Dropped.ByReason["expired"]; n != 2 {
		t.Errorf("%d messages have expired; want 2", n)
	}
	balanced(t, near)
}
