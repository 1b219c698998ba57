package appliance_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// eventUplink is an uplink in event mode that lets everything pass both ways.
func eventUplink(o *server.Options, name string, names appliance.BridgeEvents, topics ...appliance.BridgeTopic) appliance.BridgeConfig {
	if len(topics) == 0 {
		topics = []appliance.BridgeTopic{{Filter: "#", Direction: appliance.BridgeBoth, QoS: 1}}
	}
	c := uplinkToNATS(o, "", topics...)
	c.ClientID, c.NATS.Events = name, names
	return c
}

// component is a program on the far side, which speaks JSON on subjects and knows
// nothing else.
type component struct {
	t   testing.TB
	nc  *nats.Conn
	all *nats.Subscription
}

func newComponent(t testing.TB, s *server.Server) *component {
	t.Helper()
	c := &component{t: t}
	c.nc, _ = natsClient(t, s)
	var err error
	if c.all, err = c.nc.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	c.flush()
	return c
}

func (c *component) flush() {
	c.t.Helper()
	if err := c.nc.FlushTimeout(brokertest.Patience); err != nil {
		c.t.Fatal(err)
	}
}

func (c *component) say(subject, body string) {
	c.t.Helper()
	if err := c.nc.Publish(subject, []byte(body)); err != nil {
		c.t.Fatal(err)
	}
	c.flush()
}

// heard is an event as a component reads it.
type heard struct {
	ID, Type, Source, ClientID, Gateway string
	Timestamp                           time.Time
	Data                                map[string]any
}

// hears is the next message on a subject. What comes in between on others is
// passed over.
func (c *component) hears(subject string) (h heard) {
	c.t.Helper()
	for {
		m, err := c.all.NextMsg(brokertest.Patience)
		if err != nil {
			c.t.Fatalf("nothing on %s: %v", subject, err)
		}
		if m.Subject != subject {
			continue
		}
		if err := json.Unmarshal(m.Data, &h); err != nil {
			c.t.Fatalf("%s: %q: %v", subject, m.Data, err)
		}
		return h
	}
}

// silent requires that nothing but what its own it says has come on subjects
// that begin so.
func (c *component) silent(prefix string) {
	c.t.Helper()
	c.say("end.of.it", "{}")
	for {
		m, err := c.all.NextMsg(brokertest.Patience)
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Subject == "end.of.it" {
			return
		}
		if strings.HasPrefix(m.Subject, prefix) {
			c.t.Errorf("unexpected on %s: %s", m.Subject, m.Data)
		}
	}
}

// listens collects events of a broker.
func listens(t testing.TB, b *appliance.Broker, typ string) <-chan events.Event {
	t.Helper()
	got := make(chan events.Event, 1000)
	t.Cleanup(b.On(typ, func(e events.Event) { got <- e }))
	return got
}

func nextEvent(t testing.TB, from <-chan events.Event) events.Event {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(brokertest.Patience):
		t.Fatal("no event")
	}
	return events.Event{}
}

// besideComponent is a broker with an uplink in event mode to a NATS system without
// JetStream, and a component there.
func besideComponent(t testing.TB, change func(*server.Options, *appliance.Config)) (*appliance.Broker, *component) {
	t.Helper()
	o := natsOptions(t)
	o.JetStream = false
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", appliance.EventLevels)}
	if change != nil {
		change(o, &cfg)
	}
	c := newComponent(t, natsServer(t, o))
	near := launch(t, cfg)
	allUp(t, near, 1+len(cfg.Bridges[0].Lanes))
	return near, c
}

// A component that speaks the subjects and the JSON of the original sees devices
// come and go and what they publish, and reaches them; and the gateway sees it.
func TestEventsComponent(t *testing.T) {
	for _, names := range []appliance.BridgeEvents{appliance.EventLevels, appliance.EventWhole} {
		t.Run(string(names), func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			o.JetStream = false
			s := natsServer(t, o)
			c := newComponent(t, s)
			cfg := config(t)
			cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", names)}
			near := newBroker(t, cfg)
			connections, disconnections, created, messages := listens(t, near, "connection"), listens(t, near, "disconnection"), listens(t, near, "users.created"), listens(t, near, "message")
			if err := near.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(t, near) })
			is(t, near, bridge.Up)
			temp := map[appliance.BridgeEvents]string{appliance.EventLevels: "topic.plant.1.temp", appliance.EventWhole: "topic.plant/1/temp"}[names]

			device := client(t, near, "pump-7")
			h := c.hears("control.connect")
			if h.Type != "connection" || h.Source != "pump-7" || h.ClientID != "pump-7" || h.Data["clientId"] != "pump-7" || h.Data["protocol"] != "5" || h.Gateway != "gw1" || h.ID == "" {
				t.Errorf("%+v", h)
			}
			if since := time.Since(h.Timestamp); since < 0 || since > brokertest.Patience {
				t.Errorf("it connected %v ago", since)
			}
			if e := nextEvent(t, connections); e.Data.(events.ConnectionData).Bridge != "" || e.ID != h.ID {
				t.Errorf("%+v", e)
			}

			device.Publish("plant/1/temp", `{"c":21.4}`, 1, false)
			h = c.hears(temp)
			if h.Type != "message" || h.Source != "pump-7" || h.ClientID != "pump-7" || h.Data["topic"] != "plant/1/temp" || h.Data["payload"] != `{"c":21.4}` || h.Data["qos"] != 1.0 {
				t.Errorf("%+v", h)
			}
			device.Publish("plant/1/temp", "\xff\x00", 0, false)
			if h = c.hears(temp); h.Data["payloadBase64"] != "/wA=" || h.Data["payload"] != nil {
				t.Errorf("%+v", h)
			}
			device.Publish("users", `{"type":"users.created","data":{"name":"Jane"}}`, 1, false)
			if h = c.hears("topic.users"); h.Type != "users.created" || h.Data["name"] != "Jane" || h.Source != "pump-7" || h.ID == "" {
				t.Errorf("%+v", h)
			}
			if e := nextEvent(t, created); e.Source != "pump-7" || string(e.Data.(json.RawMessage)) != `{"name":"Jane"}` {
				t.Errorf("%+v", e)
			}
			for range 3 {
				nextEvent(t, messages)
			}

			device.Subscribe(1, "#")
			c.say("topic.users", `{"id":"7","type":"users.created","source":"web","timestamp":"2026-01-02T03:04:05.000Z","data":{"name":"Ann"},"clientId":"c-1"}`)
			device.ExpectMessage("users", `{"id":"7","type":"users.created","source":"web","timestamp":"2026-01-02T03:04:05.000Z","data":{"name":"Ann"},"clientId":"c-1"}`)
			if e := nextEvent(t, created); e.Source != "web" || e.ID != "7" || string(e.Data.(json.RawMessage)) != `{"name":"Ann"}` {
				t.Errorf("%+v", e)
			}
			e := nextEvent(t, messages)
			if d := e.Data.(events.MessageData); e.Source != "web" || d.Topic != "users" || d.ClientID != bridge.SessionPrefix+"up" {
				t.Errorf("%+v", e)
			}
			c.say(temp, `{"type":"message","source":"web","data":{"payload":"set","qos":1}}`)
			if got := device.ExpectMessage("plant/1/temp", "set"); got.QoS != 1 {
				t.Errorf("QoS %d", got.QoS)
			}

			clients := near.Stats().ClientCount
			c.say("control.connect", `{"clientId":"c-1","topic":"users","timestamp":"2026-01-02T03:04:05.000Z"}`)
			e = nextEvent(t, connections)
			if d := e.Data.(events.ConnectionData); e.Source != "c-1" || d.ClientID != "c-1" || d.Bridge != "up" || d.Protocol != "nats" {
				t.Errorf("%+v", e)
			}
			c.say("control.disconnect", `{"clientId":"c-1","topic":"users","timestamp":"2026-01-02T03:04:06.000Z"}`)
			e = nextEvent(t, disconnections)
			if d := e.Data.(events.DisconnectionData); d.ClientID != "c-1" || d.Bridge != "up" || d.Reason != "normal" {
				t.Errorf("%+v", e)
			}
			if st := near.Stats(); st.ClientCount != clients || st.Disconnections["normal"] != 0 {
				t.Errorf("%d clients, there were %d; disconnections %v", st.ClientCount, clients, st.Disconnections)
			}
			answer, err := c.nc.Request("control.connect", []byte(`{"clientId":"c-2","topic":"users"}`), brokertest.Patience)
			if err != nil {
				t.Fatal("a component that waits for an answer:", err)
			}
			if err := json.Unmarshal(answer.Data, &h); err != nil || h.Type != "connection.established" || h.Data["clientId"] != "c-2" {
				t.Errorf("answer %s", answer.Data)
			}

			device.Disconnect()
			h = c.hears("control.disconnect") // its own
			for h.ClientID != "pump-7" {
				h = c.hears("control.disconnect")
			}
			if h.Type != "disconnection" || h.Data["reason"] != "normal" || h.Data["received"] != 3.0 {
				t.Errorf("%+v", h)
			}
			c.silent("topic.") // nothing has come back
			brokertest.WaitFor(t, "two events that were sent and three received", func() bool {
				return *near.Uplinks()[0].Events == bridge.EventCounts{Sent: 2, Received: 3}
			})
			relayed(t, near)
			balanced(t, near)
		})
	}
}

// What makes no sense on the far side is counted, hurts nobody, and does not stop
// what makes sense.
func TestEventsNonsense(t *testing.T) {
	brokertest.NoLeaks(t)
	near, c := besideComponent(t, func(o *server.Options, _ *appliance.Config) { o.MaxPayload = 1 << 20 })
	device := client(t, near, "pump-7")
	device.Subscribe(1, "#")
	topics := []string{``, `x`, `[]`, `7`, `null`, `{"type":7}`, `{"data":"no type"}`, `{"type":"message"`, strings.Repeat("[", 500_000), `{"type":"a","source":["x"]}`}
	for _, body := range topics {
		c.say("topic.a", body)
	}
	c.say("topic.a+b", `{"type":"message","data":"x"}`) // no topic is called so
	c.say("topic", `{"type":"message","data":"x"}`)     // of no concern
	controls := []string{``, `x`, `{"clientId":7}`, `{}`, `{"clientId":"` + strings.Repeat("x", 100_000) + `"}`, `{"data":{"clientId":"\u0007"}}`}
	for _, body := range controls {
		c.say("control.connect", body)
		c.say("control.disconnect", body)
	}
	c.say("control.subscribe", `x`)
	for _, reply := range []string{"topic.valve", "control.connect", "$SYS.x", "_INBOX"} { // nobody waits there
		if err := c.nc.PublishRequest("control.connect", reply, []byte(`{"clientId":"c"}`)); err != nil {
			t.Fatal(err)
		}
	}
	c.say("topic.a", `{"type":"message","data":"fine"}`)
	device.ExpectMessage("a", "fine")
	device.ExpectNothing()
	brokertest.WaitFor(t, "all to be counted", func() bool {
		st := near.Uplinks()[0]
		return st.Refused == uint64(len(topics)+1) && *st.Events == bridge.EventCounts{Sent: 1, Received: 4, Refused: uint64(2 * len(controls))}
	})
	if _, err := c.nc.Request("control.connect", []byte(`{"clientId":"c"}`), brokertest.Patience); err != nil { // all before has been answered
		t.Fatal(err)
	}
	c.silent("topic.valve")
	if st := near.Uplinks()[0]; st.State != bridge.Up || st.Connects != 1 {
		t.Errorf("%+v", st)
	}
	relayed(t, near)
	balanced(t, near)
}

// An account that lets nobody be answered is no reason to go down; one that does
// not let the gateway say who is there is, and is named.
func TestEventsRights(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	allowed := &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"topic.>", "control.connect", "control.disconnect"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"topic.>", "control.connect", "control.disconnect", "_INBOX.>"}}}
	o.Users = []*server.User{{Username: "gw", Password: "x", Permissions: allowed}, {Username: "app", Password: "x"}}
	s := natsServer(t, o)
	nc, _ := natsClient(t, s, nats.UserInfo("app", "x"))
	t.Setenv("NATS_PASSWORD", "x")
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", appliance.EventLevels)}
	cfg.Bridges[0].Username, cfg.Bridges[0].Password = "gw", "env:NATS_PASSWORD"
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	if err := nc.PublishRequest("control.connect", nc.NewInbox(), []byte(`{"clientId":"c"}`)); err != nil {
		t.Fatal(err)
	}
	got, err := nc.SubscribeSync("topic.x")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(brokertest.Patience); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the answer to be refused", func() bool { return near.Uplinks()[0].Events.Received == 1 })
	client(t, near, "pub").Publish("x", "still there", 1, false)
	if _, err := got.NextMsg(brokertest.Patience); err != nil {
		t.Fatal(err)
	}
	relayed(t, near)
	if st := near.Uplinks()[0]; st.State != bridge.Up || st.Connects != 1 {
		t.Errorf("%+v", st)
	}
}

// Gateways on one NATS system see each other's devices and pass their messages on,
// byte by byte, once, and in no circle; also one that has two uplinks there.
func TestEventsBetweenGateways(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	c := newComponent(t, s)
	var all []*appliance.Broker
	var seen []<-chan events.Event
	for i := range 3 {
		cfg := config(t)
		cfg.Sys.Node = fmt.Sprint("node", i)
		cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, fmt.Sprint("gw", i), appliance.EventLevels)}
		if i == 2 {
			second := eventUplink(o, "gw2b", appliance.EventLevels, appliance.BridgeTopic{Filter: "other/#"}) // else they are two ways, and messages take both
			second.Name = "second"
			cfg.Bridges = append(cfg.Bridges, second)
		}
		b := launch(t, cfg)
		for j := range cfg.Bridges {
			brokertest.WaitFor(t, "all uplinks", func() bool { return b.Uplinks()[j].State == bridge.Up })
		}
		all, seen = append(all, b), append(seen, listens(t, b, "connection"))
	}
	device := client(t, all[0], "pump-7")
	for i, from := range seen {
		e := nextEvent(t, from)
		d := e.Data.(events.ConnectionData)
		if d.ClientID != "pump-7" || e.Source != "pump-7" || d.Protocol != "5" || (d.Gateway == "gw0") == (i == 0) || (d.Bridge == "") != (i == 0) {
			t.Errorf("gateway %d: %+v", i, e)
		}
	}
	c.hears("control.connect")
	there := client(t, all[1], "there")
	there.Subscribe(1, "#")
	for _, payload := range []string{"on", "\xff\x00", ` {"type":"users.created", "data": 1.0} `, ""} {
		device.Publish("a/b", payload, 1, false)
		there.ExpectMessage("a/b", payload)
	}
	for range 3 { // gw1 to gw2 by two ways
		nextEvent(t, seen[2])
	}
	relayed(t, all[0])
	relayed(t, all[2])
	brokertest.WaitFor(t, "the second uplink", func() bool { st := all[2].Uplinks()[1]; return st.Queued+st.InFlight == 0 })
	for _, b := range all {
		balanced(t, b)
		for _, st := range b.Uplinks() {
			t.Logf("%s: %+v, sent %d, received %d, loops %d", st.ClientID, *st.Events, st.Sent, st.Received, st.Loops)
		}
	}
}

// What is published while NATS is away waits, as with any uplink; who comes and goes
// meanwhile is dropped, and counted. The event says when it was published.
func TestEventsOutage(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", appliance.EventLevels)}
	cfg.Bridges[0].NATS.Stream = "S"
	nc, js := natsClient(t, s)
	makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"topic.>"}, Storage: jetstream.FileStorage})
	nc.Close()
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	halt(s)
	is(t, near, bridge.Down)
	device := client(t, near, "pump-7")
	for i := range 10 {
		device.Publish("a", fmt.Sprint(i), 1+byte(i%2), false)
	}
	brokertest.WaitFor(t, "the connection to be dropped", func() bool { return near.Uplinks()[0].Events.Dropped == 1 })
	s = natsServer(t, o)
	relayed(t, near)
	_, js = natsClient(t, s)
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	list := inStream(t, stream)
	if len(list) != 10 {
		t.Errorf("%d messages in the stream", len(list))
	}
	ids := map[string]bool{}
	for i, m := range list {
		var h heard
		if err := json.Unmarshal(m.Data, &h); err != nil || h.Data["payload"] != fmt.Sprint(i) || h.ID != m.Header.Get("Nats-Msg-Id") {
			t.Errorf("%s: %v", m.Data, err)
		}
		ids[h.ID] = true
	}
	if len(ids) != len(list) {
		t.Errorf("%d identifiers", len(ids))
	}
	c := newComponent(t, s)
	is(t, near, bridge.Up)
	device.Disconnect()
	c.hears("control.disconnect")
	js2 := mustJetStream(t, c.nc)
	if _, err := js2.Publish(t.Context(), "topic.set", []byte(`{"type":"message","data":"from the stream"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := js2.Publish(t.Context(), "topic.set", []byte(`nonsense`)); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "both to be dealt with", func() bool { st := near.Uplinks()[0]; return st.Received == 2 && st.Refused == 1 })
	consumer, err := stream.Consumer(t.Context(), "gw1")
	if err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "nothing to be left in the stream for the gateway", func() bool {
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
}

func mustJetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Devices that are disconnected because the broker stops are said to be gone.
func TestEventsOnStop(t *testing.T) {
	brokertest.NoLeaks(t)
	near, c := besideComponent(t, nil)
	const devices = 50
	for i := range devices {
		client(t, near, fmt.Sprint("pump-", i))
		c.hears("control.connect")
	}
	stop(t, near)
	for range devices {
		if h := c.hears("control.disconnect"); h.Data["reason"] != "server_shutdown" {
			t.Errorf("%+v", h)
		}
	}
}

// Whoever floods the gateway with who comes and goes loses what is too much, and
// holds up nothing.
func TestEventsFlood(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	s := natsServer(t, o)
	nc, _ := natsClient(t, s)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", appliance.EventLevels)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	device := client(t, near, "pump-7")
	device.Subscribe(1, "a")
	const flood = 20_000 // so many that no machine is too slow to have too much
	for i := range flood {
		if err := nc.Publish("control.connect", fmt.Appendf(nil, `{"clientId":"c%d"}`, i)); err != nil {
			t.Fatal(err)
		}
		if i == flood/2 {
			if err := nc.Publish("topic.a", []byte(`{"type":"message","data":"through"}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	device.ExpectMessage("a", "through")
	brokertest.WaitFor(t, "all to be counted", func() bool {
		n := near.Uplinks()[0].Events
		return n.Received+n.Dropped == flood
	})
	if n := near.Uplinks()[0].Events; n.Dropped == 0 || n.Received == 0 {
		t.Errorf("%+v", n)
	}
	if st := near.Stats(); st.ClientCount != 1 {
		t.Errorf("%d clients", st.ClientCount)
	}
}

// A device does not become another one by a user property, here or on the far
// side, and components are none of this broker's clients in $SYS.
func TestEventsForgery(t *testing.T) {
	brokertest.NoLeaks(t)
	near, c := besideComponent(t, func(_ *server.Options, cfg *appliance.Config) {
		cfg.Sys = appliance.SysConfig{Clients: true, Node: "here"}
	})
	messages := listens(t, near, "message")
	watcher := client(t, near, "watcher")
	watcher.Subscribe(0, "$SYS/brokers/here/clients/#")
	c.say("control.connect", `{"clientId":"component"}`)
	c.say("control.disconnect", `{"clientId":"component"}`)
	brokertest.WaitFor(t, "both events", func() bool { return near.Uplinks()[0].Events.Received == 2 })
	device := client(t, near, "pump-7")
	d := watcher.ExpectPublish()
	if strings.Contains(string(d.Topic), "/watcher/") { // or it has been too late for itself
		d = watcher.ExpectPublish()
	}
	if string(d.Topic) != "$SYS/brokers/here/clients/pump-7/connected" {
		t.Errorf("on %q: %q", d.Topic, d.Payload)
	}
	device.PublishOut(wire.Out{Topic: []byte("a"), Payload: []byte("x"), QoS: 1,
		Props: wire.AppendUserProperty(nil, wire.UserProperty{Key: "edgebroker-source", Value: "root"})})
	if e := nextEvent(t, messages); e.Source != "pump-7" {
		t.Errorf("%+v", e)
	}
	if h := c.hears("topic.a"); h.Source != "pump-7" || h.ClientID != "pump-7" {
		t.Errorf("%+v", h)
	}
	device.Publish("a", `{"type":"connection","data":{"clientId":"root"},"clientId":"root"}`, 1, false)
	if h := c.hears("topic.a"); h.Type != "message" || h.ClientID != "pump-7" {
		t.Errorf("%+v", h)
	}
	device.Publish("a", `{"type":"alarm.high","source":"hall","data":1,"clientId":"root"}`, 1, false)
	m, err := c.all.NextMsg(brokertest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Type, Source, ClientID string }
	if err := json.Unmarshal(m.Data, &h); err != nil || h.Type != "alarm.high" || h.Source != "hall" || h.ClientID != "pump-7" {
		t.Errorf("%s: %v", m.Data, err)
	}
}
