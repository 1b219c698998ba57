package appliance_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// newest is an uplink whose live messages go first.
func newest(c appliance.BridgeConfig) appliance.BridgeConfig {
	c.Order = appliance.NewestFirst
	return c
}

// allDown waits until an uplink and all its lanes have lost their connections.
func allDown(t testing.TB, b *appliance.Broker) {
	t.Helper()
	brokertest.WaitFor(t, "lanes that are down", func() bool {
		for _, st := range b.Uplinks() {
			if st.State == bridge.Up || st.State == bridge.Stalled {
				return false
			}
		}
		return true
	})
}

// arrivals are what a far side has got of two kinds, in order each.
type arrivals struct{ live, backlog []string }

func (a *arrivals) add(t testing.TB, p wire.Delivery) {
	t.Helper()
	list := &a.backlog
	if p.Dup && (slices.Contains(a.live, string(p.Payload)) || slices.Contains(a.backlog, string(p.Payload))) {
		return // the far broker does not know that it has come
	}
	if strings.HasPrefix(string(p.Payload), "live") {
		list = &a.live
	}
	*list = append(*list, string(p.Payload))
}

// After an outage what is published goes before the backlog, which follows in its
// order; a second outage puts its messages at the end of that. Neither the end of
// the far side nor that of the gateway loses or doubles any.
func TestNewestFirst(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg, farCfg := config(t), config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	farCfg.Storage.Directory = filepath.Join(shortDir(t), "far")
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	cfg.Bridges = []appliance.BridgeConfig{newest(uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2}))}
	cfg.Bridges[0].SendRate = 200
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	const backlog, more, alive = 200, 40, 20
	for i := range backlog {
		pub.Publish("x", fmt.Sprint(i), 2, false)
	}

	above := brokertest.Kept(wire.V5, "above")
	spell := func(got *arrivals, most int) (late int) {
		t.Helper()
		pause(t, cfg, "up", true) // until somebody is there who gets it
		far := launch(t, farCfg)
		c := brokertest.Dial(t, address(far), above).AutoAck()
		c.Subscribe(2, "#")
		pause(t, cfg, "up", false)
		allUp(t, near, 2)
		before := len(got.live)
		for i := range alive { // at once: while the test takes its time, the backlog may go
			pub.PublishID(wire.Out{QoS: 2, Topic: []byte("x"), Payload: fmt.Append(nil, "live ", before+i)}, uint16(1000+i))
		}
		for i := range alive {
			pub.ExpectAck(wire.PUBREC, uint16(1000+i))
		}
		for i := range alive {
			pub.Ack(wire.PUBREL, uint16(1000+i))
			pub.ExpectAck(wire.PUBCOMP, uint16(1000+i))
		}
		began := len(got.backlog)
		for len(got.live) < before+alive || most > 0 && len(got.backlog) < most {
			live := len(got.live)
			got.add(t, c.ExpectPublish())
			if live == before { // it may have been on its way
				began = len(got.backlog)
			}
			if live < before+alive {
				late = len(got.backlog) - began
			}
		}
		if most > 0 {
			settled(t, near)
			c.ExpectNothing()
		}
		stop(t, far)
		allDown(t, near)
		return late
	}
	var got arrivals
	if late := spell(&got, 0); late > alive {
		t.Errorf("%d of the backlog came among the live messages", late)
	}
	if st := near.Uplinks(); st[0].Queued+st[0].InFlight == 0 || len(got.backlog) == backlog {
		t.Fatalf("the backlog is sent already: %d", len(got.backlog))
	}
	for i := range more {
		pub.Publish("x", fmt.Sprint(backlog+i), 2, false)
	}
	pub.Disconnect()
	stop(t, near)
	near = launch(t, cfg)
	pub = client(t, near, "pub")
	if late := spell(&got, backlog+more); late > alive {
		t.Errorf("%d of the backlog came among the live messages", late)
	}
	for i, list := range [][]string{got.live, got.backlog} {
		for n, payload := range list {
			if want := fmt.Sprint([]string{"live ", ""}[i], n); payload != want {
				t.Fatalf("%q came; want %q", payload, want)
			}
		}
	}
	balanced(t, near)
	if list := near.Uplinks(); len(list) != 2 || list[0].Name != "up" || list[1].Name != "up/live" || list[1].ClientID != "gateway-live" || list[1].Sent < alive {
		t.Errorf("got %+v", list)
	}
}

// Live messages of a lane go before the backlog of the lane, both at the rate of
// the lane, and both before lanes behind it.
func TestNewestLane(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg, farCfg := config(t), config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	cfg.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 1}))}
	cfg.Bridges[0].Lanes[0].Order, cfg.Bridges[0].Lanes[0].SendRate = appliance.NewestFirst, 100
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	const backlog, alive = 100, 10
	for i := range backlog {
		pub.Publish("alarm/x", fmt.Sprint(i), 2, false)
	}
	pub.Publish("other", "other", 1, false)
	pause(t, cfg, "up", true) // until somebody is there who gets it
	far := launch(t, farCfg)
	c := client(t, far, "above")
	c.Subscribe(2, "#")
	pause(t, cfg, "up", false)
	allUp(t, near, 3)
	for i := range alive {
		pub.Publish("alarm/x", fmt.Sprint("live ", i), 2, false)
	}
	var got arrivals
	after := 0
	for len(got.live)+len(got.backlog) < backlog+alive {
		p := c.ExpectPublish()
		if string(p.Topic) == "other" {
			continue
		}
		got.add(t, p)
		if len(got.live) == alive && after == 0 {
			after = len(got.backlog)
		}
	}
	if after > backlog-alive {
		t.Errorf("%d of the backlog came before the last live message", after)
	}
	settled(t, near)
	list := near.Uplinks()
	if len(list) != 3 || list[1].Name != "up/alarms" || list[2].Name != "up/alarms/live" || list[2].ClientID != "gateway-alarms-live" || list[2].Acked != alive {
		t.Errorf("got %+v", list)
	}
	pause(t, cfg, "up/alarms", true)
	list = near.Uplinks()
	if list[0].State != bridge.Up || list[1].State != bridge.Paused || list[2].State != bridge.Paused {
		t.Errorf("got %+v", list)
	}
	balanced(t, near)
}

// The order is changed again and again while messages pass, and connections come
// and go: none is lost, and none comes twice. What is left in a session for live
// messages that is not wanted any more goes, over a restart too, and then it is
// forgotten.
func TestNewestReload(t *testing.T) {
	brokertest.NoLeaks(t)
	farCfg := config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	oldest := config(t)
	oldest.Storage.Directory = filepath.Join(shortDir(t), "near")
	oldest.Bridges = []appliance.BridgeConfig{withLanes(uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2}))}
	first := oldest
	first.Bridges = []appliance.BridgeConfig{newest(oldest.Bridges[0])}
	var source changing
	near := source.begin(t, first)
	reload := func(c appliance.Config) { t.Helper(); source.reload(t, near, c) }
	far := launch(t, farCfg)
	above := client(t, far, "above")
	above.Subscribe(2, "#")
	const n = 400
	var publishing sync.WaitGroup
	pub := client(t, near, "pub")
	publishing.Go(func() {
		for i := range n {
			pub.Publish([]string{"alarm/x", "other"}[i%2], fmt.Sprint(i), 2, i%10 == 0)
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
			reload([]appliance.Config{oldest, first}[i/25%2])
		}
	}
	publishing.Wait()
	above.ExpectNothing()

	reload(first)
	allUp(t, near, 4)
	settled(t, near)
	pause(t, first, "up", true)
	pub.Publish("other", "waits in the backlog", 2, false)
	reload(oldest) // and it is still paused
	if list := near.Uplinks(); len(list) != 2 || list[0].State != bridge.Paused || list[0].Queued != 1 {
		t.Errorf("got %+v", list)
	}
	reload(first)
	list := near.Uplinks()
	if len(list) != 4 || list[1].State != bridge.Paused || list[3].State != bridge.Paused {
		t.Errorf("got %+v", list)
	}
	pub.Disconnect()
	stop(t, near)
	near = source.begin(t, oldest)
	t.Cleanup(func() { stop(t, near) })
	above.ExpectMessage("other", "waits in the backlog")
	settled(t, near)
	if list := near.Uplinks(); len(list) != 2 {
		t.Errorf("got %+v", list)
	}
	above.ExpectNothing()
	balanced(t, near)
	balanced(t, far)
}

// What comes in by an uplink does not go out by its live messages, and what those
// are does not come in again.
func TestNewestNoCircle(t *testing.T) {
	brokertest.NoLeaks(t)
	far := launch(t, config(t))
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{newest(uplinkTo(address(far), appliance.BridgeTopic{Filter: "#", QoS: 1, Direction: appliance.BridgeBoth}))}
	near := launch(t, cfg)
	allUp(t, near, 2)
	above, below := client(t, far, "above"), client(t, near, "below")
	above.Subscribe(2, "#")
	below.Subscribe(2, "#")
	for i := range 5 {
		up, down := fmt.Sprint("up", i), fmt.Sprint("down", i)
		above.Publish("x", down, 1, false)
		above.ExpectMessage("x", down)
		below.ExpectMessage("x", down)
		below.Publish("x", up, 1, i == 3)
		below.ExpectMessage("x", up)
		above.ExpectMessage("x", up)
	}
	settled(t, near)
	above.ExpectNothing()
	below.ExpectNothing()
	if list := near.Uplinks(); list[1].Acked != 4 || list[0].Acked != 1 { // the retained one
		t.Errorf("got %+v", list)
	}
	balanced(t, near)
	balanced(t, far)
}

// A live message that the far side never takes is a dead letter of the uplink, and
// is sent again from there.
func TestNewestDeadLetters(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	var mu sync.Mutex
	refuse := true
	far.answer = func(_ int, f wire.Frame) []byte {
		if f.Type != wire.PUBLISH {
			return nil
		}
		p, _ := wire.DecodePublish(f, wire.V5)
		mu.Lock()
		defer mu.Unlock()
		if !refuse {
			return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, wire.Success)
		}
		return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, wire.TopicNameInvalid)
	}
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{newest(uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1}))}
	near := launch(t, cfg)
	allUp(t, near, 2)
	client(t, near, "pub").Publish("x", "dead", 1, false)
	brokertest.WaitFor(t, "a dead letter", func() bool { return near.Uplinks()[0].Dead == 1 })
	if n := near.Uplinks()[1].Dead; n != 0 {
		t.Errorf("live messages have %d dead letters of their own", n)
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	control := statsd.Dial(cfg.Control.Socket)
	defer control.Close()
	if n, err := control.EndDeadLetters(t.Context(), "up/live", true); err != nil || n != 1 {
		t.Errorf("%d are sent again: %v", n, err)
	}
	brokertest.WaitFor(t, "a message that is taken", func() bool { return near.Uplinks()[0].Acked == 1 })
	settled(t, near)
	balanced(t, near)
}

// To a stream live messages go by a connection of their own as well, each once,
// also after a restart.
func TestNewestNATS(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "T", Subjects: []string{"plant.>"}})
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{newest(uplinkToNATS(o, "T", appliance.BridgeTopic{Filter: "plant/#", QoS: 1, Direction: appliance.BridgeBoth}))}
	near := launch(t, cfg)
	allUp(t, near, 2)
	pub := client(t, near, "pub")
	for i := range 20 {
		pub.Publish("plant/x", fmt.Sprint(i), 1, false)
		if i%8 == 7 {
			pub.Disconnect()
			stop(t, near)
			near = launch(t, cfg)
			if i > 8 {
				allUp(t, near, 2)
			}
			pub = client(t, near, "pub")
		}
	}
	settled(t, near)
	count := make(map[string]int)
	for _, m := range inStream(t, stream) {
		if m.Subject != "plant.x" {
			continue
		}
		count[string(m.Data)]++
		if g := m.Header.Get("Edgebroker-Gateway"); g != "gateway" {
			t.Errorf("a message is from gateway %q", g)
		}
	}
	for i := range 20 {
		if n := count[fmt.Sprint(i)]; n != 1 {
			t.Errorf("%d is there %d times", i, n)
		}
	}
	balanced(t, near)
}
