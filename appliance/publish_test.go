package appliance_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func TestPublish(t *testing.T) {
	cfg := config(t)
	cfg.Sys.Interval = 0 // what is below $SYS is the test's own
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
	c.Subscribe(2, "#")
	c.Subscribe(2, "$SYS/#")
	publish := func(m appliance.Message) {
		t.Helper()
		if err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for qos := range byte(3) {
		publish(appliance.Message{Topic: "t", Payload: []byte("x"), QoS: qos})
		if d := c.ExpectMessage("t", "x"); d.QoS != qos || d.Retain {
			t.Errorf("QoS %d arrives with %d, retain %v", qos, d.QoS, d.Retain)
		}
	}
	publish(appliance.Message{Topic: "$SYS/broker/mine", Payload: []byte("1"), Retain: true})
	c.ExpectMessage("$SYS/broker/mine", "1")
	payload := []byte("original")
	publish(appliance.Message{Topic: "kept", Payload: payload, QoS: 1, Retain: true, Expiry: 90*time.Second + 1})
	copy(payload, "changed!") // the payload was the caller's again
	c.ExpectMessage("kept", "original")

	late := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "late")).AutoAck()
	late.Subscribe(1, "kept")
	if d := late.ExpectMessage("kept", "original"); !d.Retain || !d.HasExpiry || d.Expiry > 91 || d.Expiry < 60 {
		t.Errorf("retained: %+v", d.Publish)
	}
	publish(appliance.Message{Topic: "kept", Retain: true})
	late.ExpectMessage("kept", "")
	if n := b.Stats().Retained.Messages; n != 1 {
		t.Errorf("%d retained messages, want 1", n)
	}
	if got := b.Stats().MessageCount; got != 6 {
		t.Errorf("messageCount is %d, want 6", got)
	}
}

func TestPublishRefuses(t *testing.T) {
	b := start(t, config(t))
	for _, topic := range []string{"", "a/+", "#", "a\x00b", "\xff"} {
		if err := b.Publish(t.Context(), appliance.Message{Topic: topic}); !errors.Is(err, relay.ErrTopic) {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
	if err := b.Publish(t.Context(), appliance.Message{Topic: "t", QoS: 3}); err == nil {
		t.Error("QoS 3 was accepted")
	}
	if b.Stats().MessageCount != 0 {
		t.Error("a refused message was counted")
	}
}

// What cannot be sent as asked is refused or, an expiry too long for MQTT,
// as long as can be.
func TestPublishBounds(t *testing.T) {
	b := start(t, config(t))
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	c.Subscribe(0, "#")
	if err := b.Publish(t.Context(), appliance.Message{Topic: "t", Expiry: -time.Second}); err == nil {
		t.Error("a negative expiry was taken")
	}
	if err := b.Publish(t.Context(), appliance.Message{Topic: "t", Payload: make([]byte, 1<<28)}); err == nil {
		t.Error("a payload was taken that no packet holds")
	}
	for expiry, want := range map[time.Duration]uint32{
		1:             1,
		time.Second:   1,
		math.MaxInt64: math.MaxUint32,
	} {
		if err := b.Publish(t.Context(), appliance.Message{Topic: "t", Payload: []byte("x"), Expiry: expiry}); err != nil {
			t.Fatal(err)
		}
		if d := c.ExpectMessage("t", "x"); !d.HasExpiry || d.Expiry != want {
			t.Errorf("expiry %v arrives as %d s; want %d", expiry, d.Expiry, want)
		}
	}
}

func TestStatsCount(t *testing.T) {
	b := start(t, config(t))
	sub := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, "sub")).AutoAck()
	sub.Subscribe(1, "t/#")
	sub.Subscribe(0, "$share/g/other")
	pub := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, "pub"))
	for qos := range byte(3) {
		for range 5 {
			pub.Publish("t/x", "12345678", qos, false)
			sub.ExpectMessage("t/x", "12345678")
		}
	}
	sub.Ping() // its acknowledgements have been taken in
	pub.Publish("nowhere", "x", 1, true)
	s := b.Stats()
	if s.ClientCount != 2 || s.MessageCount != 16 || s.Connections.Current != 2 || s.Connections.Maximum != 2 || s.Connections.Total != 2 ||
		s.Sessions.Total != 2 || s.Sessions.Connected != 2 || s.Sessions.Kept != 0 || s.Subscriptions.Total != 2 || s.Subscriptions.Shared != 1 ||
		s.Retained.Messages != 1 || s.Queued.Messages != 0 || s.Queued.Inflight != 0 || s.Queued.Bytes != 0 {
		t.Errorf("%+v", s)
	}
	if r := s.Received; r.Messages != 16 || r.QoS0 != 5 || r.QoS1 != 6 || r.QoS2 != 5 || r.PayloadBytes != 15*8+1 {
		t.Errorf("received %+v", r)
	}
	if r := s.Sent; r.Messages != 15 || r.QoS0 != 5 || r.QoS1 != 10 || r.QoS2 != 0 || r.PayloadBytes != 15*8 {
		t.Errorf("sent %+v", r)
	}
	if s.Dropped.Total != 1 || s.Dropped.ByReason["no_subscribers"] != 1 {
		t.Errorf("dropped %+v", s.Dropped)
	}
	// Each side sent CONNECT, and what it published or subscribed and acknowledged.
	if want := uint64(2 + 2 + 5 + 5 + 10 + 1 + 10 + 1); s.Received.Packets != want {
		t.Errorf("%d packets received, want %d", s.Received.Packets, want)
	}
	sub.Disconnect()
	pub.Disconnect()
	brokertest.WaitFor(t, "both to be gone", func() bool { return b.Stats().Sessions.Connected == 0 })
	s = b.Stats()
	if s.ClientCount != 0 || s.Sessions.Kept != 1 || s.Disconnections["normal"] != 2 || s.Connections.Maximum != 2 || s.MessageCount != 16 {
		t.Errorf("after both have gone: %+v", s)
	}
	if s.Uptime <= 0 || s.StartedAt.IsZero() || s.Memory.Goroutines == 0 {
		t.Errorf("uptime %v, started %v, %d goroutines", s.Uptime, s.StartedAt, s.Memory.Goroutines)
	}
}

func TestKickAndClients(t *testing.T) {
	b := start(t, config(t))
	five := brokertest.Dial(t, b.Addr("tcp"), wire.Connect{Version: wire.V5, ClientID: "five", SessionExpiry: 100, KeepAlive: 9})
	three := brokertest.Dial(t, "unix:"+b.Addr("unix"), brokertest.Clean(wire.V31, "three"))
	five.Subscribe(1, "a")
	five.Publish("a", "12345", 1, false)
	d := five.ExpectMessage("a", "12345")

	if n := len(b.Clients()); n != 2 {
		t.Fatalf("%d clients", n)
	}
	c, ok := b.Client("five")
	if !ok || !c.Connected || c.Protocol != "5" || c.Listener != "tcp" || c.KeepAlive != 9 || c.CleanStart || c.SessionExpiry != 100 ||
		c.Remote != five.Conn().LocalAddr().String() || c.ConnectedAt.IsZero() || c.Subscriptions != 1 || len(c.Filters) != 1 ||
		c.Filters[0].Filter != "a" || c.Filters[0].QoS != 1 || c.Received.Messages != 1 || c.Received.PayloadBytes != 5 ||
		c.Sent.Messages != 1 || c.Inflight != 1 || c.ReceivedBytes == 0 || c.SentBytes == 0 {
		t.Errorf("client %+v", c)
	}
	if _, ok := b.Client("nobody"); ok || b.Kick("nobody") {
		t.Error("nobody is there")
	}
	if !b.Kick("five") || !b.Kick("three") {
		t.Error("a connected client was not kicked")
	}
	if got := five.ExpectDisconnect(); got != wire.AdministrativeAction {
		t.Errorf("v5 client told %v", got)
	}
	three.ExpectClosed()
	brokertest.WaitFor(t, "the clients to be gone", func() bool { return b.Stats().Disconnections["kicked"] == 2 && len(b.Clients()) == 1 })
	brokertest.WaitFor(t, "the kept session to be idle", func() bool { c, _ := b.Client("five"); return !c.Connected })
	if c, ok := b.Client("five"); !ok || c.Inflight != 1 || c.Remote != "" || b.Kick("five") {
		t.Errorf("kept session: %+v, %v", c, ok)
	}
	five = brokertest.Dial(t, b.Addr("tcp"), wire.Connect{Version: wire.V5, ClientID: "five", SessionExpiry: 100})
	if again := five.ExpectMessage("a", "12345"); !again.Dup || again.PacketID != d.PacketID {
		t.Errorf("redelivered %+v", again.Publish)
	}
}

// Publish waits for what must be stored no longer than its context.
func TestPublishContext(t *testing.T) {
	b := start(t, config(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ctx, appliance.Message{Topic: "t"}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
