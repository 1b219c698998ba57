package appliance_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A bucket at the centre is used from a site behind a leaf node by its domain, and
// what was changed on either side while the line was down is on both afterwards.
func TestBucketBehindLeaf(t *testing.T) {
	brokertest.NoLeaks(t)
	ports := brokertest.Ports(t, 3)
	hub := natsFromDocument(t, "hub.conf", "0.0.0.0:4222", ports[0], "0.0.0.0:7422", ports[1])
	leaf := natsFromDocument(t, "leaf.conf", "0.0.0.0:4222", ports[2], "hub.example.com:7422", ports[1])
	centre := natsServer(t, hub)
	site := natsServer(t, leaf)
	brokertest.WaitFor(t, "the leaf node", func() bool { return centre.NumLeafNodes() == 1 && site.NumLeafNodes() == 1 })
	_, js := natsClient(t, centre, nats.UserInfo("app", "change-me-app"))
	kv := makeBucket(t, js, nil)
	t.Setenv("SITE_PASSWORD", "change-me-gateway")
	cfg := config(t)
	cfg.Sys.Node = "site"
	cfg.Bridges = []appliance.BridgeConfig{keeping(leaf, "site")}
	b := &cfg.Bridges[0]
	b.NATS.Domain, b.Username, b.Password = "hub", "gateway", "env:SITE_PASSWORD"
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	pub.Publish("t/up", "1", 1, true)
	hasValue(t, kv, "t.up", "1")
	if _, err := kv.PutString(t.Context(), "t.down", "2"); err != nil {
		t.Fatal(err)
	}
	retains(t, near, "t/down", "2")

	halt(site)
	pub.Publish("t/up", "", 1, true)
	pub.Publish("t/new", "3", 0, true)
	if err := kv.Delete(t.Context(), "t.down"); err != nil {
		t.Fatal(err)
	}
	site = natsServer(t, leaf)
	retains(t, near, "t/down", "")
	hasValue(t, kv, "t.new", "3")
	hasValue(t, kv, "t.up", "")
	relayed(t, near)
	balanced(t, near)
}
