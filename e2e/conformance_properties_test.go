package e2e_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestProperties(t *testing.T) {
	conform(t, only5, map[string]fact{
		"forwarded as they are":            forwarded,
		"not to 3.1.1":                     notToOld,
		"a message's expiry":               messageExpiry,
		"all topic aliases":                inboundAliases,
		"topic aliases of one connection":  aliasesEnd,
		"a DISCONNECT within packet size":  smallDisconnect,
		"a server's DISCONNECT":            serverDisconnect,
		"no DISCONNECT without connection": noDisconnect,
	})
}

// forwardable is every property that travels with a message, some twice.
const forwardable = "\x26\x00\x01z\x00\x011" + "\x01\x01" + "\x26\x00\x01a\x00\x012" + "\x03\x00\x04type" +
	"\x08\x00\x03a/b" + "\x09\x00\x03\x00\xFF\x01" + "\x26\x00\x01z\x00\x011" + "\x26\x00\x00\x00\x00"

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
// [MQTT-3.3.2-20] and, in the order of its user properties, [MQTT-3.1.3-10]
func forwarded(s *stage) {
	c, p := s.kept("c").AutoAck(), s.clean("p")
	c.Subscribe(2, s.topic("#"))
	check := func(d wire.Delivery) {
		s.Helper()
		if got := wire.AppendForward(nil, &d.Publish); string(got) != forwardable {
			s.Errorf("QoS %d, retain %v: got\n%x; want\n%x", d.QoS, d.Retain, got, forwardable)
		}
	}
	for qos := byte(0); qos <= 2; qos++ {
		o := s.out(qos, "a", "text")
		o.Props, o.Retain = []byte(forwardable), qos == 1
		p.PublishOut(o)
		check(c.ExpectMessage(s.topic("a"), "text"))
	}
	late := s.clean("late") // the retained one
	late.Subscribe(0, s.topic("#"))
	check(late.ExpectMessage(s.topic("a"), "text"))
	c.ExpectNothing()
	c.ExpectNothing() // PUBREL may come after the first PINGRESP
	c.Drop()          // one that waits
	o := s.out(1, "a", "text")
	o.Props = []byte(forwardable)
	p.PublishOut(o)
	check(s.kept("c").ExpectMessage(s.topic("a"), "text"))
}

func notToOld(s *stage) {
	old := brokertest.Dial(s, s.b.addr, brokertest.Clean(wire.V311, s.id("old"))).AutoAck()
	old.Subscribe(2, s.topic("#"))
	p := s.clean("p")
	for qos := byte(0); qos <= 2; qos++ {
		o := s.out(qos, "a", "text")
		o.Props, o.HasExpiry, o.Expiry = []byte(forwardable), true, 60
		p.PublishOut(o)
		want := wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: qos, Topic: o.Topic, Payload: o.Payload}, 0)
		f := old.Expect(wire.PUBLISH)
		d, err := wire.DecodeDelivery(f, wire.V311)
		if err != nil || d.QoS != qos || string(d.Payload) != "text" || len(f.Raw) != len(want) {
			s.Errorf("got % x, %v", f.Raw, err)
		}
	}
}

// [MQTT-3.3.2-5] [MQTT-3.3.2-6]; how it goes down is shown on virtual time.
func messageExpiry(s *stage) {
	c, p := s.kept("c").AutoAck(), s.clean("p")
	c.Subscribe(2, s.topic("#"))
	for qos := byte(0); qos <= 2; qos++ {
		o := s.out(qos, "a", "x")
		o.HasExpiry, o.Expiry = true, 1000
		p.PublishOut(o)
		if d := c.ExpectMessage(s.topic("a"), "x"); !d.HasExpiry || d.Expiry > 1000 || d.Expiry < 980 {
			s.Errorf("QoS %d: expiry %v, %d s", qos, d.HasExpiry, d.Expiry)
		}
		p.PublishOut(s.out(qos, "a", "no expiry"))
		if d := c.ExpectMessage(s.topic("a"), "no expiry"); d.HasExpiry {
			s.Errorf("QoS %d: expiry %d s came from nowhere", qos, d.Expiry)
		}
	}
}

// [MQTT-3.3.2-12]
func inboundAliases(s *stage) {
	c, p := s.clean("c"), s.clean("p")
	c.Subscribe(0, s.topic("#"))
	most := p.Connack.TopicAliasMaximum
	if most == 0 {
		s.Fatal("no topic aliases")
	}
	for round := range 3 {
		for a := uint16(1); a <= most; a++ {
			o := s.out(byte(a%3), fmt.Sprint(round/2, a), "x")
			want := string(o.Topic)
			if o.Alias = a; round == 1 { // round 0 sets them, round 2 sets them anew
				o.Topic = nil
			}
			p.PublishOut(o)
			if d := c.ExpectMessage(want, "x"); d.Alias != 0 {
				s.Errorf("the publisher's alias %d reached the subscriber", d.Alias)
			}
		}
	}
}

// [MQTT-3.3.2-7]
func aliasesEnd(s *stage) {
	p := s.kept("p")
	o := s.out(1, "a", "x")
	o.Alias = 1
	p.PublishOut(o)
	p.Drop()
	p = s.kept("p")
	o.Topic = nil
	p.PublishID(o, 9)
	s.ended(p, wire.ProtocolError)
}

// [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.1.2-24]
func smallDisconnect(s *stage) {
	for size := uint32(60); size >= 20; size -= 4 {
		c := s.raw()
		con := brokertest.Clean(s.v, s.id("c"))
		con.MaximumPacketSize, con.RequestProblemInfo = size, true
		c.Send(wire.AppendConnect(nil, &con))
		c.Send([]byte{0xF1, 0})
		for _, f := range c.ReadRest() {
			if len(f.Raw) > int(size) {
				s.Errorf("%v of %d bytes; the limit is %d", f.Type, len(f.Raw), size)
			}
		}
	}
}

// [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
func serverDisconnect(s *stage) {
	c := s.clean("c")
	c.Subscribe(0, s.topic("#"))
	bad := bytes.Repeat([]byte{0xC0, 0}, 10)
	c.Send(append(bad, 0xF1, 0, 0xC0, 0))
	rest := c.ReadRest()
	last := rest[len(rest)-1]
	if d, err := wire.DecodeServerDisconnect(last, s.v); err != nil || d.Reason != wire.MalformedPacket || d.HasExpiry {
		s.Errorf("the last word is % x, %v", last.Raw, err)
	}
	for _, f := range rest[:len(rest)-1] {
		if f.Type != wire.PINGRESP {
			s.Errorf("got % x", f.Raw)
		}
	}
	// A reason string only for those who want problem information, which is
	// everybody who does not say otherwise.
	for _, wanted := range []bool{false, true} {
		c := s.dial("c", wire.Connect{CleanStart: true, RequestProblemInfo: wanted})
		c.Send([]byte{0xF1, 0})
		rest := c.ReadRest()
		if d, err := wire.DecodeServerDisconnect(rest[len(rest)-1], s.v); err != nil || (d.ReasonString != "") != wanted {
			s.Errorf("problem information wanted %v: the reason string is %q, %v", wanted, d.ReasonString, err)
		}
	}
}

// [MQTT-3.14.0-1]
func noDisconnect(s *stage) {
	for _, b := range [][]byte{{0xE0, 0}, {0xC0, 0}, {0x00}, frame(0x10, text("MQTT"), 5, 3, 0, 0, none, text("c"))} {
		c := s.raw()
		c.Send(b)
		for _, f := range c.ReadRest() {
			if f.Type == wire.DISCONNECT {
				s.Errorf("% x is answered with % x", b, f.Raw)
			}
		}
	}
}
