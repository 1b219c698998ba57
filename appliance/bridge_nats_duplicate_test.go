package appliance_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A message of which the stream says that it had it counts as a duplicate, and is
// in the stream once.
func TestUplinkNATSDuplicate(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}})
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	pub.Publish("t/x", "same", 1, false)
	relayed(t, near)
	first, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	// The same message once more has the same identifier but for its number: so it is
	// known what the next one will be called.
	id := regexp.MustCompile(`^(.*/)(\d+)(-[0-9a-f]{16})$`).FindStringSubmatch(first.Header.Get("Nats-Msg-Id"))
	if id == nil {
		t.Fatalf("the identifier is %q", first.Header.Get("Nats-Msg-Id"))
	}
	n, err := strconv.Atoi(id[2])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "t.x", []byte("same"), jetstream.WithMsgID(id[1]+strconv.Itoa(n+1)+id[3])); err != nil {
		t.Fatal(err)
	}
	pub.Publish("t/x", "same", 1, false)
	relayed(t, near)
	if st := near.Uplinks()[0]; st.Duplicates != 1 || st.Acked != 2 || st.Retried != 0 {
		t.Errorf("got %+v", st)
	}
	if got := messages(t, stream); got != 2 {
		t.Errorf("the stream has %d messages", got)
	}
}
