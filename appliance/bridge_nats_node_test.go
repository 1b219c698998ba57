package appliance_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// nodeLine is what testdata/component.js says.
type nodeLine struct {
	On      string
	Channel string
	Event   heard
	Hello   *heard
	Stats   nodeStats
	Goodbye *nodeStats
}

type nodeStats struct{ ClientCount, MessageCount int }

// A program in Node with the nats package, written for control.* and topic.*, sees
// devices come, publish and go, reaches them, and is seen. scripts/events.sh runs
// it; TestEventsComponent speaks the same bytes without Node.
func TestEventsNode(t *testing.T) {
	modules := os.Getenv("EDGEBROKER_NODE_MODULES")
	if modules == "" {
		t.Skip("needs the nats package of npm; scripts/events.sh runs it")
	}
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.JetStream = false
	natsServer(t, o)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{eventUplink(o, "gw1", appliance.EventWhole)}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	connections, disconnections, created := listens(t, near, "connection"), listens(t, near, "disconnection"), listens(t, near, "users.created")

	node := exec.CommandContext(t.Context(), "node", "testdata/component.js", fmt.Sprintf("nats://127.0.0.1:%d", o.Port), "users")
	node.Env, node.Stderr = append(os.Environ(), "NODE_PATH="+modules), os.Stderr
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func() (l nodeLine) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("the component has ended")
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		t.Logf("%s", lines.Bytes())
		return l
	}

	if l := next(); l.Hello == nil || l.Hello.Type != "connection.established" || l.Hello.Data["clientId"] != "component-1" {
		t.Fatalf("it was answered %+v", l)
	}
	if d := nextEvent(t, connections).Data.(events.ConnectionData); d.ClientID != "component-1" || d.Bridge != "up" {
		t.Errorf("%+v", d)
	}
	device := client(t, near, "pump-7")
	if l := next(); l.On != "connection" || l.Event.Data["clientId"] != "pump-7" || l.Stats.ClientCount != 1 {
		t.Errorf("%+v", l)
	}
	device.Publish("plant/1/temp", `{"c":21.4}`, 1, false)
	if l := next(); l.On != "message" || l.Event.Source != "pump-7" || l.Event.Data["topic"] != "plant/1/temp" || l.Event.Data["payload"] != `{"c":21.4}` || l.Stats.MessageCount != 1 {
		t.Errorf("%+v", l)
	}
	device.Publish("users", `{"type":"users.created","data":{"name":"Jane"}}`, 1, false)
	for range 2 { // the event broker and the channel
		if l := next(); l.Event.Type != "users.created" || l.Event.Data["name"] != "Jane" || l.Event.Source != "pump-7" {
			t.Errorf("%+v", l)
		}
	}
	nextEvent(t, created)

	device.Subscribe(1, "users")
	for _, line := range []string{`{"id":"1","type":"users.created","source":"web","data":{"name":"Ann"}}`, `{"type":"message","source":"web","data":{"payload":"on"}}`} {
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		next()
		next()
	}
	var got heard
	if p := device.ExpectPublish(); string(p.Topic) != "users" || json.Unmarshal(p.Payload, &got) != nil || got.Data["name"] != "Ann" || got.Source != "web" || got.ClientID != "component-1" {
		t.Errorf("a device got %q", p.Payload)
	}
	if e := nextEvent(t, created); e.Source != "web" || e.ID != "1" {
		t.Errorf("%+v", e)
	}
	device.ExpectMessage("users", "on")
	device.Disconnect()
	if l := next(); l.On != "disconnection" || l.Event.Data["reason"] != "normal" || l.Stats.ClientCount != 0 {
		t.Errorf("%+v", l)
	}
	nextEvent(t, disconnections)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if l := next(); l.Goodbye == nil || *l.Goodbye != (nodeStats{0, 4}) {
		t.Errorf("%+v", l.Goodbye)
	}
	if err := node.Wait(); err != nil {
		t.Fatal(err)
	}
	if d := nextEvent(t, disconnections).Data.(events.DisconnectionData); d.ClientID != "component-1" || d.Bridge != "up" {
		t.Errorf("%+v", d)
	}
	balanced(t, near)
}
