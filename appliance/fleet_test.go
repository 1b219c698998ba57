package appliance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
)

// gatewayAt is the configuration of a gateway of a fleet.
func gatewayAt(t testing.TB, o *server.Options, name, stream string, topics ...appliance.BridgeTopic) appliance.Config {
	t.Helper()
	cfg := config(t)
	cfg.Sys.Node = name
	b := uplinkToNATS(o, stream, topics...)
	b.Name, b.ClientID, b.NATS.Fleet = "site", "id-"+name, true
	cfg.Bridges = []appliance.BridgeConfig{b}
	return cfg
}

// asked is the fleet as b sees it, by name and whether they answer, when it is as
// wanted.
func asked(t testing.TB, b *appliance.Broker, want ...string) statsd.Fleet {
	t.Helper()
	var f statsd.Fleet
	brokertest.WaitFor(t, fmt.Sprint("a fleet of ", want), func() bool {
		f = b.Fleet(t.Context(), 100*time.Millisecond)
		var got []string
		for _, g := range f.Gateways {
			word := g.Name
			switch {
			case g.Here:
				word += " here"
			case !g.Answers:
				word += " away"
			}
			got = append(got, word)
		}
		return slices.Equal(got, want)
	})
	return f
}

// Gateways on one NATS system without JetStream list each other, and remember who
// is gone.
func TestFleet(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	s := natsServer(t, o)
	all := appliance.BridgeTopic{Filter: "x/#", QoS: 1}
	a, b := launch(t, gatewayAt(t, o, "a", "", all)), launch(t, gatewayAt(t, o, "b", "", all))
	outside := launch(t, config(t))
	if f := outside.Fleet(t.Context(), time.Millisecond); len(f.Gateways) != 0 {
		t.Errorf("%+v", f)
	}
	is(t, a, bridge.Up)
	is(t, b, bridge.Up)
	client(t, b, "pump-7").Publish("y", "1", 0, false)
	f := asked(t, a, "a here", "b")
	asked(t, b, "a", "b here")
	g := f.Gateways[1]
	if g.ClientID != "id-b" || g.Clients != 1 || g.Version == "" || g.Uptime <= 0 || g.Via != "site" || len(g.Uplinks) != 1 || g.Uplinks[0].State != "up" || time.Since(g.LastSeen) > brokertest.Patience {
		t.Errorf("%+v", g)
	}

	nc, _ := natsClient(t, s)
	sub, err := nc.Subscribe("edgebroker.fleet", func(m *nats.Msg) {
		for _, answer := range []string{"", "x", "{}", `{"name":7}`, `{"name":"no identity"}`, strings.Repeat("[", 50_000),
			`{"name":"\u001b[2Jz","id":"z","here":true,"uptime":-1,"uplinks":[` + strings.Repeat(`{"name":"u"},`, 100) + `{"name":"u"}]}`} {
			_ = m.Respond([]byte(answer)) // else the test fails for want of it
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(brokertest.Patience); err != nil {
		t.Fatal(err)
	}
	f = asked(t, a, "[2Jz", "a here", "b")
	if z := f.Gateways[0]; z.Here || z.Uptime != 0 || len(z.Uplinks) != 64 {
		t.Errorf("%+v", z)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"x.valve", "_INBOX"} { // nobody waits there
		if err := nc.PublishRequest("edgebroker.fleet", reply, nil); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, b)
	f = asked(t, a, "[2Jz away", "a here", "b away")
	if g := f.Gateways[2]; g.Clients != 1 {
		t.Errorf("it is not as it was: %+v", g)
	}
	launch(t, gatewayAt(t, o, "b", "", all))
	asked(t, a, "[2Jz away", "a here", "b")
	halt(s)
	is(t, a, bridge.Down)
	if f := asked(t, a, "[2Jz away", "a here", "b away"); !slices.Equal(f.Unasked, []string{"site"}) {
		t.Errorf("%+v", f)
	}
	if st := a.Uplinks()[0]; st.Connects != 1 {
		t.Errorf("%+v", st)
	}
}

// A device on one gateway reaches a subscriber on another: at once over core NATS,
// and with a stream also when NATS and the other gateway are away meanwhile.
func TestFleetPasses(t *testing.T) {
	for _, stream := range []string{"", "S"} {
		t.Run("stream "+stream, func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			s := natsServer(t, o)
			if stream != "" {
				nc, js := natsClient(t, s)
				makeStream(t, js, jetstream.StreamConfig{Name: stream, Subjects: []string{"plant.>"}, Storage: jetstream.FileStorage})
				nc.Close()
			}
			topic := appliance.BridgeTopic{Filter: "plant/#", Direction: appliance.BridgeBoth, QoS: 1}
			configs := map[string]appliance.Config{}
			brokers := map[string]*appliance.Broker{}
			for _, name := range []string{"a", "b"} {
				cfg := gatewayAt(t, o, name, stream, topic)
				cfg.Storage.Directory = filepath.Join(shortDir(t), name)
				configs[name], brokers[name] = cfg, launch(t, cfg)
				is(t, brokers[name], bridge.Up)
			}
			pump := client(t, brokers["a"], "pump-7")
			pump.Subscribe(1, "plant/answer")
			kept := brokertest.Dial(t, address(brokers["b"]), brokertest.Kept(5, "screen")).AutoAck()
			kept.Subscribe(1, "plant/#")
			pump.Publish("plant/1", "first", 1, false)
			kept.ExpectMessage("plant/1", "first")
			kept.Publish("plant/answer", "seen", 1, false)
			kept.ExpectMessage("plant/answer", "seen")
			pump.ExpectMessage("plant/answer", "seen")
			if stream != "" {
				kept.Disconnect()
				stop(t, brokers["b"])
				pump.Publish("plant/1", "while b is away", 1, false)
				halt(s)
				pump.Publish("plant/1", "while NATS is away", 1, false)
				natsServer(t, o)
				brokers["b"] = launch(t, configs["b"])
				again := brokertest.Dial(t, address(brokers["b"]), brokertest.Kept(5, "screen")).AutoAck()
				again.ExpectMessage("plant/1", "while b is away")
				again.ExpectMessage("plant/1", "while NATS is away")
			}
			for _, b := range brokers {
				relayed(t, b)
				balanced(t, b)
			}
		})
	}
}

// Of the gateways of a group one gets each message; the others, and those outside
// it, are as they were. With a stream what a gateway cannot take goes to another.
func TestFleetGroup(t *testing.T) {
	for _, stream := range []string{"", "S"} {
		t.Run("stream "+stream, func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			s := natsServer(t, o)
			nc, js := natsClient(t, s)
			if stream != "" {
				makeStream(t, js, jetstream.StreamConfig{Name: stream, Subjects: []string{"jobs.>"}})
			}
			topic := appliance.BridgeTopic{Filter: "jobs/#", Direction: appliance.BridgeIn, QoS: 1, Group: "workers"}
			var members []*appliance.Broker
			for _, name := range []string{"a", "b", "c"} {
				cfg := gatewayAt(t, o, name, stream, topic)
				if stream == "" { // the first rule that fits counts, though another one would let it in for each
					cfg.Bridges[0].Topics = append(cfg.Bridges[0].Topics, appliance.BridgeTopic{Filter: "#", Direction: appliance.BridgeIn})
				}
				if name == "c" {
					cfg.Bridges[0].Topics[0].Group = "" // it gets each
				}
				b := launch(t, cfg)
				is(t, b, bridge.Up)
				client(t, b, "worker").Subscribe(0, "jobs/#")
				members = append(members, b)
			}
			if stream != "" { // a consumer begins with what is stored from then on
				for _, name := range []string{"workers", "id-c"} {
					brokertest.WaitFor(t, "a consumer", func() bool { _, err := js.Consumer(t.Context(), stream, name); return err == nil })
				}
			}
			const n = 2000
			received := func() (a, b, c uint64) {
				return members[0].Uplinks()[0].Received, members[1].Uplinks()[0].Received, members[2].Uplinks()[0].Received
			}
			publish := func(count int) {
				t.Helper()
				for i := range count {
					subject := fmt.Sprint("jobs.", i%5)
					if stream == "" {
						if err := nc.Publish(subject, fmt.Append(nil, i)); err != nil {
							t.Fatal(err)
						}
					} else if _, err := js.PublishAsync(subject, fmt.Append(nil, i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			publish(n)
			brokertest.WaitFor(t, "all to be shared out", func() bool { a, b, c := received(); return a+b == n && c == n })
			if a, b, _ := received(); a == 0 || b == 0 {
				t.Errorf("%d and %d: nothing is shared", a, b)
			}
			stop(t, members[0])
			was := members[1].Uplinks()[0].Received
			publish(n)
			publish(1)
			brokertest.WaitFor(t, "the other to get all", func() bool { _, b, c := received(); return b > was+n && c > 2*n })
			if _, b, c := received(); b != was+n+1 || c != 2*n+1 {
				t.Errorf("one in the group got %d, one outside %d", b-was, c)
			}
			for _, m := range members[1:] {
				balanced(t, m)
				if st := m.Uplinks()[0]; st.Connects != 1 || st.Refused != 0 {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// The configurations that docs/FLEET.md gives for a site and the centre work:
// messages, the fleet, and a stream at the centre.
func TestFleetLeaf(t *testing.T) {
	brokertest.NoLeaks(t)
	ports := brokertest.Ports(t, 3)
	hub := natsFromDocument(t, "hub.conf", "0.0.0.0:4222", ports[0], "0.0.0.0:7422", ports[1])
	leaf := natsFromDocument(t, "leaf.conf", "0.0.0.0:4222", ports[2], "hub.example.com:7422", ports[1])
	centre := natsServer(t, hub)
	site := natsServer(t, leaf)
	brokertest.WaitFor(t, "the leaf node", func() bool { return centre.NumLeafNodes() == 1 && site.NumLeafNodes() == 1 })
	_, js := natsClient(t, centre, nats.UserInfo("app", "change-me-app"))
	makeStream(t, js, jetstream.StreamConfig{Name: "PLANT", Subjects: []string{"plant.>"}})
	t.Setenv("SITE_PASSWORD", "change-me-gateway")
	t.Setenv("CENTRE_PASSWORD", "change-me-app")

	at := func(o *server.Options, name, user, password string) *appliance.Broker {
		cfg := gatewayAt(t, o, name, "", appliance.BridgeTopic{Filter: "chat/#", Direction: appliance.BridgeBoth, QoS: 1})
		stored := uplinkToNATS(o, "PLANT", appliance.BridgeTopic{Filter: "plant/#", Direction: appliance.BridgeBoth, QoS: 1})
		stored.Name, stored.ClientID, stored.NATS.Domain = "stored", "st-"+name, "hub"
		cfg.Bridges = append(cfg.Bridges, stored)
		for i := range cfg.Bridges {
			cfg.Bridges[i].Username, cfg.Bridges[i].Password = user, appliance.SecretRef("env:"+password)
		}
		b := launch(t, cfg)
		brokertest.WaitFor(t, "both uplinks", func() bool {
			return b.Uplinks()[0].State == bridge.Up && b.Uplinks()[1].State == bridge.Up
		})
		return b
	}
	one, two := at(leaf, "one", "gateway", "SITE_PASSWORD"), at(leaf, "two", "gateway", "SITE_PASSWORD")
	office := at(hub, "office", "app", "CENTRE_PASSWORD")
	asked(t, office, "office here", "one", "two")
	asked(t, one, "office", "one here", "two")
	pump, screen, desk := client(t, one, "pump"), client(t, two, "screen"), client(t, office, "desk")
	screen.Subscribe(1, "#")
	desk.Subscribe(1, "#")
	pump.Publish("chat/1", "live", 1, false)
	screen.ExpectMessage("chat/1", "live")
	desk.ExpectMessage("chat/1", "live")
	pump.Publish("plant/1", "stored", 1, false)
	screen.ExpectMessage("plant/1", "stored")
	desk.ExpectMessage("plant/1", "stored")

	halt(centre) // the site goes on by itself
	pump.Publish("plant/1", "later", 1, false)
	pump.Publish("chat/1", "alone", 1, false)
	screen.ExpectMessage("chat/1", "alone")
	centre = natsServer(t, hub)
	brokertest.WaitFor(t, "what waits at the site to be at the centre", func() bool { st := one.Uplinks()[1]; return st.Queued+st.InFlight == 0 })
	_, js = natsClient(t, centre, nats.UserInfo("app", "change-me-app"))
	stream, err := js.Stream(t.Context(), "PLANT")
	if err != nil {
		t.Fatal(err)
	}
	if list := inStream(t, stream); len(list) != 2 || string(list[1].Data) != "later" {
		t.Errorf("%d messages in the stream", len(list))
	}
	for _, b := range []*appliance.Broker{one, two, office} {
		balanced(t, b)
	}
}

// natsFromDocument reads the configuration of a server that docs/FLEET.md has under
// a name, with what must be another in a test replaced.
func natsFromDocument(t testing.TB, name string, replace ...string) *server.Options {
	t.Helper()
	text, err := os.ReadFile("../docs/FLEET.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```\n# "+name+"\n")
	block, _, ended := strings.Cut(block, "\n```")
	if !found || !ended {
		t.Fatalf("docs/FLEET.md has no %s", name)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(block, replace[i]) {
			t.Fatalf("%s does not say %s", name, replace[i])
		}
		block = strings.ReplaceAll(block, replace[i], strings.TrimPrefix(replace[i+1], "nats://"))
	}
	block = strings.ReplaceAll(block, "/var/lib/nats", t.TempDir())
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	o.NoLog, o.NoSigs = true, true
	return o
}

// However much is answered, only so much is taken, and who asks is told.
func TestLargeFleet(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	s := natsServer(t, o)
	a := launch(t, gatewayAt(t, o, "a", "", appliance.BridgeTopic{Filter: "x/#", QoS: 1}))
	is(t, a, bridge.Up)
	nc, _ := natsClient(t, s)
	pad := strings.Repeat(" ", 60_000)
	const many = 500
	if _, err := nc.Subscribe("edgebroker.fleet", func(m *nats.Msg) {
		for i := range many {
			_ = m.Respond(fmt.Appendf(nil, `{"name":"g%d","id":"id%[1]d"}%s`, i, pad)) // else the test fails for want of it
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(brokertest.Patience); err != nil {
		t.Fatal(err)
	}
	f := a.Fleet(t.Context(), brokertest.Patience)
	if !slices.Equal(f.Cut, []string{"site"}) || len(f.Unasked) != 0 {
		t.Errorf("cut %v, unasked %v", f.Cut, f.Unasked)
	}
	if n := len(f.Gateways); n < 2 || n > (16<<20)/60_000+1 {
		t.Errorf("%d gateways", n)
	}
}
