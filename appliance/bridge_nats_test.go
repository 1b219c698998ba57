package appliance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// natsOptions are those of a NATS server with JetStream on a port that stays
// the same when it is started again.
func natsOptions(t testing.TB) *server.Options {
	t.Helper()
	var port int
	host := brokertest.Ports(t, 1)[0]
	if _, err := fmt.Sscanf(host[strings.LastIndex(host, ":")+1:], "%d", &port); err != nil {
		t.Fatal(err)
	}
	return &server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 64 << 10}
}

func natsServer(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o.Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(brokertest.Patience) {
		t.Fatal("the NATS server does not come up")
	}
	t.Cleanup(func() { halt(s) })
	return s
}

func halt(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// natsClient is a client of s, for the test.
func natsClient(t testing.TB, s *server.Server, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func makeStream(t testing.TB, js jetstream.JetStream, c jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	s, err := js.CreateOrUpdateStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func uplinkToNATS(o *server.Options, stream string, topics ...appliance.BridgeTopic) appliance.BridgeConfig {
	c := uplinkTo("", topics...)
	c.Address = fmt.Sprintf("nats://%s:%d", o.Host, o.Port)
	c.NATS.Stream = stream
	return c
}

// inStream are all messages that a stream has.
func inStream(t testing.TB, s jetstream.Stream) (list []*jetstream.RawStreamMsg) {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func nextMsg(t testing.TB, sub *nats.Subscription, subject, payload string) *nats.Msg {
	t.Helper()
	m, err := sub.NextMsg(brokertest.Patience)
	if err != nil {
		t.Fatalf("want %s %q: %v", subject, payload, err)
	}
	if m.Subject != subject || string(m.Data) != payload {
		t.Fatalf("got %s %q; want %s %q", m.Subject, m.Data, subject, payload)
	}
	return m
}

// What passes an uplink to NATS without JetStream, and as what.
func TestUplinkToCoreNATS(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	s := natsServer(t, o)
	nc, _ := natsClient(t, s)
	all, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "",
		appliance.BridgeTopic{Filter: "plant/#", QoS: 2, RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "set/#", Direction: appliance.BridgeIn, QoS: 1, LocalPrefix: "from/cloud/", RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "chat/#", Direction: appliance.BridgeBoth, QoS: 1},
	)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	below := client(t, near, "below")
	below.Subscribe(2, "from/#", "chat/#")
	for qos := range byte(3) {
		payload := fmt.Sprint("at ", qos)
		below.Publish("plant//v1.2 x/>", payload, qos, false)
		m := nextMsg(t, all, "gw1.plant./.v1//2%20x.%3E", payload)
		if got := m.Header.Get("Mqtt-Qos"); got != fmt.Sprint(qos) {
			t.Errorf("QoS %d went out as %q", qos, got)
		}
		if got := m.Header.Get("Mqtt-Client-Id"); got != "below" {
			t.Errorf("client identifier %q", got)
		}
	}
	if err := nc.Publish("gw1.set.a//b", []byte("12")); err != nil {
		t.Fatal(err)
	}
	nextMsg(t, all, "gw1.set.a//b", "12")
	if got := below.ExpectMessage("from/cloud/set/a.b", "12"); got.QoS != 1 {
		t.Errorf("QoS %d came in; the rule says 1", got.QoS)
	}
	if err := nc.Publish("gw1.set", []byte("all")); err != nil { // gw1/set/# has it as well
		t.Fatal(err)
	}
	nextMsg(t, all, "gw1.set", "all")
	below.ExpectMessage("from/cloud/set", "all")
	below.Publish("chat/1", "hello", 1, false)
	below.ExpectMessage("chat/1", "hello")
	nextMsg(t, all, "chat.1", "hello")
	below.ExpectNothing() // it does not come back
	for range 500 {       // more than may be open at once
		if err := nc.Publish("chat.2", []byte("x")); err != nil {
			t.Fatal(err)
		}
		below.ExpectMessage("chat/2", "x")
	}
	relayed(t, near)
}

// What is in a message is there on the other side of NATS, both ways, and what
// two brokers say to each other by it.
func TestUplinkHeaders(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"up.>"}})
	a, b := config(t), config(t)
	a.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2, RemotePrefix: "up/"})}
	b.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2, RemotePrefix: "up/", Direction: appliance.BridgeIn})}
	b.Bridges[0].ClientID = "other"
	a.Sys.Node, b.Sys.Node = "a", "b"
	from, to := launch(t, a), launch(t, b)
	is(t, from, bridge.Up)
	is(t, to, bridge.Up)
	pub, sub := client(t, from, "pub é 100%"), client(t, to, "sub")
	sub.Subscribe(2, "#")
	pubTopic := "a/ b/+"[:4]
	d := wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte(pubTopic), Payload: []byte("payload"), HasExpiry: true, Expiry: 1000}
	props := []byte{0x01, 1}
	props = append(props, 0x03, 0, 9)
	props = append(props, "text/a\nb%"...)
	props = append(props, 0x08, 0, 3)
	props = append(props, "r/é"[:3]...)
	props[len(props)-1] = 'x'
	props = append(props, 0x09, 0, 3, 0, '\n', 255)
	for _, kv := range [][2]string{{"k", "v=&\n "}, {"", ""}, {"k", "again"}} {
		props = wire.AppendUserProperty(props, wire.UserProperty{Key: kv[0], Value: kv[1]})
	}
	d.Props = props
	pub.Send(wire.AppendPublish(nil, &d, 7))
	got := sub.ExpectMessage(pubTopic, "payload")
	want := wire.AppendUserProperty(append([]byte(nil), props...), wire.UserProperty{Key: "edgebroker-via", Value: "a"})
	if rest := wire.AppendForward(nil, &got.Publish); string(rest) != string(want) {
		t.Errorf("properties\n%q; want\n%q", rest, want)
	}
	if got.Expiry == 0 || got.Expiry > 1000 || got.QoS != 1 {
		t.Errorf("expiry %d, QoS %d", got.Expiry, got.QoS)
	}
	relayed(t, from)
	list := inStream(t, stream)
	if len(list) != 1 {
		t.Fatalf("%d messages in the stream", len(list))
	}
	h := list[0].Header
	if id := h.Get("Mqtt-Client-Id"); id != "pub é 100%25" {
		t.Errorf("client %q", id)
	}
	if _, err := time.Parse(time.RFC3339Nano, h.Get("Edgebroker-Time")); err != nil {
		t.Error(err)
	}
	if h.Get("Edgebroker-Gateway") != "gateway" || !strings.HasPrefix(h.Get("Nats-Msg-Id"), "gateway/") || h.Get("Mqtt-Retain") != "1" {
		t.Errorf("headers %v", h)
	}
	late := client(t, to, "late")
	late.Subscribe(1, "#")
	late.ExpectMessage(pubTopic, "payload") // it is retained there
}

// Bad credentials say what is wrong, and good ones of each kind get in.
func TestUplinkNATSLogin(t *testing.T) {
	brokertest.NoLeaks(t)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	public, _ := user.PublicKey()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := appliance.SecretRef("file:"+file("good", "secret\n")), appliance.SecretRef("file:"+file("bad", "guess\n"))
	for _, c := range []struct {
		name   string
		server func(*server.Options)
		uplink func(*appliance.BridgeConfig)
		why    string // "": it gets in
	}{
		{"password", func(o *server.Options) { o.Username, o.Password = "gw", "secret" },
			func(c *appliance.BridgeConfig) { c.Username, c.Password = "gw", good }, ""},
		{"wrong password", func(o *server.Options) { o.Username, o.Password = "gw", "secret" },
			func(c *appliance.BridgeConfig) { c.Username, c.Password = "gw", bad }, "authorization violation"},
		{"nobody", func(o *server.Options) { o.Username, o.Password = "gw", "secret" },
			func(*appliance.BridgeConfig) {}, "authorization violation"},
		{"token", func(o *server.Options) { o.Authorization = "secret" },
			func(c *appliance.BridgeConfig) { c.NATS.Token = good }, ""},
		{"nkey", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			func(c *appliance.BridgeConfig) { c.NATS.NKey = file("nkey", string(seed)) }, ""},
		{"no nkey file", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
			func(c *appliance.BridgeConfig) { c.NATS.NKey = filepath.Join(dir, "nowhere") }, "nowhere"},
		{"no creds file", func(*server.Options) {},
			func(c *appliance.BridgeConfig) { c.NATS.Creds = filepath.Join(dir, "nothing") }, "nothing"},
		{"no right to publish", func(o *server.Options) {
			o.Users = []*server.User{{Username: "gw", Password: "secret", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"t"}}}}}
		}, func(c *appliance.BridgeConfig) { c.Username, c.Password = "gw", good }, `permissions violation for publish to "t"`},
		{"no such stream", func(*server.Options) {},
			func(c *appliance.BridgeConfig) { c.NATS.Stream = "NONE" }, "stream not found"},
		{"no JetStream", func(o *server.Options) { o.JetStream = false },
			func(c *appliance.BridgeConfig) { c.NATS.Stream = "NONE" }, "jetstream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := natsOptions(t)
			c.server(o)
			natsServer(t, o)
			cfg := config(t)
			cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "", appliance.BridgeTopic{Filter: "#", QoS: 1})}
			c.uplink(&cfg.Bridges[0])
			near := launch(t, cfg)
			client(t, near, "pub").Publish("t", "x", 1, false)
			if c.why == "" {
				is(t, near, bridge.Up)
				relayed(t, near)
				return
			}
			brokertest.WaitFor(t, "a reason", func() bool {
				st := near.Uplinks()[0]
				t.Log(st.LastError)
				return strings.Contains(strings.ToLower(st.LastError), strings.ToLower(c.why)) && !strings.Contains(st.LastError, "guess")
			})
		})
	}
}

// order checks that a stream has the payloads 0 to n-1, once each, and in order
// on each subject.
func order(t testing.TB, list []*jetstream.RawStreamMsg, n int) {
	t.Helper()
	seen := make(map[int]uint64)
	last := make(map[string]int)
	for _, m := range list {
		var got int
		if err := json.Unmarshal(m.Data, &got); err != nil {
			t.Fatal(err)
		}
		if at, twice := seen[got]; twice {
			t.Errorf("%d is in the stream twice, at %d and %d", got, at, m.Sequence)
		}
		seen[got] = m.Sequence
		if before, any := last[m.Subject]; any && got < before {
			t.Errorf("on %s %d comes after %d", m.Subject, got, before)
		}
		last[m.Subject] = got
	}
	for i := range n {
		if seen[i] == 0 {
			t.Errorf("%d is lost", i)
		}
	}
}

// What is published while the NATS server is away comes later, once and in
// order, also when both have been started anew meanwhile, and also when that
// takes so long that the stream has forgotten what it has.
func TestUplinkNATSOutage(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprintf("only writer %v", only), func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			cfg := config(t)
			cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
			cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
			cfg.Bridges[0].NATS.OnlyWriter = only
			s := natsServer(t, o)
			const window = 100 * time.Millisecond // the shortest that there is
			nc, js := natsClient(t, s)
			makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, Duplicates: window, Storage: jetstream.FileStorage})
			nc.Close()
			near := launch(t, cfg)
			is(t, near, bridge.Up)
			n := 0
			publish := func(count int) {
				pub := client(t, near, "pub")
				for range count {
					pub.Publish(fmt.Sprint("t/", n%3), fmt.Sprint(n), 1+byte(n%2), false)
					n++
				}
				pub.Disconnect()
			}
			for range 3 {
				publish(50)
				halt(s)
				publish(50)
				stop(t, near)
				near = launch(t, cfg)
				publish(50)
				s = natsServer(t, o)
				publish(50)
			}
			relayed(t, near)
			_, js = natsClient(t, s)
			stream, err := js.Stream(t.Context(), "S")
			if err != nil {
				t.Fatal(err)
			}
			order(t, inStream(t, stream), n)
		})
	}
}
