package e2e_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestAuthentication(t *testing.T) {
	b := start(t, func(c *appliance.Config) {
		for i := range c.Listeners {
			c.Listeners[i].AllowAnonymous = new(bool) // the method alone lets clients in
		}
	}, appliance.WithAuthMethod(newObedient()))
	conformOn(t, b, only5, map[string]fact{
		"an exchange of any length":        authExchange,
		"only AUTH and DISCONNECT":         authOnly,
		"AUTH that is out of order":        authOutOfOrder,
		"refusal at any point":             authRefused,
		"AUTH below the size limit":        authSize,
		"frames cut anywhere":              authCut,
		"re-authentication":                reauthentication,
		"re-authentication that fails":     reauthenticationFails,
		"re-authentication out of order":   reauthenticationOutOfOrder,
		"no method where there is no user": authAnonymous,
	})
}

func authExchange(s *stage) {
	for _, rounds := range []int{0, 1, 2, 50} {
		data := "ask:0"
		if rounds == 0 {
			data = "done:ann"
		}
		c := begin(s, s.b.addr, obeys(s.id("c"), data))
		for i := range rounds {
			asked(s, c, strings.Repeat("0", i+1))
			if data = "ask:" + strings.Repeat("0", i+2); i == rounds-1 {
				data = "done:ann"
			}
			c.Send(authFrame(wire.ContinueAuthentication, data))
		}
		letIn(s, c)
		if got := mustClient(s, s.b, s.id("c")).Username; got != "ann" {
			s.Errorf("the user is %q", got)
		}
		c.Subscribe(1, s.topic("#"))
		c.Publish(s.topic("a"), "x", 1, false)
		c.ExpectMessage(s.topic("a"), "x")
		c.Disconnect()
	}
	// Data is not needed, neither in CONNECT nor in AUTH.
	con := obeys(s.id("c"), "")
	con.HasUsername, con.Username, con.HasPassword, con.Password = true, "bob", true, []byte("of no use")
	c := begin(s, s.b.addr, con)
	asked(s, c, "")
	c.Send(authFrame(wire.ContinueAuthentication, ""))
	asked(s, c, "")
	c.Send(authFrame(wire.ContinueAuthentication, "done:ann"))
	letIn(s, c)
	if got := mustClient(s, s.b, s.id("c")).Username; got != "ann" {
		s.Errorf("the user is %q, by the client's word alone", got)
	}
}

// [MQTT-3.1.2-30]
func authOnly(s *stage) {
	watch := begin(s, s.b.addr, obeys(s.id("watch"), "done:watch"))
	letIn(s, watch)
	watch.Subscribe(0, s.topic("#"))
	out := s.out(1, "a", "x")
	out.Version = s.v
	con := obeys(s.id("c"), "done:ann")
	con.Will = &wire.Will{Topic: s.topic("will")}
	for name, b := range map[string][]byte{
		"CONNECT":     wire.AppendConnect(nil, &con),
		"PUBLISH":     wire.AppendPublish(nil, &out, 1),
		"PUBACK":      wire.AppendAck(nil, wire.PUBACK, s.v, 1, wire.Success),
		"PUBREL":      wire.AppendAck(nil, wire.PUBREL, s.v, 1, wire.Success),
		"SUBSCRIBE":   wire.AppendSubscribe(nil, s.v, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "#"}}}),
		"UNSUBSCRIBE": wire.AppendUnsubscribe(nil, s.v, &wire.Unsubscribe{PacketID: 1, Filters: []string{"#"}}),
		"PINGREQ":     wire.AppendPing(nil, wire.PINGREQ),
		"CONNACK":     {0x20, 3, 0, 0, 0},
		"one byte":    {0x30},
	} {
		for _, together := range []bool{false, true} { // with CONNECT in one write, or later
			con.AuthData = []byte("ask:x")
			first := wire.AppendConnect(nil, &con)
			c := s.raw()
			if together {
				c.Send(append(first, b...))
			} else {
				c.Send(first)
			}
			asked(s, c, "x")
			if !together {
				c.Send(b)
			}
			rest := c.ReadRest()
			if len(rest) != 1 {
				s.Fatalf("%s: got %d packets", name, len(rest))
			}
			if ack, err := wire.DecodeConnack(rest[0], s.v); err != nil || ack.Reason != wire.ProtocolError {
				s.Errorf("%s: got %+v, %v", name, ack, err)
			}
		}
	}
	for _, r := range []wire.Reason{wire.Success, wire.DisconnectWithWill, wire.UnspecifiedError} {
		con.AuthData = []byte("ask:x")
		c := begin(s, s.b.addr, con)
		asked(s, c, "x")
		c.Send(wire.AppendDisconnect(nil, s.v, r, ""))
		if rest := c.ReadRest(); len(rest) > 0 {
			s.Errorf("got % x after DISCONNECT", rest[0].Raw)
		}
	}
	watch.ExpectNothing() // neither message nor will
}

// [MQTT-4.12.0-3] [MQTT-4.12.0-5]
func authOutOfOrder(s *stage) {
	other := wire.AppendAuth(nil, &wire.Auth{Reason: wire.ContinueAuthentication, Method: "OTHER", Data: []byte("done:ann")})
	for _, tc := range []bad{
		{"success", authFrame(wire.Success, "done:ann"), protocol},
		{"re-authenticate", authFrame(wire.ReAuthenticate, "done:ann"), protocol},
		{"another method", other, protocol},
		{"no method", frame(0xF0, 0x18, none), protocol},
		{"nothing", frame(0xF0), protocol},
		{"a reason that AUTH does not have", frame(0xF0, 0x87, props("\x15"+text(obedientName))), protocol},
		{"flags", append([]byte{0xF2}, authFrame(wire.ContinueAuthentication, "done:ann")[1:]...), malformed},
		{"method twice", frame(0xF0, 0x18, props("\x15"+text(obedientName), "\x15"+text(obedientName))), protocol},
		{"property of CONNECT", frame(0xF0, 0x18, props("\x11\x00\x00\x00\x05")), malformed},
		{"cut inside", frame(0xF0, 0x18, "\x20"), malformed},
		{"DISCONNECT reason", frame(0xE0, 0x01), protocol},
		{"announced too large", []byte{0xF0, 0xFF, 0xFF, 0xFF, 0x7F}, wire.PacketTooLarge},
	} {
		c := begin(s, s.b.addr, obeys(s.id("c"), "ask:x"))
		asked(s, c, "x")
		c.Send(tc.b)
		rest := c.ReadRest()
		if len(rest) != 1 {
			s.Fatalf("%s: got %d packets", tc.name, len(rest))
		}
		if ack, err := wire.DecodeConnack(rest[0], s.v); err != nil || ack.Reason != tc.want {
			s.Errorf("%s: got %v, %v; want %v", tc.name, ack.Reason, err, tc.want)
		}
	}
}

// [MQTT-4.12.0-1] [MQTT-4.12.0-4]
func authRefused(s *stage) {
	for data, want := range map[string]wire.Reason{
		"deny": wire.NotAuthorized, "busy": wire.ServerBusy,
		"done:\xFF": wire.NotAuthorized, "done:\x00": wire.NotAuthorized, // names that MQTT cannot carry
	} {
		for rounds := range 3 {
			c := s.raw()
			con := obeys(s.id("c"), data)
			for i := range rounds {
				if i == 0 {
					con.AuthData = []byte("ask:x")
					c.Send(wire.AppendConnect(nil, &con))
				} else {
					c.Send(authFrame(wire.ContinueAuthentication, "ask:x"))
				}
				asked(s, c, "x")
			}
			if rounds == 0 {
				c.Send(wire.AppendConnect(nil, &con))
			} else {
				c.Send(authFrame(wire.ContinueAuthentication, data))
			}
			turnedAway(s, c, want)
		}
	}
	con := obeys(s.id("c"), "done:ann")
	con.AuthMethod = strings.ToLower(obedientName)
	turnedAway(s, begin(s, s.b.addr, con), wire.BadAuthMethod)
}

// Whatever the client's limit: nothing is longer. [MQTT-3.1.2-24] [MQTT-3.15.2-2]
func authSize(s *stage) {
	whole := len(authFrame(wire.ContinueAuthentication, strings.Repeat("x", 100)))
	for size := uint32(1); size < uint32(whole)+3; size++ {
		con := obeys(s.id("c"), "ask:"+strings.Repeat("x", 100))
		con.MaximumPacketSize = size
		c := begin(s, s.b.addr, con)
		if int(size) >= whole {
			asked(s, c, strings.Repeat("x", 100))
			c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
			continue
		}
		for _, f := range c.ReadRest() {
			if len(f.Raw) > int(size) || f.Type != wire.CONNACK {
				s.Fatalf("%v of %d bytes; the limit is %d", f.Type, len(f.Raw), size)
			}
		}
	}
}

// However the bytes come, they mean the same.
func authCut(s *stage) {
	con := obeys(s.id("c"), "ask:x")
	first, second := wire.AppendConnect(nil, &con), authFrame(wire.ContinueAuthentication, "done:ann")
	for i := range len(second) + 1 {
		c := s.raw()
		c.Send(append(bytes.Clone(first), second[:i]...)) // nobody has to wait for an answer that he knows
		asked(s, c, "x")
		for _, b := range second[i:] {
			c.Send([]byte{b})
		}
		letIn(s, c)
		c.Disconnect()
	}
}

// [MQTT-4.12.1-1] [MQTT-4.12.0-5]
func reauthentication(s *stage) {
	c := begin(s, s.b.addr, obeys(s.id("c"), "done:ann"))
	letIn(s, c)
	c.Subscribe(1, s.topic("#"))
	for range 3 {
		c.Send(authFrame(wire.ReAuthenticate, "ask:x"))
		asked(s, c, "x")
		c.Publish(s.topic("a"), "in between", 1, false) // life goes on meanwhile
		c.ExpectMessage(s.topic("a"), "in between")
		c.Send(authFrame(wire.ContinueAuthentication, "ask:y"))
		asked(s, c, "y")
		c.Send(authFrame(wire.ContinueAuthentication, "done:ann"))
		expectAuth(s, c, wire.Success, "welcome")
		c.Publish(s.topic("a"), "afterwards", 1, false)
		c.ExpectMessage(s.topic("a"), "afterwards")
	}
	c.Send(authFrame(wire.ReAuthenticate, "done:ann")) // in one step
	expectAuth(s, c, wire.Success, "welcome")
	c.Ping()
	// One that is begun and left alone changes nothing.
	c.Send(authFrame(wire.ReAuthenticate, ""))
	asked(s, c, "")
	c.Disconnect()
}

// [MQTT-4.12.1-2]
func reauthenticationFails(s *stage) {
	watch := begin(s, s.b.addr, obeys(s.id("watch"), "done:watch"))
	letIn(s, watch)
	watch.Subscribe(0, s.topic("#"))
	for data, want := range map[string]wire.Reason{
		"deny": wire.NotAuthorized, "busy": wire.ServerBusy,
		"done:bob": wire.NotAuthorized, // the session is ann's
	} {
		for _, late := range []bool{false, true} {
			con := obeys(s.id("c"), "done:ann")
			con.Will = &wire.Will{Topic: s.topic("will"), Payload: []byte("gone")}
			c := begin(s, s.b.addr, con)
			letIn(s, c)
			if late {
				c.Send(authFrame(wire.ReAuthenticate, "ask:x"))
				asked(s, c, "x")
				c.Send(authFrame(wire.ContinueAuthentication, data))
			} else {
				c.Send(authFrame(wire.ReAuthenticate, data))
			}
			c.Send(wire.AppendPing(nil, wire.PINGREQ)) // nothing that follows counts
			s.ended(c, want)
			watch.ExpectMessage(s.topic("will"), "gone")
		}
	}
}

// [MQTT-4.12.1-1] [MQTT-4.12.0-3]
func reauthenticationOutOfOrder(s *stage) {
	other := wire.AppendAuth(nil, &wire.Auth{Reason: wire.ReAuthenticate, Method: "OTHER", Data: []byte("done:ann")})
	for name, list := range map[string][][]byte{
		"another method":     {other},
		"success":            {authFrame(wire.Success, "done:ann")},
		"nothing to go on":   {authFrame(wire.ContinueAuthentication, "done:ann")},
		"begun twice":        {authFrame(wire.ReAuthenticate, "ask:x"), authFrame(wire.ReAuthenticate, "done:ann")},
		"success in between": {authFrame(wire.ReAuthenticate, "ask:x"), authFrame(wire.Success, "done:ann")},
		"going on after the end": {
			authFrame(wire.ReAuthenticate, "done:ann"), authFrame(wire.ContinueAuthentication, "done:ann")},
	} {
		c := begin(s, s.b.addr, obeys(s.id("c"), "done:ann"))
		letIn(s, c)
		for _, b := range list {
			c.Send(b)
		}
		if s.ended(c, protocol); s.Failed() {
			s.Fatal(name)
		}
	}
}

// A method on offer changes nothing for clients that do not name it.
func authAnonymous(s *stage) {
	for _, v := range every {
		if c := brokertest.DialAny(s, s.b.addr, brokertest.Clean(v, s.id("c"))); c.Connack.Reason != wire.NotAuthorized {
			s.Errorf("%v: %v", v, c.Connack.Reason)
		}
	}
}

// What becomes of clients that are turned away is told once, and nothing is
// left of them.
func TestAuthenticationReports(t *testing.T) {
	m := newObedient()
	b := start(t, nil, appliance.WithAuthMethod(m))
	all := b.watch("*")
	count := func(want events.Type) (n int) {
		for _, e := range all.all() {
			if e.Type == want {
				n++
			}
		}
		return n
	}
	expect := func(data string, reason wire.Reason, then func(c *brokertest.Client)) {
		t.Helper()
		before := count(events.Refusal)
		con := obeys("c", data)
		con.Will = &wire.Will{Topic: "will"}
		c := begin(t, b.addr, con)
		then(c)
		c.ExpectClosed()
		want := 1
		if reason == wire.Success {
			want = 0
		}
		brokertest.WaitFor(t, "the refusal", func() bool { return count(events.Refusal) >= before+want })
		if got := count(events.Refusal) - before; got != want {
			t.Errorf("%q: %d refusals, want %d", data, got, want)
		}
		if list := all.all(); want > 0 && refusalReason(list[len(list)-1]) != reason.String() {
			t.Errorf("%q: %+v; want %v", data, list[len(list)-1].Data, reason)
		}
		if p := receive(t, "an exchange", m.begun); p.ClientID != "c" || p.Listener != "tcp" || p.Remote != c.Conn().LocalAddr().String() {
			t.Errorf("exchange with %+v", p)
		}
	}
	nothing := func(*brokertest.Client) {}
	expect("deny", wire.NotAuthorized, nothing)
	expect("busy", wire.ServerBusy, nothing)
	expect("ask:x", wire.ProtocolError, func(c *brokertest.Client) { c.Send(frame(0xC0)) })
	expect("ask:x", wire.Success, func(c *brokertest.Client) { c.Send(wire.AppendDisconnect(nil, wire.V5, wire.Success, "")) })
	expect("ask:x", wire.Success, func(c *brokertest.Client) { c.Drop() })
	if n := count(events.Connection) + count(events.Disconnection) + count(events.Message); n != 0 {
		t.Errorf("%d events of clients that were not let in", n)
	}
	if s := b.Stats(); s.Sessions.Total != 0 || s.Connections.Total != 0 || s.Connections.Refused != 3 {
		t.Errorf("%+v %+v", s.Sessions, s.Connections)
	}

	c := begin(t, b.addr, obeys("c", "done:ann"))
	letIn(t, c)
	c.Send(authFrame(wire.ReAuthenticate, "deny"))
	c.ExpectClosed()
	brokertest.WaitFor(t, "the end", func() bool { return count(events.Disconnection) == 1 })
	var began, ended string
	for _, e := range all.all() {
		switch d := e.Data.(type) {
		case events.ConnectionData:
			began = d.Username
		case events.DisconnectionData:
			ended = d.Username + " " + d.Reason
		}
	}
	if began != "ann" || ended != "ann not_authorized" {
		t.Errorf("began as %q, ended as %q", began, ended)
	}
}
