package appliance_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func plainUplinkTo(address string, topics ...appliance.BridgeTopic) appliance.BridgeConfig {
	b := uplinkTo(address, topics...)
	b.Version = appliance.BridgeV311
	return b
}

// What passes an uplink in MQTT 3.1.1, and as what.
func TestPlainUplink(t *testing.T) {
	brokertest.NoLeaks(t)
	no := false
	far := launch(t, config(t))
	above := client(t, far, "above")
	above.Publish("gw1/set/old", "of yesterday", 1, true)
	above.Publish("cmd/old", "of yesterday", 1, true)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{plainUplinkTo(address(far),
		appliance.BridgeTopic{Filter: "plant/#", QoS: 2, RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "set/#", Direction: appliance.BridgeIn, QoS: 2, LocalPrefix: "from/cloud/", RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "cmd/#", Direction: appliance.BridgeIn, QoS: 1, Retain: &no},
	)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	if got := far.Uplinks(); len(got) != 0 {
		t.Fatal(got)
	}
	above.Subscribe(2, "gw1/plant/#")
	retains(t, near, "from/cloud/set/old", "of yesterday") // or it could come both as retained and as it comes in
	below := client(t, near, "below")
	below.Subscribe(2, "from/#", "cmd/#")
	below.ExpectMessage("from/cloud/set/old", "of yesterday")
	for qos := range byte(3) {
		below.PublishOut(wire.Out{Topic: []byte("plant/a"), Payload: fmt.Append(nil, qos), QoS: qos, Props: wire.AppendUserProperty(nil, wire.UserProperty{Key: "k", Value: "v"})})
		if got := above.ExpectMessage("gw1/plant/a", fmt.Sprint(qos)); got.QoS != qos || len(got.Props) != 0 {
			t.Errorf("QoS %d became %d, with %q", qos, got.QoS, got.Props)
		}
		above.Publish("gw1/set/speed", fmt.Sprint(qos), qos, false)
		if got := below.ExpectMessage("from/cloud/set/speed", fmt.Sprint(qos)); got.QoS != qos {
			t.Errorf("QoS %d came in as %d", qos, got.QoS)
		}
		above.Publish("cmd/x", fmt.Sprint(qos), qos, false)
		below.ExpectMessage("cmd/x", fmt.Sprint(qos))
	}
	below.ExpectNothing()
	above.ExpectNothing()
	relayed(t, near)
	balanced(t, near)
	balanced(t, far)
	if st := near.Uplinks()[0]; st.Connects != 1 || st.Refused != 0 || st.Received != 8 { // cmd/old among them, which is not passed on
		t.Errorf("got %+v", st)
	}
}

// A far side that speaks 3.1.1 alone is told apart, whatever it answers to 5.
func TestUplinkToPlainFarSide(t *testing.T) {
	for name, refusal := range map[string][]byte{"3.1.1": {0x20, 2, 0, 1}, "5": {0x20, 3, 0, 0x84, 0}} {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		far.answer = func(int, wire.Frame) []byte { return refusal }
		near := underFault(t, far, 1, 1)
		brokertest.WaitFor(t, "a refusal as of "+name, func() bool {
			return strings.Contains(near.Uplinks()[0].LastError, `set version: "3.1.1"`)
		})
	}
}

// A far side of 3.1.1 that talks nonsense or refuses is tried again, and what is
// wrong is said.
func TestPlainUplinkToBadFarSide(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(wire.Frame) []byte
		want   string
	}{
		"hangs up": {func(wire.Frame) []byte { return hangUp }, "the far side has closed the connection"},
		"refuses":  {func(wire.Frame) []byte { return []byte{0x20, 2, 0, 5} }, "refuses the connection: not authorized"},
		"garbage":  {func(wire.Frame) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n") }, "breaks the protocol"},
		"suback refuses": {func(f wire.Frame) []byte {
			if f.Type == wire.SUBSCRIBE {
				s, _ := wire.DecodeSubscribe(f, wire.V311)
				return wire.AppendSuback(nil, wire.V311, s.PacketID, []wire.Reason{0x80})
			}
			return []byte{0x20, 2, 0, 0}
		}, `refuses the subscription to "in/#"`},
		"suback for nothing": {func(f wire.Frame) []byte {
			if f.Type == wire.CONNECT {
				return append([]byte{0x20, 2, 0, 0}, wire.AppendSuback(nil, wire.V311, 9, []wire.Reason{0})...)
			}
			return wire.AppendPing(nil, wire.PINGRESP)
		}, "SUBACK for nothing"},
		"too large": {func(f wire.Frame) []byte {
			return append([]byte{0x20, 2, 0, 0}, 0x32, 0xff, 0xff, 0xff, 0x7f)
		}, "is more than the"},
	} {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		far.answer = func(_ int, f wire.Frame) []byte { return tt.answer(f) }
		cfg := config(t)
		cfg.Bridges = []appliance.BridgeConfig{plainUplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "t", QoS: 1},
			appliance.BridgeTopic{Filter: "in/#", QoS: 1, Direction: appliance.BridgeIn})}
		near := launch(t, cfg)
		client(t, near, "pub").Publish("t", "x", 1, false)
		var st bridge.Status
		brokertest.WaitFor(t, name, func() bool {
			st = near.Uplinks()[0]
			return st.Attempts >= 3 && strings.Contains(st.LastError, tt.want)
		})
		if st.Queued+st.InFlight != 1 {
			t.Errorf("%s: got %+v", name, st)
		}
	}
}

// Against mosquitto, which is stopped and started again, and with this side
// started anew, nothing is lost in 5 and 3.1.1, and at QoS 2 nothing comes twice.
func TestUplinkMosquittoOutage(t *testing.T) {
	for _, version := range []appliance.BridgeVersion{appliance.BridgeV5, appliance.BridgeV311} {
		t.Run(string(version), func(t *testing.T) {
			brokertest.NoLeaks(t)
			far := startMosquitto(t, fmt.Sprintf("persistence true\npersistence_location %s/\nmax_inflight_messages 1000\nuser root", t.TempDir()))
			keeper := brokertest.Dial(t, far.address, brokertest.Kept(wire.V5, "keeper"))
			keeper.Subscribe(2, "#")
			keeper.Disconnect()
			cfg := config(t)
			cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
			b := uplinkTo(far.address, appliance.BridgeTopic{Filter: "out/#", QoS: 2}, appliance.BridgeTopic{Filter: "in/#", QoS: 2, Direction: appliance.BridgeIn})
			b.Version = version
			cfg.Bridges = []appliance.BridgeConfig{b}
			near := launch(t, cfg)
			is(t, near, bridge.Up)
			sub := brokertest.Dial(t, address(near), brokertest.Kept(wire.V5, "sub"))
			sub.Subscribe(2, "in/#")
			sub.Disconnect()
			n := 0
			publish := func(count int) {
				pub := client(t, near, "pub")
				for range count {
					pub.Publish("out/t", fmt.Sprint(n), 2, false)
					n++
				}
				pub.Disconnect()
			}
			sent := 0
			for range 2 {
				publish(30)
				far.stop()
				publish(30)
				stop(t, near)
				far.start()
				pub := publisherAt(t, far.address)
				for range 20 { // waits there for this side
					pub.Publish("in/t", fmt.Sprint(sent), 2, false)
					sent++
				}
				pub.Disconnect()
				near = launch(t, cfg)
				publish(30)
				relayed(t, near)
			}
			eachOnce(t, "there", brokertest.Dial(t, far.address, brokertest.Kept(wire.V5, "keeper")).AutoAck(), "out/t", n)
			eachOnce(t, "here", brokertest.Dial(t, address(near), brokertest.Kept(wire.V5, "sub")).AutoAck(), "in/t", sent)
			balanced(t, near)
		})
	}
}

func publisherAt(t testing.TB, address string) *brokertest.Client {
	t.Helper()
	return brokertest.Dial(t, address, brokertest.Clean(wire.V5, "pub")).AutoAck()
}

// eachOnce checks that c gets each number below n on a topic once.
func eachOnce(t testing.TB, where string, c *brokertest.Client, topic string, n int) {
	t.Helper()
	seen := make(map[int]int)
	for got := 0; got < n; {
		d := c.ExpectPublish()
		if string(d.Topic) != topic {
			continue
		}
		i, err := strconv.Atoi(string(d.Payload))
		if err != nil {
			t.Fatal(err)
		}
		if seen[i]++; seen[i] > 1 {
			t.Fatalf("%s: %d came again at QoS 2", where, i)
		}
		got++
	}
	for i := range n {
		if seen[i] != 1 {
			t.Errorf("%s: %d came %d times", where, i, seen[i])
		}
	}
	c.ExpectNothing()
	c.Disconnect()
}

// An uplink in 3.1.1 may say by bridges test that it is right.
func TestBridgeTestPlain(t *testing.T) {
	far := launch(t, config(t))
	b := plainUplinkTo(address(far), appliance.BridgeTopic{Filter: "a/#"}, appliance.BridgeTopic{Filter: "b/#", QoS: 1, Direction: appliance.BridgeIn})
	b.Canary = appliance.BridgeCanary{Topic: "c", Interval: time.Minute}
	if done := probeOf(t, b, false); !done.OK || !strings.Contains(said(done), "MQTT 3.1.1") || !strings.Contains(said(done), "publish ok") {
		t.Errorf("got\n%s", said(done))
	}
}
