package appliance_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Whatever becomes of the far side, the gateway, its configuration and its
// connections, and when: each message of QoS 2 is on the far side once in the end,
// and what is retained there is what was published last.
func TestNewestStorm(t *testing.T) {
	brokertest.NoLeaks(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	farCfg, oldest := config(t), config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	farCfg.Storage.Directory = filepath.Join(shortDir(t), "far")
	oldest.Storage.Directory = filepath.Join(shortDir(t), "near")
	oldest.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2}))}
	oldest.Bridges[0].SendRate = 100
	configs := []appliance.Config{oldest, oldest, oldest}
	configs[1].Bridges = []appliance.BridgeConfig{newest(oldest.Bridges[0])}
	configs[2].Bridges = []appliance.BridgeConfig{newest(oldest.Bridges[0])}
	configs[2].Bridges[0].Lanes = []appliance.BridgeLane{{Name: "alarms", Order: appliance.OldestFirst}}
	var source changing
	inForce := configs[1]
	reload := func(near *appliance.Broker, c appliance.Config) {
		inForce = c
		source.reload(t, near, c)
	}
	far := newBroker(t, farCfg)
	if err := far.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	above := brokertest.Dial(t, address(far), brokertest.Kept(wire.V5, "above"))
	above.Subscribe(2, "#")
	above.Disconnect()
	near := source.begin(t, inForce)
	t.Cleanup(func() {
		stop(t, near)
		stop(t, far)
	})
	pub := client(t, near, "pub")
	n, last := 0, 0
	for range 20 {
		for range dice.IntN(12) {
			retain := dice.IntN(5) == 0
			topic := []string{"alarm/x", "other"}[n%2]
			if retain {
				topic, last = "retained", n
			}
			pub.Publish(topic, fmt.Sprint(n), 2, retain)
			n++
		}
		switch dice.IntN(8) {
		case 0, 1:
			stop(t, far)
			far = newBroker(t, farCfg)
			if err := far.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 2:
			pub.Disconnect()
			balanced(t, near)
			stop(t, near)
			near = source.begin(t, inForce)
			pub = client(t, near, "pub")
		case 3, 4:
			reload(near, configs[dice.IntN(len(configs))])
		case 5:
			pause(t, inForce, []string{"up", "up/alarms"}[dice.IntN(2)], dice.IntN(2) == 0)
		}
	}
	reload(near, configs[1])
	pause(t, inForce, "up", true)
	for range 60 {
		pub.Publish("retained", fmt.Sprint(n), 2, true)
		n++
	}
	pause(t, inForce, "up", false)
	allUp(t, near, 4)
	pub.Publish("retained", fmt.Sprint(n), 2, true) // while older ones wait
	last = n
	n++
	settled(t, near)
	balanced(t, near)
	stop(t, near)
	above = client(t, far, "look")
	above.Subscribe(1, "retained")
	above.ExpectMessage("retained", fmt.Sprint(last))
	above = brokertest.Dial(t, address(far), brokertest.Kept(wire.V5, "above")).AutoAck()
	got := make(map[string]int)
	for range n {
		got[string(above.ExpectPublish().Payload)]++
	}
	above.ExpectNothing()
	for i := range n {
		if times := got[fmt.Sprint(i)]; times != 1 {
			t.Errorf("%d is there %d times", i, times)
		}
	}
}
