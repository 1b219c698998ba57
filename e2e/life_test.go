package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// TestLifeHazards holds one subtest for each way in which the embedded server
// is known to lose connections, listeners or the whole process. Accept errors
// and takeover storms have tests of their own: TestOutOfFiles here, and
// TestTakeoverStorm of package appliance.
func TestLifeHazards(t *testing.T) {
	t.Run("truncated control frames end their connection and nothing else", truncatedFrames)
	t.Run("a v5 session with expiry 0 ends with its connection", func(t *testing.T) {
		b := start(t, nil)
		con := wire.Connect{Version: wire.V5, ClientID: "c"}
		brokertest.Dial(t, b.addr, con).Subscribe(1, "t") // still connected when the next one comes
		c := brokertest.Dial(t, b.addr, con)
		if c.Connack.SessionPresent || mustClient(t, b, "c").Subscriptions != 0 {
			t.Error("the session was resumed")
		}
	})
	t.Run("CONNACK names the limits that are enforced", func(t *testing.T) {
		b := start(t, nil)
		ack := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c")).Connack
		l := appliance.DefaultConfig().Limits
		if int(ack.TopicAliasMaximum) != l.MaxTopicAlias || int64(ack.MaximumPacketSize) != int64(l.MaxPacketSize) || int(ack.ReceiveMaximum) != l.ReceiveMaximum {
			t.Errorf("%+v", ack)
		}
	})
	t.Run("a 3.x client is never sent DISCONNECT", func(t *testing.T) {
		b := start(t, nil)
		for _, v := range []wire.Version{wire.V31, wire.V311} {
			for name, end := range map[string]func(c *brokertest.Client){
				"kick":           func(*brokertest.Client) { b.Kick("c") },
				"takeover":       func(*brokertest.Client) { brokertest.Dial(t, b.addr, brokertest.Clean(v, "c")) },
				"protocol error": func(c *brokertest.Client) { c.Send([]byte{0xf0, 0}) },
			} {
				c := brokertest.Dial(t, b.addr, brokertest.Clean(v, "c"))
				end(c)
				if left, err := io.ReadAll(c.Conn()); err != nil || len(left) > 0 {
					t.Errorf("%v, %s: sent % x, %v", v, name, left, err)
				}
			}
		}
	})
	t.Run("a busy publisher that never pings stays connected", func(t *testing.T) {
		b := start(t, nil)
		con := brokertest.Clean(wire.V5, "c")
		con.KeepAlive = 1
		c := brokertest.Dial(t, b.addr, con)
		for begin := time.Now(); time.Since(begin) < 4*time.Second; {
			c.Publish("t", "x", 1, false)
		}
		c.Ping()
	})
	t.Run("a will keeps its properties", func(t *testing.T) {
		b := start(t, nil)
		sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub"))
		sub.Subscribe(1, "will")
		props := []byte{0x01, 1, 0x03, 0, 4, 't', 'e', 'x', 't', 0x08, 0, 1, 'r', 0x09, 0, 2, 7, 8, 0x26, 0, 1, 'k', 0, 1, 'v'}
		con := brokertest.Clean(wire.V5, "dying")
		con.Will = &wire.Will{Topic: "will", QoS: 1, Payload: []byte("x"), HasExpiry: true, Expiry: 1000, Props: props}
		brokertest.Dial(t, b.addr, con).Drop()
		d := sub.ExpectMessage("will", "x")
		if forwarded := wire.AppendForward(nil, &d.Publish); !bytes.Equal(forwarded, props) || !d.HasExpiry || d.Expiry > 1000 || d.Expiry < 900 {
			t.Errorf("properties % x, expiry %d", forwarded, d.Expiry)
		}
	})
}

// truncatedFrames cuts valid control frames short in every place, with a
// header that fits, before and after CONNECT.
func truncatedFrames(t *testing.T) {
	b := start(t, nil)
	healthy := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "healthy"))
	connect := brokertest.Clean(wire.V5, "c")
	connect.Will = &wire.Will{Topic: "t", Payload: []byte("x")}
	whole := map[string][]byte{
		"SUBSCRIBE": wire.AppendSubscribe(nil, wire.V5, &wire.Subscribe{PacketID: 1, SubscriptionID: 300,
			Filters: []wire.Filter{{Filter: "a/b", QoS: 1}}}),
		"UNSUBSCRIBE": wire.AppendUnsubscribe(nil, wire.V5, &wire.Unsubscribe{PacketID: 1, Filters: []string{"a/b"}}),
		"CONNECT":     wire.AppendConnect(nil, &connect),
		"PUBLISH":     wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("a"), HasExpiry: true, Expiry: 5}, 1)[:9],
	}
	for name, frame := range whole {
		for size := range len(frame) - 2 {
			cut := append([]byte{frame[0], byte(size)}, frame[2:2+size]...)
			c := brokertest.DialRaw(t, b.addr, wire.V5)
			if name != "CONNECT" {
				con := brokertest.Clean(wire.V5, "c")
				c.Send(wire.AppendConnect(nil, &con))
				c.Expect(wire.CONNACK)
			}
			c.Send(cut)
			c.ExpectClosed()
			c.Conn().Close()
		}
	}
	healthy.Subscribe(0, "t")
	healthy.Publish("t", "still here", 0, false)
	healthy.ExpectMessage("t", "still here")
	if log := b.log.String(); log != "" {
		t.Errorf("the log complains:\n%s", log)
	}
}

// A client that does not finish its CONNECT in time is cut off, however
// busily it dawdles, and is no connection.
func TestSlowConnect(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Limits.ConnectTimeout = 200 * time.Millisecond })
	connections, refusals := b.watch("connection"), b.watch("refusal")
	silent := brokertest.DialRaw(t, b.addr, wire.V5)
	slow, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	con := brokertest.Clean(wire.V5, "a client with a rather long name that takes its time")
	for _, octet := range wire.AppendConnect(nil, &con) {
		if _, err := slow.Write([]byte{octet}); err != nil {
			break
		}
		if err := slow.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := slow.Read(make([]byte, 1)); err == io.EOF {
			break // cut off, long before the last byte would be due
		}
	}
	silent.ExpectClosed()
	list := refusals.await(t, 2)
	for _, e := range list {
		if d := fmt.Sprintf("%+v", e.Data); !bytes.Contains([]byte(d), []byte("slow_connect")) {
			t.Errorf("refusal %s", d)
		}
	}
	if len(connections.all()) != 0 || b.Stats().Connections.Refused != 2 {
		t.Errorf("%d connections, %d refused", len(connections.all()), b.Stats().Connections.Refused)
	}
}
