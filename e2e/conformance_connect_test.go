package e2e_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestConnect(t *testing.T) {
	conform(t, every, map[string]fact{
		"CONNACK comes first and once":     connackFirst,
		"client ids of letters and digits": clientIDs,
		"string data is left as it is":     byteOrderMark,
		"second CONNECT":                   secondConnect,
		"PINGREQ is answered":              pings,
		"a takeover":                       takeover,
		"user name and password":           credentials,
		"packets of all kinds in one write": func(s *stage) {
			// Nobody has to wait for CONNACK. [MQTT3-3.1.4-4] [MQTT-3.1.4-5]
			c := s.raw()
			con := brokertest.Clean(s.v, s.id("c"))
			b := wire.AppendConnect(nil, &con)
			b = wire.AppendSubscribe(b, s.v, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: s.topic("#"), QoS: 1}}})
			b = wire.AppendPublish(b, &wire.Out{Version: s.v, QoS: 1, Topic: []byte(s.topic("a")), Payload: []byte("x")}, 1)
			c.Send(wire.AppendPing(b, wire.PINGREQ))
			for _, want := range []wire.Type{wire.CONNACK, wire.SUBACK} {
				c.Expect(want)
			}
			got := map[wire.Type]bool{c.ReadFrame().Type: true, c.ReadFrame().Type: true, c.ReadFrame().Type: true}
			if !got[wire.PUBLISH] || !got[wire.PUBACK] || !got[wire.PINGRESP] {
				s.Errorf("got %v", got)
			}
		},
	})
	conform(t, only3, map[string]fact{
		"an empty client id": func(s *stage) {
			// [MQTT3-3.1.3-6]
			a := brokertest.Dial(s, s.b.addr, brokertest.Clean(s.v, ""))
			b := brokertest.Dial(s, s.b.addr, brokertest.Clean(s.v, ""))
			a.Ping() // not taken over by b
			b.Ping()
		},
		"session present": sessionPresent3,
	})
	conform(t, only5, map[string]fact{
		"an assigned client id":        assignedID,
		"session present":              sessionPresent5,
		"problem information":          problemInformation,
		"no authentication method":     noAuthMethod,
		"CONNACK below the size limit": smallConnack,
		"what follows a refused CONNECT": func(s *stage) {
			// [MQTT-3.1.4-6] [MQTT3-3.1.4-5]
			watch := s.clean("watch")
			watch.Subscribe(0, s.topic("#"))
			for _, v := range every {
				c := brokertest.DialRaw(s, s.b.addr, v)
				b := frame(0x10, text("MQTT"), 9, 2, 0, 0, text("c")) // a level that nobody knows
				c.Send(wire.AppendPublish(b, &wire.Out{Version: v, Topic: []byte(s.topic("a"))}, 0))
				c.ReadRest()
			}
			watch.ExpectNothing()
		},
	})
}

// [MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT-3.1.4-5] [MQTT3-3.2.0-1] [MQTT3-3.1.4-4]
func connackFirst(s *stage) {
	c := s.kept("c")
	c.Subscribe(1, s.topic("#"))
	c.Drop()
	s.clean("p").Publish(s.topic("a"), "waits", 1, false)
	c = s.raw()
	con := brokertest.Kept(s.v, s.id("c"))
	c.Send(wire.AppendConnect(nil, &con))
	if ack, err := wire.DecodeConnack(c.Expect(wire.CONNACK), s.v); err != nil || ack.Reason != wire.Success || ack.SessionPresent != (s.v > wire.V31) {
		s.Fatalf("CONNACK is %+v, %v", ack, err)
	}
	c.ExpectMessage(s.topic("a"), "waits")
	c.ExpectNothing()
	c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
	for _, f := range c.ReadRest() {
		s.Errorf("got % x after CONNACK", f.Raw)
	}
}

// [MQTT-3.1.3-5] [MQTT3-3.1.3-5]; and any longer id within reason.
func clientIDs(s *stage) {
	for _, id := range []string{"0123456789abcdefghijkl", "mnopqrstuvwxyzABCDEFGH", "IJKLMNOPQRSTUVWXYZ", "", strings.Repeat("long/ü ", 50)} {
		id += fmt.Sprint(byte(s.v)) // 23 bytes at most, but for the last
		brokertest.Dial(s, s.b.addr, brokertest.Clean(s.v, id)).Disconnect()
	}
}

// U+FEFF is a character like any other. [MQTT-1.5.4-3] [MQTT3-1.5.3-3]
// [MQTT-4.7.3-4] [MQTT3-4.7.3-4]
func byteOrderMark(s *stage) {
	const bom = "\uFEFF"
	with, without := s.kept(bom+"c"), s.kept("c") // two clients
	with.Subscribe(1, s.topic(bom+"a"))
	without.Subscribe(1, s.topic("a"))
	p := s.clean("p")
	for _, name := range []string{bom + "a", "a", "A", "a/", "/a"} {
		p.Publish(s.topic(name), name, 1, false)
	}
	with.ExpectMessage(s.topic(bom+"a"), bom+"a")
	without.ExpectMessage(s.topic("a"), "a")
	with.ExpectNothing()
	without.ExpectNothing()
	// Neither are the two forms of one letter the same.
	with.Subscribe(0, s.topic("é"))
	p.Publish(s.topic("e\u0301"), "decomposed", 1, false)
	with.ExpectNothing()
}

// [MQTT-3.1.0-2] [MQTT3-3.1.0-2]
func secondConnect(s *stage) {
	c := s.clean("c")
	con := brokertest.Clean(s.v, s.id("c"))
	c.Send(wire.AppendConnect(nil, &con))
	s.ended(c, wire.ProtocolError)
}

// [MQTT-3.12.4-1] [MQTT3-3.12.4-1]
func pings(s *stage) {
	c := s.clean("c")
	const n = 50
	c.Send(bytes.Repeat(wire.AppendPing(nil, wire.PINGREQ), n))
	for range n {
		if f := c.Expect(wire.PINGRESP); len(f.Body) != 0 {
			s.Errorf("got % x", f.Raw)
		}
	}
}

// [MQTT-3.1.4-3] [MQTT-3.1.3-2] [MQTT3-3.1.4-2] [MQTT3-3.1.3-2]
func takeover(s *stage) {
	first := s.kept("c")
	first.Subscribe(1, s.topic("#"))
	second := s.kept("c")
	s.ended(first, wire.SessionTakenOver)
	if !second.Connack.SessionPresent && s.v > wire.V31 { // 3.1 does not tell
		s.Error("the session is not the same")
	}
	s.clean("p").Publish(s.topic("a"), "to the second", 1, false)
	second.ExpectMessage(s.topic("a"), "to the second")
}

// The fields of CONNECT in their order, all of them. [MQTT-3.1.3-1]
// [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT3-3.1.3-1] [MQTT3-3.1.2-19] [MQTT3-3.1.2-21]
func credentials(s *stage) {
	c := s.dial("c", wire.Connect{
		CleanStart: true, HasUsername: true, Username: "ann", HasPassword: true, Password: []byte{0, 0xFF},
		Will: &wire.Will{Topic: s.topic("will"), Payload: []byte("gone")},
	})
	if got := mustClient(s, s.b, s.id("c")).Username; got != "ann" {
		s.Errorf("the user is %q", got)
	}
	watch := s.clean("watch")
	watch.Subscribe(0, s.topic("#"))
	c.Drop()
	watch.ExpectMessage(s.topic("will"), "gone")
}

// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
func assignedID(s *stage) {
	seen := map[string]bool{}
	for range 20 {
		for _, clean := range []bool{true, false} {
			c := brokertest.Dial(s, s.b.addr, wire.Connect{Version: s.v, CleanStart: clean, SessionExpiry: 60})
			id := c.Connack.AssignedClientID
			if id == "" || seen[id] || c.Connack.SessionPresent {
				s.Fatalf("assigned %q, session present %v", id, c.Connack.SessionPresent)
			}
			seen[id] = true
		}
	}
	for id := range seen { // it is a client id like any other
		c := brokertest.Dial(s, s.b.addr, wire.Connect{Version: s.v, ClientID: id})
		if !c.Connack.SessionPresent || c.Connack.AssignedClientID != "" {
			s.Fatalf("session present %v, assigned %q", c.Connack.SessionPresent, c.Connack.AssignedClientID)
		}
		c.Disconnect()
		break
	}
}

// [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6]
// [MQTT-3.1.4-4] [MQTT-3.1.2-23]
func sessionPresent5(s *stage) {
	for i, step := range []struct {
		clean  bool
		expiry uint32
		want   bool
	}{
		{false, 60, false}, {false, 60, true}, {true, 60, false}, {false, 0, true},
		{false, 60, false}, {true, 0, false}, {false, 0, false},
	} {
		c := s.dial("c", wire.Connect{CleanStart: step.clean, SessionExpiry: step.expiry})
		if c.Connack.SessionPresent != step.want {
			s.Errorf("step %d: session present is %v", i, c.Connack.SessionPresent)
		}
		c.Drop()
	}
}

// [MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT3-3.1.2-4]
// [MQTT3-3.1.2-6] [MQTT3-3.1.4-3]
func sessionPresent3(s *stage) {
	for i, step := range []struct{ clean, want bool }{
		{false, false}, {false, true}, {true, false}, {false, false}, {false, true}, {true, false}, {true, false},
	} {
		c := s.dial("c", wire.Connect{CleanStart: step.clean})
		if c.Connack.SessionPresent != step.want {
			s.Errorf("step %d: session present is %v", i, c.Connack.SessionPresent)
		}
		c.Drop()
	}
}

// The acknowledgements have no properties, whether the client wants problem
// information or not, and so fit into any Maximum Packet Size.
// [MQTT-3.1.2-29] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
// [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1]
// [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]
func problemInformation(s *stage) {
	for _, wanted := range []bool{false, true} {
		c := s.dial("c", wire.Connect{CleanStart: true, RequestProblemInfo: wanted})
		expect := func(want ...byte) {
			s.Helper()
			if f := c.ReadFrame(); !bytes.Equal(f.Raw, want) {
				s.Errorf("got % x; want % x", f.Raw, want)
			}
		}
		// [MQTT-2.2.2-1]: SUBACK and UNSUBACK say that there are none.
		c.Send(wire.AppendSubscribe(nil, s.v, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: s.topic("in"), QoS: 2}, {Filter: "a#"}}}))
		expect(0x90, 5, 0, 1, 0, 2, 0x8F)
		for qos, ack := range map[byte]byte{1: 0x40, 2: 0x50} {
			c.PublishID(wire.Out{QoS: qos, Topic: []byte("$SYS/not/allowed")}, 5)
			expect(ack, 3, 0, 5, 0x87)
		}
		c.Ack(wire.PUBREL, 77)
		expect(0x70, 3, 0, 77, 0x92)
		c.Ack(wire.PUBREC, 78)
		expect(0x62, 3, 0, 78, 0x92)
		c.Send(wire.AppendUnsubscribe(nil, s.v, &wire.Unsubscribe{PacketID: 2, Filters: []string{"not/there"}}))
		expect(0xB0, 4, 0, 2, 0, 0x11)
		c.Disconnect()
	}
}

// Section 3.2.2.3.15 of MQTT 5, and [MQTT-3.1.2-28].
func TestResponseInformation(t *testing.T) {
	b := start(t, nil, appliance.WithResponseInformation(func(client string) string {
		if client == "nothing" {
			return ""
		}
		return "replies/" + client
	}))
	get := func(con wire.Connect) (string, *brokertest.Client) {
		t.Helper()
		c := brokertest.Dial(t, b.addr, con)
		return c.Connack.ResponseInfo, c
	}
	asks := func(id string) wire.Connect {
		con := brokertest.Clean(wire.V5, id)
		con.RequestResponseInfo = true
		return con
	}
	if info, _ := get(brokertest.Clean(wire.V5, "c")); info != "" {
		t.Errorf("unasked got %q", info)
	}
	get(brokertest.Clean(wire.V311, "c"))
	for id, want := range map[string]string{
		"c": "replies/c", "a b/ü": "replies/a b/ü", "nothing": "",
		"a/#": "", "+": "", // no part of the topic tree
	} {
		if info, _ := get(asks(id)); info != want {
			t.Errorf("%.20q got %.40q", id, info)
		}
	}
	con := asks("")
	con.ClientID = ""
	if info, c := get(con); info != "replies/"+c.Connack.AssignedClientID {
		t.Errorf("%q got %q", c.Connack.AssignedClientID, info)
	}
	// It is left out of a CONNACK that would be too large with it.
	con = asks(strings.Repeat("c", 1000))
	con.MaximumPacketSize = 200
	if info, _ := get(con); info != "" {
		t.Errorf("got %q", info)
	}
	// And it works: a request, and its answer where the client is told to ask for it.
	info, c := get(asks("c"))
	c.Subscribe(1, info+"/#")
	_, server := get(brokertest.Clean(wire.V5, "server"))
	server.Subscribe(1, "request")
	asked := []byte("\x08" + text(info+"/1") + "\x09" + text("7"))
	c.PublishOut(wire.Out{QoS: 1, Topic: []byte("request"), Props: asked, Payload: []byte("?")})
	if d := server.ExpectMessage("request", "?"); !bytes.Equal(d.Props, asked) {
		t.Errorf("the request has % x", d.Props)
	}
	answer := []byte("\x09" + text("7"))
	server.PublishOut(wire.Out{QoS: 1, Topic: []byte(info + "/1"), Props: answer, Payload: []byte("!")})
	if d := c.ExpectMessage("replies/c/1", "!"); !bytes.Equal(d.Props, answer) {
		t.Errorf("the answer has % x", d.Props)
	}

	silent := start(t, nil)
	if c := brokertest.Dial(t, silent.addr, asks("c")); c.Connack.ResponseInfo != "" {
		t.Errorf("a broker that was told nothing tells %q", c.Connack.ResponseInfo)
	}
}

// [MQTT-4.12.0-6]
func noAuthMethod(s *stage) {
	c := s.raw()
	con := brokertest.Clean(s.v, s.id("c"))
	c.Send(wire.AppendConnect(nil, &con))
	ack, err := wire.DecodeConnack(c.Expect(wire.CONNACK), s.v)
	if err != nil || ack.AuthMethod != "" || ack.AuthData != nil {
		s.Errorf("CONNACK is %+v, %v", ack, err)
	}
}

// Whatever the client's limit, CONNACK is within it or does not come.
// [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.2.2-20]
func smallConnack(s *stage) {
	full := 0
	for size := uint32(40); size > 0; size-- {
		con := brokertest.Clean(s.v, s.id("c"))
		con.MaximumPacketSize = size
		c := s.raw()
		c.Send(wire.AppendConnect(nil, &con))
		c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
		for _, f := range c.ReadRest() {
			full++
			if len(f.Raw) > int(size) {
				s.Fatalf("%v of %d bytes; the limit is %d", f.Type, len(f.Raw), size)
			}
		}
	}
	if full == 0 {
		s.Error("no CONNACK at all")
	}
}

// Without topic aliases on offer, none is accepted. [MQTT-3.2.2-18]
func TestNoTopicAliases(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Limits.MaxTopicAlias = 0 })
	c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
	if c.Connack.TopicAliasMaximum != 0 {
		t.Errorf("Topic Alias Maximum is %d", c.Connack.TopicAliasMaximum)
	}
	c.PublishID(wire.Out{Topic: []byte("t"), Alias: 1}, 0)
	if got := c.ExpectDisconnect(); got != wire.TopicAliasInvalid {
		t.Errorf("disconnected with %v", got)
	}
}

// A packet beyond the limit that CONNACK announces ends the connection, one at
// the limit does not. [MQTT-3.2.2-15]
func TestServerPacketSize(t *testing.T) {
	const limit = 1024
	b := start(t, func(c *appliance.Config) { c.Limits.MaxPacketSize = limit })
	for _, v := range every {
		t.Run(v.String(), func(t *testing.T) {
			s := &stage{T: t, b: b, v: v, root: v.String()}
			c := s.clean("c")
			if v == wire.V5 && c.Connack.MaximumPacketSize != limit {
				t.Errorf("Maximum Packet Size is %d", c.Connack.MaximumPacketSize)
			}
			o := wire.Out{Version: v, QoS: 1, Topic: []byte("t")}
			o.Payload = make([]byte, limit-1-wire.PublishSize(&o)) // the length takes one byte more
			if wire.PublishSize(&o) != limit {
				t.Fatalf("the message has %d bytes", wire.PublishSize(&o))
			}
			c.PublishOut(o)
			o.Payload = append(o.Payload, 0)
			c.PublishID(o, 9)
			s.ended(c, wire.PacketTooLarge)
		})
	}
}
