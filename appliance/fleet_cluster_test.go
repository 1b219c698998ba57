package appliance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// Between two gateways lies a cluster of three, of which one server after the other
// dies under load and comes back. Nothing is lost from end to end, nothing is twice
// in the stream, and all books agree: those of both gateways, the stream's own count,
// and what a subscriber got. scripts/nats.sh kills more of them.
func TestFleetCluster(t *testing.T) {
	kills, _ := strconv.Atoi(os.Getenv("EDGEBROKER_NATS_KILLS"))
	if kills == 0 {
		kills = 1
	}
	c := newNATSCluster(t)
	_, js := natsClient(t, c.servers[0])
	var made error
	brokertest.WaitFor(t, "a stream", func() bool {
		_, made = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, Replicas: 3})
		return made == nil
	})
	gateway := func(i int, name string, way appliance.BridgeDirection) appliance.Config {
		cfg := gatewayAt(t, c.options[i], name, "S", appliance.BridgeTopic{Filter: "t/#", Direction: way, QoS: 2})
		cfg.Storage.Directory = filepath.Join(shortDir(t), name)
		cfg.Sessions.MaxQueuedMessages, cfg.Sessions.MaxQueuedBytes, cfg.Sessions.TotalQueuedBytes = 10_000_000, appliance.GiB, appliance.GiB
		for j, o := range c.options {
			if j != i {
				cfg.Bridges[0].NATS.Servers = append(cfg.Bridges[0].NATS.Servers, fmt.Sprintf("nats://%s:%d", o.Host, o.Port))
			}
		}
		return cfg
	}
	from, to := launch(t, gateway(0, "from", appliance.BridgeOut)), launch(t, gateway(1, "to", appliance.BridgeIn))
	is(t, from, bridge.Up)
	is(t, to, bridge.Up)
	screen := brokertest.Dial(t, address(to), brokertest.Kept(5, "screen"))
	screen.Subscribe(1, "t/#")
	screen.Disconnect()

	published := publishing(t, from)
	passed := func(what string, more uint64) {
		t.Helper()
		acked, received := from.Uplinks()[0].Acked, to.Uplinks()[0].Received
		brokertest.WaitFor(t, what, func() bool {
			return from.Uplinks()[0].Acked > acked+more && to.Uplinks()[0].Received > received+more
		})
	}
	for kill := range kills {
		passed("messages that pass", 100)
		victim := c.victim(t, kill)
		halt(c.servers[victim])
		passed("messages that pass without one server", 100)
		c.revive(t, victim)
	}
	n := published()
	relayed(t, from)
	stream, err := currentStream(t, c.servers[0])
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if sent := from.Uplinks()[0]; int(sent.Acked) != n || int(info.State.Msgs) != n || sent.Refused+sent.Dropped+sent.Loops != 0 {
		t.Errorf("%d were published, %d acknowledged, %d are in the stream: %+v", n, sent.Acked, info.State.Msgs, sent)
	}
	order(t, inStream(t, stream), n)
	consumer, err := stream.Consumer(t.Context(), "id-to")
	if err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "nothing to be left for the other gateway", func() bool {
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
	received := to.Uplinks()[0]
	again := brokertest.Dial(t, address(to), brokertest.Kept(5, "screen")).AutoAck()
	seen := make(map[string]int)
	for range received.Received {
		seen[string(again.ExpectPublish().Payload)]++
	}
	again.ExpectNothing()
	for i := range n {
		if seen[strconv.Itoa(i)] == 0 {
			t.Errorf("%d is lost", i)
		}
	}
	if len(seen) != n || received.Refused+received.Loops != 0 {
		t.Errorf("a subscriber got %d of %d: %+v", len(seen), n, received)
	}
	balanced(t, from)
	balanced(t, to)
	t.Logf("%d messages, %d kills: %d sent again by %d connects, %d came in twice by %d", n, kills, from.Uplinks()[0].Retried, from.Uplinks()[0].Connects,
		int(received.Received)-n, received.Connects)
}

// victim is the server that dies next: mostly the leader of the stream.
func (c *natsCluster) victim(t testing.TB, kill int) (victim int) {
	t.Helper()
	brokertest.WaitFor(t, "a leader", func() bool {
		victim = -1
		for i, s := range c.servers {
			if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "S") {
				victim = i
			}
		}
		return victim >= 0
	})
	if kill%3 == 2 {
		victim = (victim + 1) % len(c.servers)
	}
	return victim
}
