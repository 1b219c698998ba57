package appliance_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// What the far side never takes waits as dead letters, over a restart too, until
// somebody has it sent again, to the far side alone, or discards it.
func TestDeadLetters(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	far.connack = wire.Connack{MaximumPacketSize: 1000}
	var mended atomic.Bool
	far.answer = func(_ int, f wire.Frame) []byte {
		if f.Type == wire.PUBLISH && !mended.Load() {
			if p, _ := wire.DecodePublish(f, wire.V5); strings.HasPrefix(string(p.Topic), "bad/") {
				return wire.AppendAck(nil, map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC}[p.QoS], wire.V5, p.PacketID, wire.TopicNameInvalid)
			}
		}
		return nil
	}
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 2, RemotePrefix: "bad/"})}
	near := launch(t, cfg)
	control := statsd.Dial(cfg.Control.Socket)
	defer control.Close()
	others := client(t, near, "others")
	others.Subscribe(2, "#")
	pub := client(t, near, "pub")
	pub.Publish("a", "one", 1, false)
	pub.Publish("b", "two", 2, false)
	pub.Publish("c", strings.Repeat("x", 2000), 1, false)
	for range 3 {
		others.ExpectPublish()
	}
	relayed(t, near)
	dead := func(want int) statsd.DeadLetters {
		t.Helper()
		var got statsd.DeadLetters
		brokertest.WaitFor(t, "dead letters", func() (ok bool) {
			var err error
			if got, err = control.DeadLetters(t.Context(), "up"); err != nil {
				t.Fatal(err)
			}
			return got.Total == want && len(got.Letters) == want
		})
		return got
	}
	dead(3)
	stop(t, near)
	near = launch(t, cfg)
	why := make(map[string]string)
	for _, l := range dead(3).Letters {
		why[l.Topic] = l.Why
		if l.Time.IsZero() || l.Size != len(l.Payload) {
			t.Errorf("got %+v", l)
		}
	}
	if !strings.Contains(why["a"], "topic name invalid") || !strings.Contains(why["b"], "topic name invalid") || !strings.Contains(why["c"], "larger than the far side takes") {
		t.Errorf("got %q", why)
	}

	// Still refused: they come back. Then two of them pass.
	for _, want := range []int{3, 1} {
		others = client(t, near, "others")
		others.Subscribe(2, "#")
		if n, err := control.EndDeadLetters(t.Context(), "up", true); n != 3 || err != nil {
			t.Fatalf("%d sent again, %v", n, err)
		}
		relayed(t, near)
		dead(want)
		others.ExpectNothing()
		others.Disconnect()
		mended.Store(true)
	}
	far.mu.Lock()
	for _, p := range far.got {
		if strings.Contains(string(p.Props), "edgebroker-why") {
			t.Errorf("%s still says why it was dead: %q", p.Topic, p.Props)
		}
	}
	far.mu.Unlock()
	if got := far.payloads(); got != "one two" && got != "two one" {
		t.Errorf("the far side got %q", got)
	}
	if n, err := control.EndDeadLetters(t.Context(), "up", false); n != 1 || err != nil {
		t.Fatalf("%d discarded, %v", n, err)
	}
	dead(0)
	balanced(t, near)
}
