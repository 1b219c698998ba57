package appliance_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// uplinkTo is an uplink that is quick to come back.
func uplinkTo(address string, topics ...appliance.BridgeTopic) appliance.BridgeConfig {
	return appliance.BridgeConfig{Name: "up", Address: "mqtt://" + address, ClientID: "gateway", Topics: topics,
		RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond, AckTimeout: 2 * time.Second, Canary: appliance.BridgeCanary{Enabled: new(bool)}}
}

// is waits until an uplink is in a state.
func is(t testing.TB, b *appliance.Broker, want bridge.State) bridge.Status {
	t.Helper()
	var st bridge.Status
	brokertest.WaitFor(t, "an uplink that is "+string(want), func() bool {
		st = b.Uplinks()[0]
		return st.State == want
	})
	return st
}

// relayed waits until nothing waits for the far side any more.
func relayed(t testing.TB, b *appliance.Broker) {
	t.Helper()
	brokertest.WaitFor(t, "an uplink for which nothing waits", func() bool {
		st := b.Uplinks()[0]
		return st.Queued+st.InFlight == 0
	})
}

// balanced checks that a broker can account for every message.
func balanced(t testing.TB, b *appliance.Broker) {
	t.Helper()
	if books := b.Balance(); !books.Balanced {
		t.Errorf("the books do not balance: %+v", books)
	}
}

// launch is start for brokers that know each other: whoever started first may
// have more to do when the other one is there.
func launch(t testing.TB, cfg appliance.Config) *appliance.Broker {
	t.Helper()
	b := newBroker(t, cfg)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
	return b
}

func address(b *appliance.Broker) string { return b.Stats().Listeners[0].Address }

func client(t testing.TB, b *appliance.Broker, id string) *brokertest.Client {
	t.Helper()
	return brokertest.Dial(t, address(b), brokertest.Clean(wire.V5, id)).AutoAck()
}

// What an uplink lets pass, and as what.
func TestUplink(t *testing.T) {
	brokertest.NoLeaks(t)
	far := launch(t, config(t))
	yes, no := true, false
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(address(far),
		appliance.BridgeTopic{Filter: "plant/#", QoS: 2, RemotePrefix: "gw1/", Retain: &yes},
		appliance.BridgeTopic{Filter: "cheap/#", QoS: 0},
		appliance.BridgeTopic{Filter: "state/#", QoS: 1, Retain: &no},
		appliance.BridgeTopic{Filter: "set/#", Direction: appliance.BridgeIn, QoS: 1, LocalPrefix: "from/cloud/", RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "chat/#", Direction: appliance.BridgeBoth, QoS: 1},
		appliance.BridgeTopic{Filter: "#", QoS: 1, LocalPrefix: "hall/"},
	)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	above, below := client(t, far, "above"), client(t, near, "below")
	above.Subscribe(2, "#")
	below.Subscribe(2, "from/#", "chat/#")

	for qos := range byte(3) {
		payload := fmt.Sprint("at ", qos)
		below.Publish("plant/a", payload, qos, false)
		if got := above.ExpectMessage("gw1/plant/a", payload); got.QoS != qos {
			t.Errorf("QoS %d became %d", qos, got.QoS)
		}
	}
	below.Publish("cheap/x", "for free", 2, false)
	if got := above.ExpectMessage("cheap/x", "for free"); got.QoS != 0 {
		t.Errorf("QoS %d; the rule says 0", got.QoS)
	}
	below.Publish("state/s", "on", 1, true)
	above.ExpectMessage("state/s", "on")
	below.Publish("plant/r", "kept", 1, true)
	above.ExpectMessage("gw1/plant/r", "kept")
	below.Publish("hall", "is not behind the prefix", 1, false)
	below.Publish("hall/door", "open", 1, false)
	above.ExpectMessage("door", "open")
	below.Publish("elsewhere", "stays", 1, false)
	below.Publish("set/x", "stays as well", 1, false)
	late := client(t, far, "late")
	late.Subscribe(1, "#")
	late.ExpectMessage("gw1/plant/r", "kept") // and not state/s

	above.Publish("gw1/set/speed", "12", 2, false)
	above.ExpectMessage("gw1/set/speed", "12")
	if got := below.ExpectMessage("from/cloud/set/speed", "12"); got.QoS != 1 {
		t.Errorf("QoS %d came in; the rule says 1", got.QoS)
	}
	above.Publish("chat/1", "hello", 1, false)
	above.ExpectMessage("chat/1", "hello")
	below.ExpectMessage("chat/1", "hello")
	below.Publish("chat/2", "hello yourself", 1, false)
	below.ExpectMessage("chat/2", "hello yourself")
	got := above.ExpectMessage("chat/2", "hello yourself")
	if !strings.Contains(string(got.Props), "edgebroker-via") {
		t.Errorf("properties %q do not say where it has been", got.Props)
	}
	above.ExpectNothing()
	below.ExpectNothing()
	balanced(t, near)
	balanced(t, far)
	if st := near.Uplinks()[0]; st.Loops != 0 || st.Refused != 0 || st.Connects != 1 {
		t.Errorf("got %+v", st)
	}
}

// In a circle of brokers of which each passes everything to the next, a message
// gets to each of them once, and back to where it began, and no further.
func TestUplinksInACircle(t *testing.T) {
	brokertest.NoLeaks(t)
	const n = 3
	var brokers [n]*appliance.Broker
	var configs [n]appliance.Config
	ports := brokertest.Ports(t, n)
	for i := range n {
		configs[i] = config(t)
		configs[i].Listeners[0].Address = ports[i]
		configs[i].Sys.Node = fmt.Sprint("node", i)
		configs[i].Bridges = []appliance.BridgeConfig{uplinkTo(ports[(i+1)%n], appliance.BridgeTopic{Filter: "#", QoS: 2})}
	}
	for i := range n {
		brokers[i] = launch(t, configs[i])
	}
	for i := range n {
		is(t, brokers[i], bridge.Up)
	}
	var clients [n]*brokertest.Client
	for i := range n {
		clients[i] = client(t, brokers[i], "c")
		clients[i].Subscribe(2, "#")
	}
	for i := range n {
		clients[i].Publish("t", fmt.Sprint("from ", i), 1, false)
		for j := range n {
			clients[j].ExpectMessage("t", fmt.Sprint("from ", i))
		}
		clients[i].ExpectMessage("t", fmt.Sprint("from ", i))
	}
	for i := range n {
		relayed(t, brokers[i])
	}
	for i := range n {
		clients[i].ExpectNothing()
		if st := brokers[i].Uplinks()[0]; st.Loops == 0 {
			t.Errorf("no circle was noticed: %+v", st)
		}
	}
}

// What is published while the far side is away comes later, in order and once,
// also when both brokers have been started anew meanwhile.
func TestUplinkOutage(t *testing.T) {
	for _, version := range []appliance.BridgeVersion{appliance.BridgeV5, appliance.BridgeV311} {
		t.Run(string(version), func(t *testing.T) { uplinkOutage(t, version) })
	}
}

func uplinkOutage(t *testing.T, version appliance.BridgeVersion) {
	farCfg, nearCfg := config(t), config(t)
	farCfg.Listeners[0].Address = brokertest.Ports(t, 1)[0]
	farCfg.Storage.Directory, nearCfg.Storage.Directory = filepath.Join(shortDir(t), "far"), filepath.Join(shortDir(t), "near")
	nearCfg.Bridges = []appliance.BridgeConfig{uplinkTo(farCfg.Listeners[0].Address, appliance.BridgeTopic{Filter: "#", QoS: 2})}
	nearCfg.Bridges[0].Version = version
	brokertest.NoLeaks(t)
	far := launch(t, farCfg)
	keeper := brokertest.Dial(t, address(far), brokertest.Kept(wire.V5, "keeper"))
	keeper.Subscribe(2, "#")
	keeper.Disconnect()
	near := launch(t, nearCfg)
	is(t, near, bridge.Up)
	n := 0
	publish := func(count int) {
		pub := client(t, near, "pub")
		for range count {
			pub.Publish("t", fmt.Sprint(n), 1+byte(n%2), false)
			n++
		}
		pub.Disconnect()
	}
	for range 3 {
		publish(20)
		stop(t, far)
		publish(20)
		stop(t, near)
		near = launch(t, nearCfg)
		publish(20)
		far = launch(t, farCfg)
		publish(20)
	}
	relayed(t, near)
	keeper = brokertest.Dial(t, address(far), brokertest.Kept(wire.V5, "keeper")).AutoAck()
	// Order holds for each QoS; at QoS 1 what was sent may come again.
	for next := [2]int{0, 1}; next[0] < n || next[1] < n; {
		d := keeper.ExpectPublish()
		got, err := strconv.Atoi(string(d.Payload))
		if err != nil {
			t.Fatal(err)
		}
		switch want := next[got%2]; {
		case got == want:
			next[got%2] += 2
		case got > want:
			t.Fatalf("got %d; want %d", got, want)
		case d.QoS == 2:
			t.Fatalf("got %d again at QoS 2", got)
		}
	}
	keeper.ExpectNothing()
	keeper.Disconnect()
	balanced(t, near)
	balanced(t, far)
}

// What clients publish who have been waiting for the broker to start is for the
// uplink, too.
func TestUplinkMissesNothingAtTheStart(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	c := brokertest.Clean(wire.V5, "early")
	early := wire.AppendConnect(nil, &c)
	early = wire.AppendPublish(early, &wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("t"), Payload: []byte("early")}, 1)
	if _, err := waiting.Write(early); err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	yes := true
	cfg.Listeners[0].Address, cfg.Listeners[0].AllowAnonymous = "systemd:mqtt", &yes
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1})}
	near := newBroker(t, cfg, appliance.WithSockets([]systemd.Socket{{Name: "mqtt", Listener: l}}))
	if err := near.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, near) })
	brokertest.WaitFor(t, "the early message", func() bool { return far.payloads() == "early" })
}

// No device gets hold of an uplink's session, or of what is to be sent by it.
func TestDevicesAreNoUplinks(t *testing.T) {
	far := newFarSide(t)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1})}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	for _, id := range []string{"$bridge/up", "$bridge/up/dead"} {
		for _, c := range []wire.Connect{brokertest.Kept(wire.V5, id), brokertest.Clean(wire.V5, id), brokertest.Clean(wire.V311, id)} {
			if ack := brokertest.DialAny(t, address(near), c).Connack; ack.Reason == wire.Success {
				t.Errorf("a device is %s in MQTT %v", id, c.Version)
			}
		}
	}
	c := client(t, near, "device")
	for _, topic := range []string{"$bridge/up/replay/t", "$bridge/up/dead/t"} {
		if r := c.PublishOut(wire.Out{Topic: []byte(topic), QoS: 1, Payload: []byte("forged")}); r != wire.NotAuthorized {
			t.Errorf("publishing to %s: %v", topic, r)
		}
	}
	c.Publish("t", "honest", 1, false)
	relayed(t, near)
	if got := far.payloads(); got != "honest" {
		t.Errorf("the far side got %q", got)
	}
	if st := is(t, near, bridge.Up); st.Connects != 1 || st.Dead != 0 {
		t.Errorf("got %+v", st)
	}
}
