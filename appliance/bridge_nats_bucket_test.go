package appliance_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// makeBucket makes bucket B as the documentation says.
func makeBucket(t testing.TB, js jetstream.JetStream, change func(*jetstream.KeyValueConfig)) jetstream.KeyValue {
	t.Helper()
	c := jetstream.KeyValueConfig{Bucket: "B", Storage: jetstream.FileStorage}
	if change != nil {
		change(&c)
	}
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// inBucket is what a bucket has at key; "" is that it has nothing.
func inBucket(t testing.TB, kv jetstream.KeyValue, key string) string {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Value())
}

func hasValue(t testing.TB, kv jetstream.KeyValue, key, want string) {
	t.Helper()
	got := ""
	brokertest.WaitFor(t, fmt.Sprintf("%q at key %s", want, key), func() bool { got = inBucket(t, kv, key); return got == want })
}

// retains waits until a broker has a retained message, or with "" none.
func retains(t testing.TB, b *appliance.Broker, topic, want string) {
	t.Helper()
	brokertest.WaitFor(t, fmt.Sprintf("%q retained on %s", want, topic), func() bool {
		got, ok := b.Retained(topic)
		return got == want && ok == (want != "")
	})
}

// keeping is an uplink of a gateway that keeps what is retained in bucket B.
func keeping(o *server.Options, gateway string, topics ...appliance.BridgeTopic) appliance.BridgeConfig {
	if len(topics) == 0 {
		topics = []appliance.BridgeTopic{{Filter: "t/#", Direction: appliance.BridgeBoth, QoS: 1}}
	}
	c := uplinkToNATS(o, "", topics...)
	c.ClientID, c.NATS.Retained = gateway, "B"
	return c
}

// What is retained here is in the bucket, and the other way round, between two
// gateways and a client of NATS.
func TestBucket(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	nc, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	if _, err := kv.PutString(t.Context(), "t.early", "1"); err != nil {
		t.Fatal(err)
	}
	subjects, err := nc.SubscribeSync("t.>")
	if err != nil {
		t.Fatal(err)
	}
	a, b := config(t), config(t)
	a.Sys.Node, b.Sys.Node = "a", "b"
	a.Bridges, b.Bridges = []appliance.BridgeConfig{keeping(o, "a")}, []appliance.BridgeConfig{keeping(o, "b")}
	one, two := launch(t, a), launch(t, b)
	is(t, one, bridge.Up)
	is(t, two, bridge.Up)
	retains(t, one, "t/early", "1")
	retains(t, two, "t/early", "1")
	pub, sub := client(t, one, "pub"), client(t, two, "sub")
	sub.Subscribe(1, "t/#")
	sub.ExpectMessage("t/early", "1")
	for qos := range byte(3) {
		topic := fmt.Sprintf("t/v1.%d/é", qos)
		value := fmt.Sprint("at ", qos)
		pub.Publish(topic, value, qos, true)
		sub.ExpectMessage(topic, value)
		hasValue(t, kv, bridge.TopicKey(topic), value)
		retains(t, two, topic, value)
		pub.Publish(topic, "", qos, true)
		sub.ExpectMessage(topic, "")
		hasValue(t, kv, bridge.TopicKey(topic), "")
		retains(t, two, topic, "")
	}
	if _, err := kv.PutString(t.Context(), "t.x", "from afar"); err != nil {
		t.Fatal(err)
	}
	sub.ExpectMessage("t/x", "from afar")
	retains(t, one, "t/x", "from afar")
	if err := kv.Delete(t.Context(), "t.x"); err != nil {
		t.Fatal(err)
	}
	sub.ExpectMessage("t/x", "")
	retains(t, one, "t/x", "")
	pub.Publish("t/y", "not retained", 1, false)
	nextMsg(t, subjects, "t.y", "not retained")
	sub.ExpectMessage("t/y", "not retained")
	sub.ExpectNothing()
	relayed(t, one)
	relayed(t, two)
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq; n != 1+6+2 {
		t.Errorf("the bucket has had %d changes; want 9: some went round", n)
	}
}

// What is in a retained message is there on the other side of a bucket.
func TestBucketHeaders(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, func(c *jetstream.KeyValueConfig) { c.LimitMarkerTTL = 60e9 })
	a, b := config(t), config(t)
	a.Sys.Node, b.Sys.Node = "a", "b"
	a.Bridges, b.Bridges = []appliance.BridgeConfig{keeping(o, "a")}, []appliance.BridgeConfig{keeping(o, "b")}
	one, two := launch(t, a), launch(t, b)
	is(t, one, bridge.Up)
	is(t, two, bridge.Up)
	pub, sub := client(t, one, "pub"), client(t, two, "sub")
	sub.Subscribe(2, "#")
	props := append([]byte{0x09, 0, 2, 0, 255, 0x01, 1, 0x03, 0, 4}, "text"...)
	props = wire.AppendUserProperty(props, wire.UserProperty{Key: "k", Value: "v\n%"})
	pub.Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: 2, Retain: true, Topic: []byte("t/x"), Payload: []byte("x"), HasExpiry: true, Expiry: 3600, Props: props}, 7))
	got := sub.ExpectMessage("t/x", "x")
	if got.Expiry < 3500 || got.Expiry > 3600 || got.QoS != 1 {
		t.Errorf("expiry %d, QoS %d", got.Expiry, got.QoS)
	}
	want := append([]byte{0x01, 1, 0x03, 0, 4}, "text"...)
	want = append(want, 0x09, 0, 2, 0, 255)
	want = wire.AppendUserProperty(want, wire.UserProperty{Key: "k", Value: "v\n%"})
	want = wire.AppendUserProperty(want, wire.UserProperty{Key: "edgebroker-via", Value: "a"})
	if rest := wire.AppendForward(nil, &got.Publish); string(rest) != string(want) {
		t.Errorf("properties\n%q; want\n%q", rest, want)
	}
	hasValue(t, kv, "t.x", "x")
	stream, err := js.Stream(t.Context(), "KV_B")
	if err != nil {
		t.Fatal(err)
	}
	m := inStream(t, stream)[0]
	for key, want := range map[string]string{"Mqtt-Qos": "1", "Mqtt-Retain": "1", "Mqtt-Client-Id": "pub", "Edgebroker-Gateway": "a", "Nats-TTL": "3600s"} {
		if got := m.Header.Get(key); got != want {
			t.Errorf("%s is %q; want %q", key, got, want)
		}
	}
}
