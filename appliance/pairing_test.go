package appliance_test

import (
	"net"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// Each way in which a connection can end has its word.
func TestEndOfConnection(t *testing.T) {
	keepAlive := brokertest.Clean(wire.V311, "c")
	keepAlive.KeepAlive = 1
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		end     func(*testing.T, *appliance.Broker, *brokertest.Client)
		word    string
		failed  bool // there is an error behind it
		will    bool // the will is published
	}{
		{"DISCONNECT 3.1", brokertest.Clean(wire.V31, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) { c.Disconnect() },
			listen.EndNormal, false, false},
		{"DISCONNECT 5", brokertest.Kept(wire.V5, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) { c.Disconnect() },
			listen.EndNormal, false, false},
		{"DISCONNECT with will", brokertest.Clean(wire.V5, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			c.Send(wire.AppendDisconnect(nil, wire.V5, wire.DisconnectWithWill, ""))
			c.ExpectClosed()
		}, listen.EndNormal, false, true},
		{"client goes away", brokertest.Clean(wire.V5, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) { c.Drop() },
			listen.EndTCPClosed, true, true},
		{"client goes away in the middle of a frame", brokertest.Clean(wire.V311, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			c.Send([]byte{0x30, 100, 0, 1, 't'})
			c.Drop()
		}, listen.EndTCPClosed, true, true},
		{"connection reset", brokertest.Clean(wire.V5, "c"), func(t *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			if err := c.Conn().(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			c.Conn().Close()
		}, listen.EndTCPClosed, true, true},
		{"keep alive", keepAlive, func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) { c.ExpectClosed() },
			listen.EndKeepAlive, false, true},
		{"kicked", brokertest.Clean(wire.V5, "c"), func(_ *testing.T, b *appliance.Broker, c *brokertest.Client) { b.Kick("c"); c.ExpectClosed() },
			listen.EndKicked, false, true},
		{"taken over", brokertest.Clean(wire.V5, "c"), func(t *testing.T, b *appliance.Broker, c *brokertest.Client) {
			other := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
			c.ExpectClosed()
			other.Disconnect()
		}, listen.EndTakenOver, false, true},
		{"second CONNECT", brokertest.Clean(wire.V311, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			con := brokertest.Clean(wire.V311, "c")
			c.Send(wire.AppendConnect(nil, &con))
			c.ExpectClosed()
		}, listen.EndProtocolError, true, true},
		{"malformed frame", brokertest.Clean(wire.V5, "c"), func(t *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			c.Send([]byte{0x82, 5, 0, 1, 0, 0, 0})
			if got := c.ExpectDisconnect(); got != wire.MalformedPacket {
				t.Errorf("told %v", got)
			}
		}, listen.EndProtocolError, true, true},
		{"frame of a server", brokertest.Clean(wire.V5, "c"), func(_ *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			c.Send([]byte{0xd0, 0})
			c.ExpectClosed()
		}, listen.EndProtocolError, true, true},
		{"frame too large", brokertest.Clean(wire.V5, "c"), func(t *testing.T, _ *appliance.Broker, c *brokertest.Client) {
			c.Send([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
			if got := c.ExpectDisconnect(); got != wire.PacketTooLarge {
				t.Errorf("told %v", got)
			}
		}, listen.EndProtocolError, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, config(t))
			lives, ended, messages := follow(b), subscribe(b, "disconnection"), subscribe(b, "message")
			tc.connect.Will = &wire.Will{Topic: "will", QoS: 1, Payload: []byte("gone")}
			c := brokertest.Dial(t, b.Addr("tcp"), tc.connect)
			tc.end(t, b, c)
			e := next(t, ended)
			d := e.Data.(events.DisconnectionData)
			if d.ClientID != "c" || d.Reason != tc.word || (d.Error != "") != tc.failed || d.Duration <= 0 {
				t.Errorf("disconnection event %+v", d)
			}
			want := 1
			if tc.name == "taken over" {
				want = 2
			}
			lives.check(t, want, 0)
			if tc.will {
				if m := next(t, messages).Data.(events.MessageData); m.Topic != "will" || m.ClientID != "c" || string(m.Payload) != "gone" {
					t.Errorf("will: %+v", m)
				}
			}
			stop(t, b)
			if len(messages) > 0 {
				t.Errorf("published %+v", <-messages)
			}
			if n := b.Stats().Disconnections[tc.word]; n != 1 {
				t.Errorf("%d disconnections counted as %s", n, tc.word)
			}
			if b.ServerClients() != 0 {
				t.Error("the server still knows the client")
			}
		})
	}
}

// A client that is not let in makes no connection event, and no will.
func TestRefusedConnections(t *testing.T) {
	authMethod := brokertest.Clean(wire.V5, "c")
	authMethod.HasAuthMethod, authMethod.AuthMethod = true, "SCRAM-SHA-1"
	noID := wire.Connect{Version: wire.V311}
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		code    wire.Reason
		reason  string
	}{
		{"unknown authentication method", authMethod, wire.BadAuthMethod, wire.BadAuthMethod.String()},
		{"3.1.1, kept session without an id", noID, wire.ClientIDNotValid, "client_id_not_valid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, config(t))
			lives, refusals, messages := follow(b), subscribe(b, "refusal"), subscribe(b, "message")
			tc.connect.Will = &wire.Will{Topic: "will"}
			c := brokertest.DialAny(t, b.Addr("tcp"), tc.connect)
			if c.Connack.Reason != tc.code {
				t.Errorf("CONNACK says %#x, want %#x", byte(c.Connack.Reason), byte(tc.code))
			}
			c.ExpectClosed()
			d := next(t, refusals).Data.(events.RefusalData)
			if d.What != "connect" || d.Reason != tc.reason || d.Remote != c.Conn().LocalAddr().String() || d.ClientID != tc.connect.ClientID {
				t.Errorf("refusal %+v", d)
			}
			brokertest.WaitFor(t, "the connection to be forgotten", func() bool { return b.ServerClients() == 0 })
			stop(t, b)
			lives.check(t, 0, 0)
			if len(messages) > 0 {
				t.Errorf("published %+v", <-messages)
			}
			if s := b.Stats(); s.Connections.Refused != 1 || s.Connections.Total != 0 || s.Sessions.Total != 0 {
				t.Errorf("connections %+v, sessions %+v", s.Connections, s.Sessions)
			}
		})
	}
}

// A CONNACK that cannot be delivered leaves nothing behind: no event, no
// will, no client in the server, no session.
func TestFailedConnack(t *testing.T) {
	b := start(t, config(t))
	lives, messages := follow(b), subscribe(b, "message")
	for range 20 {
		con := brokertest.Clean(wire.V5, "c")
		con.MaximumPacketSize = 4 // no CONNACK fits
		con.Will = &wire.Will{Topic: "will", Payload: []byte("gone")}
		c := brokertest.DialRaw(t, b.Addr("tcp"), wire.V5)
		c.Send(wire.AppendConnect(nil, &con))
		if left := rest(t, c); len(left) > 0 {
			t.Errorf("sent % x", left)
		}
	}
	brokertest.WaitFor(t, "nothing to be left", func() bool { return b.ServerClients() == 0 && len(b.Clients()) == 0 })
	lives.check(t, 0, 0)
	if len(messages) > 0 {
		t.Errorf("published %+v", <-messages)
	}
}

// Clients that vanish before, while or after they are let in are paired all
// the same.
func TestVanishingClients(t *testing.T) {
	b := start(t, config(t))
	lives := follow(b)
	con := brokertest.Kept(wire.V5, "c")
	frame := wire.AppendConnect(nil, &con)
	for i := range 300 {
		nc, err := net.Dial("tcp", b.Addr("tcp"))
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.(*net.TCPConn).SetLinger(0); err != nil { // a reset, without goodbye
			t.Fatal(err)
		}
		if _, err := nc.Write(frame[:len(frame)*(i%3+1)/3]); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 && i%2 == 0 {
			_, _ = nc.Read(make([]byte, i%5))
		}
		nc.Close()
	}
	brokertest.WaitFor(t, "everybody to be gone", func() bool {
		return b.ServerClients() == 0 && b.Stats().ClientCount == 0 && b.Stats().Sessions.Connected == 0
	})
	stop(t, b)
	began, _ := lives.counts()
	lives.check(t, began, 0)
	if total := b.Stats().Connections.Total; int(total) != began {
		t.Errorf("%d connections counted, %d events", total, began)
	}
}
