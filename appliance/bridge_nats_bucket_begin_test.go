package appliance_test

import (
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What was removed here while the bucket could not be reached does not come back,
// not for a moment, and what was changed does not go back.
func TestBucketDoesNotUndo(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	nc, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "gw")
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	cfg.Bridges[0].SendRate = 200 // so that what the bucket has could come long before
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	for _, key := range []string{"t.removed", "t.changed"} {
		if _, err := kv.PutString(t.Context(), key, "old"); err != nil {
			t.Fatal(err)
		}
	}
	retains(t, near, "t/removed", "old")
	retains(t, near, "t/changed", "old")
	nc.Close()
	halt(s)
	pub := client(t, near, "pub")
	for n := range 300 {
		pub.Publish("t/other", "x", byte(n%2), true)
	}
	pub.Publish("t/removed", "", 0, true)
	pub.Publish("t/changed", "new", 0, true)
	pub.Ping()
	stop(t, near)
	near = launch(t, cfg)
	sub := client(t, near, "sub")
	sub.Subscribe(1, "t/removed", "t/changed")
	sub.ExpectMessage("t/changed", "new")
	s = natsServer(t, o)
	_, js = natsClient(t, s)
	kv = makeBucket(t, js, nil)
	hasValue(t, kv, "t.changed", "new")
	hasValue(t, kv, "t.removed", "")
	relayed(t, near)
	if _, err := kv.PutString(t.Context(), "t.removed", "again"); err != nil { // which comes after all that could have come
		t.Fatal(err)
	}
	sub.ExpectMessage("t/removed", "again")
	balanced(t, near)
}

// A gateway that keeps nothing on disk gets back what it has published, as it was,
// and a value with the same properties in another order is no other value.
func TestBucketRestores(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	cfg := config(t)
	cfg.Sys.Node = "gw"
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	props := append([]byte{0x03, 0, 4}, "text\x01\x01"...) // the far side writes them the other way round
	props = wire.AppendUserProperty(props, wire.UserProperty{Key: "k", Value: "v"})
	client(t, near, "pub").PublishOut(wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte("t/x"), Payload: []byte("1"), Props: props})
	hasValue(t, kv, "t.x", "1")
	relayed(t, near)
	for range 3 { // as it is by another session of this gateway, and by one after that
		stop(t, near)
		near = launch(t, cfg)
		retains(t, near, "t/x", "1")
		sub := client(t, near, "sub")
		sub.Subscribe(1, "t/#")
		got := sub.ExpectMessage("t/x", "1")
		want := append([]byte{0x01, 1, 0x03, 0, 4}, "text"...)
		want = wire.AppendUserProperty(want, wire.UserProperty{Key: "k", Value: "v"})
		if rest := wire.AppendForward(nil, &got.Publish); string(rest) != string(want) {
			t.Errorf("properties\n%q; want\n%q", rest, want)
		}
	}
	e, err := kv.Get(t.Context(), "t.x")
	if err != nil {
		t.Fatal(err)
	}
	if e.Revision() != 1 {
		t.Errorf("it was written again: revision %d", e.Revision())
	}
}

// What got into the bucket, though that was not heard before the gateway was
// started anew, does not take the place of what has got there since.
func TestBucketAnswerLost(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	cut := newLine(t, s.Addr().String())
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "gw")
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	cfg.Bridges[0].Address = "nats://" + cut.Addr().String()
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	for _, topic := range []string{"t/changed", "t/deleted", "t/removed"} {
		pub.Publish(topic, "first", 1, true)
	}
	relayed(t, near)
	for _, topic := range []string{"t/changed", "t/deleted", "t/removed"} { // so that the bucket need not be asked
		pub.Publish(topic, "second", 1, true)
	}
	relayed(t, near)
	cut.mute.Store(true)
	pub.Publish("t/changed", "old", 1, true)
	pub.Publish("t/deleted", "old", 1, true)
	pub.Publish("t/removed", "", 1, true)
	hasValue(t, kv, "t.changed", "old")
	hasValue(t, kv, "t.deleted", "old")
	hasValue(t, kv, "t.removed", "")
	stop(t, near)
	cut.cut()
	cut.mute.Store(false)
	if err := kv.Delete(t.Context(), "t.deleted"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"t.changed", "t.removed"} {
		if _, err := kv.PutString(t.Context(), key, "new"); err != nil {
			t.Fatal(err)
		}
	}
	near = launch(t, cfg)
	relayed(t, near)
	for topic, want := range map[string]string{"t/changed": "new", "t/deleted": "", "t/removed": "new"} {
		retains(t, near, topic, want)
		hasValue(t, kv, bridge.TopicKey(topic), want)
	}
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq; n != 12 {
		t.Errorf("the bucket has had %d changes; want 12", n)
	}
}
