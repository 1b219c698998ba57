package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// withWebSocket adds a listener "web".
func withWebSocket(c *appliance.Config) {
	c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "web", Type: appliance.ListenWebSocket, Address: "127.0.0.1:0"})
}

func webURL(b *broker) string { return "ws://" + b.Addr("web") + "/mqtt" }

// pahoAt connects paho.mqtt.golang to a URL with a transport of its own.
func pahoAt(t *testing.T, url, id string, version uint) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID(id).SetProtocolVersion(version).SetAutoReconnect(false))
	settled(t, "connect", c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

func settled(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(brokertest.Patience) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// TestWebSocketClient lets another WebSocket implementation exchange messages
// of every size and QoS with itself and with a TCP client.
func TestWebSocketClient(t *testing.T) {
	for _, version := range []uint{3, 4} {
		t.Run(fmt.Sprintf("protocol level %d", version), func(t *testing.T) {
			b := start(t, withWebSocket)
			connections := b.watch(events.Connection)
			got := map[string]chan mqtt.Message{}
			clients := map[string]mqtt.Client{"web": pahoAt(t, webURL(b), "web", version), "tcp": pahoAt(t, "tcp://"+b.addr, "tcp", version)}
			for id, c := range clients {
				ch := make(chan mqtt.Message, 100)
				got[id] = ch
				settled(t, "subscribe", c.Subscribe("t/#", 2, func(_ mqtt.Client, m mqtt.Message) { ch <- m }))
			}
			n := 0
			for _, size := range []int{0, 100, 126, 1000, 8187, 8192, 65536, 300_000} {
				for qos := range byte(3) {
					for from, c := range clients {
						n++
						topic, payload := fmt.Sprintf("t/%d/%s", n, from), bytes.Repeat([]byte{byte(n)}, size)
						settled(t, "publish", c.Publish(topic, qos, false, payload))
						for to, ch := range got {
							if m := receive(t, "message", ch); m.Topic() != topic || m.Qos() != qos || !bytes.Equal(m.Payload(), payload) {
								t.Fatalf("%s to %s: got %s, QoS %d, %d bytes", topic, to, m.Topic(), m.Qos(), len(m.Payload()))
							}
						}
					}
				}
			}
			for _, e := range connections.await(t, 2) {
				d := e.Data.(events.ConnectionData)
				if want := map[string]string{"web": "web", "tcp": "tcp"}[d.ClientID]; d.Listener != want || !strings.HasPrefix(d.Remote, "127.0.0.1:") {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// TestWebSocketStalledClient has a WebSocket client that reads nothing: the
// others do not notice, and what it misses is counted.
func TestWebSocketStalledClient(t *testing.T) {
	b := start(t, func(c *appliance.Config) {
		withWebSocket(c)
		c.Limits.MaxOutboundBytes = 64 * appliance.KiB
	})
	ctx := within(t)
	stalled, _, err := websocket.Dial(ctx, webURL(b), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.CloseNow()
	hello := wire.AppendConnect(nil, &wire.Connect{Version: wire.V311, CleanStart: true, ClientID: "stalled", ReceiveMaximum: 65535})
	hello = wire.AppendSubscribe(hello, wire.V311, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "t"}}})
	if err := stalled.Write(ctx, websocket.MessageBinary, hello); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the stalled subscriber", func() bool { return b.Stats().Subscriptions.Total == 1 })

	got := make(chan mqtt.Message, 1)
	c := pahoAt(t, webURL(b), "other", 4)
	settled(t, "subscribe", c.Subscribe("t", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	payload := bytes.Repeat([]byte("x"), 100_000)
	for i := 0; b.Stats().Dropped.Total == 0; i++ {
		if i == 1000 {
			t.Fatal("100 MB sent, and nothing dropped")
		}
		settled(t, "publish", c.Publish("t", 1, false, payload))
		receive(t, "message", got)
	}
	if d := mustClient(t, b, "stalled").Dropped; d == 0 {
		t.Error("the drop is not the stalled client's")
	}
}

// TestWebSocketStop says why the connection ends, first in MQTT's words, then
// in WebSocket's.
func TestWebSocketStop(t *testing.T) {
	b := start(t, withWebSocket)
	ctx := within(t)
	ws, _, err := websocket.Dial(ctx, webURL(b), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageBinary, wire.AppendConnect(nil, &wire.Connect{Version: wire.V5, CleanStart: true, ClientID: "c", ReceiveMaximum: 65535})); err != nil {
		t.Fatal(err)
	}
	if _, p, err := ws.Read(ctx); err != nil || wire.Type(p[0]>>4) != wire.CONNACK {
		t.Fatalf("%x, %v", p, err)
	}
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		stopped <- b.Stop(ctx)
	}()
	if _, p, err := ws.Read(ctx); err != nil || len(p) < 3 || wire.Type(p[0]>>4) != wire.DISCONNECT || wire.Reason(p[2]) != wire.ServerShuttingDown {
		t.Errorf("told %x, %v", p, err)
	}
	if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	if err := receive(t, "stop", stopped); err != nil {
		t.Error(err)
	}
}

// TestWebSocketRefusal reports who was turned away, and why.
func TestWebSocketRefusal(t *testing.T) {
	b := start(t, withWebSocket)
	refusals := b.watch(events.Refusal)
	ctx := within(t)
	_, res, err := websocket.Dial(ctx, webURL(b), &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%+v, %v", res, err)
	}
	if d := refusals.await(t, 1)[0].Data.(events.RefusalData); d.Reason != "origin" || d.What != "connect" {
		t.Errorf("%+v", d)
	}
	if n := b.Stats().Connections.Refused; n != 1 {
		t.Errorf("%d refusals counted", n)
	}
}
