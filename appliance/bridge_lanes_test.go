package appliance_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// withLanes is an uplink with a lane for alarms.
func withLanes(c appliance.BridgeConfig) appliance.BridgeConfig {
	c.Lanes = []appliance.BridgeLane{{Name: "alarms"}}
	c.Topics = append([]appliance.BridgeTopic{{Filter: "alarm/#", QoS: 2, Lane: "alarms"}}, c.Topics...)
	return c
}

// settled waits until nothing waits in any lane of any uplink.
func settled(t testing.TB, b *appliance.Broker) {
	t.Helper()
	brokertest.WaitFor(t, "lanes in which nothing waits", func() bool {
		for _, st := range b.Uplinks() {
			if st.Queued+st.InFlight > 0 {
				return false
			}
		}
		return true
	})
}

// allUp waits until an uplink and all its lanes are.
func allUp(t testing.TB, b *appliance.Broker, lanes int) {
	t.Helper()
	brokertest.WaitFor(t, "lanes that are up", func() bool {
		n := 0
		for _, st := range b.Uplinks() {
			if st.State == bridge.Up {
				n++
			}
		}
		return n == lanes
	})
}

// Alarms that come while a backlog drains at the rate that they share with it
// arrive before what is left of that, each message once.
func TestLanesAlarmsFirst(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	farCfg := config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	cfg.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2}))}
	cfg.Bridges[0].SendRate = 200
	near := launch(t, cfg)
	pause(t, cfg, "up", true) // nothing is to come before somebody listens
	pub := client(t, near, "pub")
	const backlog, alarms = 300, 20
	for i := range backlog {
		pub.Publish("bulk", fmt.Sprint(i), 1+byte(i%2), false)
	}
	far := launch(t, farCfg)
	above := client(t, far, "above")
	above.Subscribe(2, "#")
	pause(t, cfg, "up", false)
	bulk, alarm, after := 0, 0, 0
	for bulk+alarm < backlog+alarms {
		switch p := above.ExpectPublish(); string(p.Topic) {
		case "bulk":
			if bulk++; bulk == 50 { // most of it still waits
				for i := range alarms {
					pub.Publish("alarm/x", fmt.Sprint(i), 2, false)
				}
			}
			if alarm < alarms && bulk > 50 {
				after++
			}
		case "alarm/x":
			if string(p.Payload) != fmt.Sprint(alarm) {
				t.Fatalf("alarm %s came; want %d", p.Payload, alarm)
			}
			alarm++
		}
	}
	above.ExpectNothing()
	// What was on its way already, and what was due before the last alarm was there.
	if after > 100 {
		t.Errorf("%d messages of the backlog came before the last alarm", after)
	}
	settled(t, near)
	balanced(t, near)
	list := near.Uplinks()
	if len(list) != 2 || list[0].Name != "up" || list[1].Name != "up/alarms" || list[1].ClientID != "gateway-alarms" || list[1].Acked != alarms || list[0].Acked != backlog {
		t.Errorf("got %+v", list)
	}
}

// What comes in by an uplink does not go out by a lane of it, and what goes out by
// a lane does not come in again.
func TestLanesNoCircle(t *testing.T) {
	brokertest.NoLeaks(t)
	far := launch(t, config(t))
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(address(far), appliance.BridgeTopic{Filter: "#", QoS: 1, Direction: appliance.BridgeBoth}))}
	cfg.Bridges[0].Topics[0].Direction = appliance.BridgeBoth
	near := launch(t, cfg)
	allUp(t, near, 2)
	above, below := client(t, far, "above"), client(t, near, "below")
	above.Subscribe(2, "#")
	below.Subscribe(2, "#")
	for _, topic := range []string{"alarm/x", "other"} {
		above.Publish(topic, "down", 1, false)
		above.ExpectMessage(topic, "down")
		below.ExpectMessage(topic, "down")
		below.Publish(topic, "up", 1, false)
		below.ExpectMessage(topic, "up")
		above.ExpectMessage(topic, "up")
	}
	settled(t, near)
	above.ExpectNothing()
	below.ExpectNothing()
	balanced(t, near)
	balanced(t, far)
}

// Lanes come and go while messages pass: none is lost, and none comes twice. A
// lane that is gone from the configuration sends what waits in it, over a restart
// too, and is forgotten then.
func TestLanesReload(t *testing.T) {
	brokertest.NoLeaks(t)
	farCfg := config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	plain := config(t)
	plain.Storage.Directory = filepath.Join(shortDir(t), "near")
	plain.Bridges = []appliance.BridgeConfig{uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2})}
	laned := plain
	laned.Bridges = []appliance.BridgeConfig{withLanes(plain.Bridges[0])}
	var source changing
	near := source.begin(t, plain)
	reload := func(c appliance.Config) { t.Helper(); source.reload(t, near, c) }
	far := launch(t, farCfg)
	above := client(t, far, "above")
	above.Subscribe(2, "#")
	const n = 400
	var publishing sync.WaitGroup
	pub := client(t, near, "pub")
	publishing.Go(func() {
		for i := range n {
			pub.Publish("alarm/x", fmt.Sprint(i), 2, false)
		}
	})
	got := make(map[string]bool)
	for i := range n {
		p := above.ExpectPublish()
		if got[string(p.Payload)] {
			t.Fatalf("%s came twice", p.Payload)
		}
		got[string(p.Payload)] = true
		if i%25 == 0 {
			reload([]appliance.Config{laned, plain}[i/25%2])
		}
	}
	publishing.Wait()
	above.ExpectNothing()

	reload(laned)
	allUp(t, near, 2)
	settled(t, near)
	stop(t, far)
	brokertest.WaitFor(t, "lanes that are down", func() bool {
		return near.Uplinks()[0].State == bridge.Down && near.Uplinks()[1].State == bridge.Down
	})
	pub.Publish("alarm/x", "by the lane", 2, false)
	reload(plain)
	pub.Publish("alarm/x", "by the uplink", 2, false)
	pub.Disconnect()
	stop(t, near)
	near = source.begin(t, plain)
	t.Cleanup(func() { stop(t, near) })
	if list := near.Uplinks(); len(list) != 2 || list[1].Name != "up/alarms" || list[1].Queued+list[1].InFlight != 1 || list[0].Queued+list[0].InFlight != 1 {
		t.Errorf("got %+v", list)
	}
	pause(t, plain, "up", true) // nothing is to come before somebody listens
	far = launch(t, farCfg)
	above = client(t, far, "above")
	above.Subscribe(2, "#")
	pause(t, plain, "up", false)
	pair := []string{string(above.ExpectPublish().Payload), string(above.ExpectPublish().Payload)}
	if both := strings.Join(pair, ", "); both != "by the lane, by the uplink" && both != "by the uplink, by the lane" {
		t.Errorf("got %s", both)
	}
	settled(t, near)
	reload(plain)
	if list := near.Uplinks(); len(list) != 1 {
		t.Errorf("got %+v", list)
	}
	above.ExpectNothing()
	balanced(t, near)
}

// Lanes are paused with their uplink or alone, and dead letters of all are with
// the uplink.
func TestLanesControl(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	far.answer = func(_ int, f wire.Frame) []byte {
		if f.Type == wire.PUBLISH {
			p, _ := wire.DecodePublish(f, wire.V5)
			return wire.AppendAck(nil, map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC}[p.QoS], wire.V5, p.PacketID, wire.TopicNameInvalid)
		}
		return nil
	}
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1}))}
	near := launch(t, cfg)
	allUp(t, near, 2)
	state := func(want ...bridge.State) {
		t.Helper()
		brokertest.WaitFor(t, fmt.Sprint("states ", want), func() bool {
			list := near.Uplinks()
			return list[0].State == want[0] && list[1].State == want[1]
		})
	}
	pause(t, cfg, "up/alarms", true)
	state(bridge.Up, bridge.Paused)
	pause(t, cfg, "up", true)
	state(bridge.Paused, bridge.Paused)
	pub := client(t, near, "pub")
	pub.Publish("alarm/x", "alarm", 2, false)
	pub.Publish("other", "other", 1, false)
	if list := near.Uplinks(); list[0].Queued != 1 || list[1].Queued != 1 {
		t.Errorf("got %+v", list)
	}
	pause(t, cfg, "up", false)
	state(bridge.Up, bridge.Up)
	settled(t, near)
	brokertest.WaitFor(t, "dead letters", func() bool { return near.Uplinks()[0].Dead == 2 })
	if n := near.Uplinks()[1].Dead; n != 0 {
		t.Errorf("the lane has %d dead letters of its own", n)
	}
}

// Lanes to a stream: each message is there once, in order within its lane, also
// when it is sent again, and comes in by none of them.
func TestLanesNATS(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "T", Subjects: []string{"plant.>", "alarm.>"}})
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{withLanes(uplinkToNATS(o, "T", appliance.BridgeTopic{Filter: "plant/#", QoS: 1, Direction: appliance.BridgeBoth}))}
	near := launch(t, cfg)
	allUp(t, near, 2)
	below := client(t, near, "below")
	pub := client(t, near, "pub")
	below.Subscribe(1, "#")
	for i := range 20 {
		topic := []string{"plant/x", "alarm/x"}[i%2]
		pub.Publish(topic, "same", 1, false)
		below.ExpectMessage(topic, "same")
		if i == 9 {
			settled(t, near)
			stop(t, near)
			near = launch(t, cfg)
			allUp(t, near, 2)
			below, pub = client(t, near, "below"), client(t, near, "pub")
			below.Subscribe(1, "#")
		}
	}
	settled(t, near)
	count := make(map[string]int)
	for _, m := range inStream(t, stream) {
		if m.Subject == "plant.x" || m.Subject == "alarm.x" {
			count[m.Subject]++
		}
		if g := m.Header.Get("Edgebroker-Gateway"); g != "gateway" {
			t.Errorf("%s is from gateway %q", m.Subject, g)
		}
	}
	if count["plant.x"] != 10 || count["alarm.x"] != 10 {
		t.Errorf("in the stream are %v", count)
	}
	below.ExpectNothing()
	balanced(t, near)
}
