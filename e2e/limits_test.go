package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Every limit that bites is counted, and reported as an event that says which
// one it was.
func TestLimitsTell(t *testing.T) {
	client := func(t *testing.T, b *broker, id string) *brokertest.Client {
		return brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, id))
	}
	knock := func(t *testing.T, b *broker) {
		nc, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
	refusals := func(why string) func(s statsd.Snapshot) uint64 {
		return func(s statsd.Snapshot) uint64 { return s.Refusals[why] }
	}
	drops := func(why string) func(s statsd.Snapshot) uint64 {
		return func(s statsd.Snapshot) uint64 { return s.Dropped.ByReason[why] }
	}
	ends := func(why string) func(s statsd.Snapshot) uint64 {
		return func(s statsd.Snapshot) uint64 { return s.Disconnections[why] }
	}
	for name, tt := range map[string]struct {
		set   func(c *appliance.Config)
		bite  func(t *testing.T, b *broker) // once
		count func(s statsd.Snapshot) uint64
		event events.Type
		says  string // part of the event's data
	}{
		"limits.max_connections": {func(c *appliance.Config) { c.Limits.MaxConnections = 1 },
			func(t *testing.T, b *broker) { client(t, b, "c"); knock(t, b) },
			refusals("max_connections"), events.Refusal, "Reason:max_connections"},
		"limits.max_connections_per_address": {func(c *appliance.Config) { c.Limits.MaxPerAddress = 1 },
			func(t *testing.T, b *broker) { client(t, b, "c"); knock(t, b) },
			refusals("max_connections_per_address"), events.Refusal, "Reason:max_connections_per_address"},
		"limits.connect_rate": {func(c *appliance.Config) { c.Limits.ConnectRate = 1 },
			func(t *testing.T, b *broker) { client(t, b, "c"); knock(t, b) },
			refusals("connect_rate"), events.Refusal, "Reason:connect_rate"},
		"limits.max_unauthenticated": {func(c *appliance.Config) { c.Limits.MaxUnauthenticated = 1 },
			func(t *testing.T, b *broker) { knock(t, b); knock(t, b) },
			refusals("max_unauthenticated"), events.Refusal, "Reason:max_unauthenticated"},
		"limits.max_connect_size": {func(c *appliance.Config) { c.Limits.MaxConnectSize = 1 * appliance.KiB },
			func(t *testing.T, b *broker) {
				c := brokertest.Clean(wire.V5, strings.Repeat("x", 2000))
				brokertest.DialRaw(t, b.addr, wire.V5).Send(wire.AppendConnect(nil, &c))
			}, refusals("connect_too_large"), events.Refusal, "Reason:connect_too_large"},
		"limits.max_packet_size": {func(c *appliance.Config) { c.Limits.MaxPacketSize = 1 * appliance.KiB },
			func(t *testing.T, b *broker) {
				client(t, b, "c").Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("t"), Payload: make([]byte, 2000)}, 0))
			}, ends("protocol_error"), events.Disconnection, "packet too large"},
		"limits.max_topic_levels of a topic": {func(c *appliance.Config) { c.Limits.MaxTopicLevels = 2 },
			func(t *testing.T, b *broker) {
				client(t, b, "c").PublishOut(wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("a/b/c")})
			}, refusals("publish"), events.Refusal, "Reason:topic name invalid"},
		"limits.max_topic_levels of a filter": {func(c *appliance.Config) { c.Limits.MaxTopicLevels = 2 },
			func(t *testing.T, b *broker) {
				client(t, b, "c").SubscribeTo(wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "a/b/c"}}})
			}, refusals("subscribe"), events.Refusal, "Reason:topic filter invalid"},
		"sessions.max_subscriptions": {func(c *appliance.Config) { c.Sessions.MaxSubscriptions = 1 },
			func(t *testing.T, b *broker) {
				client(t, b, "c").SubscribeTo(wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "a"}, {Filter: "b"}}})
			}, refusals("subscribe"), events.Refusal, "Reason:quota exceeded"},
		"sessions.max_sessions": {func(c *appliance.Config) { c.Sessions.MaxSessions = 1 },
			func(t *testing.T, b *broker) {
				brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "c"))
				brokertest.DialAny(t, b.addr, brokertest.Kept(wire.V5, "d"))
			}, refusals("connect"), events.Refusal, "Reason:quota exceeded"},
		"sessions.max_queued_messages": {func(c *appliance.Config) { c.Sessions.MaxQueuedMessages = 1 },
			func(t *testing.T, b *broker) {
				away := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "away"))
				away.Subscribe(1, "t")
				away.Disconnect()
				c := client(t, b, "c")
				c.Publish("t", "1", 1, false)
				c.Publish("t", "2", 1, false)
			}, drops("queue_full"), events.Drop, "Reason:queue_full"},
		"retained.max_messages": {func(c *appliance.Config) { c.Retained.MaxMessages = 1 },
			func(t *testing.T, b *broker) {
				c := client(t, b, "c")
				for _, topic := range []string{"a", "b"} {
					c.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte(topic), Payload: []byte("x")})
				}
			}, refusals("publish"), events.Refusal, "Reason:quota exceeded"},
		"limits.publish_rate": {func(c *appliance.Config) { c.Limits.PublishRate = 5 },
			func(t *testing.T, b *broker) {
				c := client(t, b, "c")
				for range 7 {
					c.Publish("t", "x", 0, false)
				}
				c.Ping()
			}, refusals("publish_rate"), events.Refusal, "publish_rate"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, tt.set)
			seen := b.watch(tt.event)
			tt.bite(t, b)
			brokertest.WaitFor(t, "the count", func() bool { return tt.count(b.Stats()) == 1 })
			brokertest.WaitFor(t, "the event", func() bool {
				for _, e := range seen.all() {
					if strings.Contains(fmt.Sprintf("%+v", e.Data), tt.says) {
						return true
					}
				}
				return false
			})
		})
	}
}
