package appliance_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// granting answers SUBSCRIBE, and then with more, as it does all else.
func granting(more func(conn int, f wire.Frame) []byte) func(int, wire.Frame) []byte {
	return func(conn int, f wire.Frame) []byte {
		b := more(conn, f)
		if f.Type != wire.SUBSCRIBE {
			return b
		}
		s, err := wire.DecodeSubscribe(f, wire.V5)
		if err != nil {
			return hangUp
		}
		return append(wire.AppendSuback(nil, wire.V5, s.PacketID, make([]wire.Reason, len(s.Filters))), b...)
	}
}

func publish(topic, payload string, qos byte, id uint16) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: qos, Topic: []byte(topic), Payload: []byte(payload)}, id)
}

// While what goes out is refused for now, what comes in is taken and answered.
func TestUplinkTakesWhileRefused(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	var answered, completed atomic.Int32
	far.answer = granting(func(_ int, f wire.Frame) []byte {
		switch f.Type {
		case wire.PUBLISH:
			p, _ := wire.DecodePublish(f, wire.V5)
			return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, wire.QuotaExceeded)
		case wire.PUBACK:
			answered.Add(1)
		case wire.PUBREC:
			id, _, _ := wire.DecodeAck(f, wire.V5)
			return wire.AppendAck(nil, wire.PUBREL, wire.V5, id, 0)
		case wire.PUBCOMP:
			completed.Add(1)
		}
		return nil
	})
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 2, Direction: appliance.BridgeBoth})}
	cfg.Bridges[0].AckTimeout, cfg.Bridges[0].RetryMin, cfg.Bridges[0].RetryMax = time.Second, 300*time.Millisecond, time.Second
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	sub := client(t, near, "sub")
	sub.Subscribe(0, "in")
	client(t, near, "pub").Publish("out", "x", 1, false)
	var id uint16
	for range 3 { // some of it between two attempts
		is(t, near, bridge.Stalled)
		for range 5 {
			id += 2
			far.mu.Lock()
			_, err := far.nc.Write(append(publish("in", fmt.Sprint(id), 1, id), publish("in", fmt.Sprint(id+1), 2, id+1)...))
			far.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			sub.ExpectMessage("in", fmt.Sprint(id))
			sub.ExpectMessage("in", fmt.Sprint(id+1))
		}
		before := near.Uplinks()[0].Sent
		brokertest.WaitFor(t, "another attempt", func() bool { return near.Uplinks()[0].Sent > before })
	}
	brokertest.WaitFor(t, "an answer to each", func() bool { return answered.Load() == 15 && completed.Load() == 15 })
	if st := near.Uplinks()[0]; st.Connects != 1 || st.Queued+st.InFlight != 1 {
		t.Errorf("got %+v", st)
	}
}

// A far side that has lost its session begins again with packet identifiers that
// it had used: what comes by them is another message.
func TestUplinkToForgetfulFarSide(t *testing.T) {
	for _, disk := range []bool{false, true} {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		far.answer = granting(func(conn int, f wire.Frame) []byte {
			switch {
			case f.Type == wire.SUBSCRIBE:
				return publish("in", fmt.Sprint(conn), 2, 5)
			case f.Type == wire.PUBREC && conn < 3:
				return hangUp
			}
			return nil
		})
		cfg := config(t)
		if disk {
			cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
		}
		cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "in", QoS: 2, Direction: appliance.BridgeIn, LocalPrefix: "here/"})}
		cfg.Bridges[0].RetryMin, cfg.Bridges[0].RetryMax = 200*time.Millisecond, 200*time.Millisecond
		near := launch(t, cfg)
		sub := client(t, near, "sub")
		sub.Subscribe(2, "#")
		want := 1
		if d := sub.ExpectPublish(); string(d.Payload) == "1" { // it may have come before sub did
			want++
		} else if string(d.Payload) != "2" {
			t.Fatalf("got %s", d.Payload)
		} else {
			want = 3
		}
		for ; want <= 3; want++ {
			sub.ExpectMessage("here/in", fmt.Sprint(want))
		}
	}
}

// A topic that is too long on the other side stands in nobody's way.
func TestUplinkTopicTooLong(t *testing.T) {
	brokertest.NoLeaks(t)
	long := strings.Repeat("x", 65530)
	far := newFarSide(t)
	reasons := make(chan wire.Reason, 10)
	far.answer = granting(func(_ int, f wire.Frame) []byte {
		switch f.Type {
		case wire.SUBSCRIBE:
			return append(publish(long, "too long", 1, 1), publish("short", "fine", 1, 2)...)
		case wire.PUBACK:
			_, r, _ := wire.DecodeAck(f, wire.V5)
			reasons <- r
		}
		return nil
	})
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(),
		appliance.BridgeTopic{Filter: "+", QoS: 1, RemotePrefix: "gateway/"}, appliance.BridgeTopic{Filter: "+", QoS: 1, Direction: appliance.BridgeIn, LocalPrefix: "cloud/"})}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	pub.Publish(long, "too long", 1, false)
	pub.Publish("short", "fine", 1, false)
	relayed(t, near)
	if got := far.payloads(); got != "fine" {
		t.Errorf("got %q", got)
	}
	if r := <-reasons; r != wire.TopicNameInvalid {
		t.Errorf("what is too long here got %v", r)
	}
	if r := <-reasons; r >= wire.UnspecifiedError {
		t.Errorf("what is not got %v", r)
	}
	if st := near.Uplinks()[0]; st.Refused != 1 || st.Connects != 1 {
		t.Errorf("got %+v", st)
	}
}

// A far side that does not read any more does not keep the broker from ending.
func TestUplinkStopsWhileWriting(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	enough := make(chan struct{})
	far.answer = func(_ int, f wire.Frame) []byte {
		if f.Type == wire.PUBLISH {
			<-enough
		}
		return nil
	}
	t.Cleanup(func() { close(enough) })
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 0})}
	cfg.Bridges[0].KeepAlive = time.Hour
	near := newBroker(t, cfg)
	if err := near.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	payload := strings.Repeat("x", 500_000)
	for range 60 { // more than the sockets hold
		pub.Publish("t", payload, 1, false)
	}
	pub.Disconnect()
	begin := time.Now()
	stop(t, near)
	if d := time.Since(begin); d > 20*time.Second { // it would be 30 for the write alone
		t.Errorf("took %v", d)
	}
}

// A far side that announces more than it may send is left before there is
// memory for it.
func TestUplinkToTooLargePacket(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	far.answer = granting(func(_ int, f wire.Frame) []byte {
		if f.Type != wire.SUBSCRIBE {
			return nil
		}
		return publish("in", strings.Repeat("x", 2<<20), 1, 1)[:5]
	})
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "in", QoS: 1, Direction: appliance.BridgeIn})}
	near := launch(t, cfg)
	brokertest.WaitFor(t, "the reason", func() bool {
		return strings.Contains(near.Uplinks()[0].LastError, "is more than the 1048576 it was told")
	})
}

// What cannot be read is named.
func TestUplinkWithoutPassword(t *testing.T) {
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo("127.0.0.1:1", appliance.BridgeTopic{Filter: "#"})}
	cfg.Bridges[0].Username, cfg.Bridges[0].Password = "u", "file:/nowhere/secret"
	near := launch(t, cfg)
	brokertest.WaitFor(t, "an error that says which file", func() bool { return strings.Contains(near.Uplinks()[0].LastError, "/nowhere/secret") })
}
