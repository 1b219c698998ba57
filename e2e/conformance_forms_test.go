package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What the specifications allow without a numbered statement, and what follows
// from several of them.

func TestForms(t *testing.T) {
	conform(t, only5, map[string]fact{
		"every property of CONNECT":        connectProperties,
		"acknowledgements in all lengths":  ackForms,
		"DISCONNECT in all lengths":        disconnectForms,
		"user properties on requests":      requestProperties,
		"packet sizes as they come":        payloadSizes,
		"CONNACK tells what is not cut":    connackDefaults,
		"a takeover ends a session":        takeoverEnds,
		"a takeover spares a delayed will": takeoverWill,
	})
	conform(t, every, map[string]fact{
		"many filters in one packet": manyFilters,
		"byte by byte":               byteByByte,
	})
}

const userProps = "\x26\x00\x01k\x00\x01v" + "\x26\x00\x01k\x00\x01w"

// [MQTT-3.1.4-5] [MQTT-3.1.3-1]
func connectProperties(s *stage) {
	id := s.id("c")
	body := text("MQTT") + "\x05\xF6\x00\x3C" + // all flags, will QoS 2
		props("\x11\x00\x00\x00\x3C", "\x21\x00\x0A", "\x27\x00\x01\x00\x00", "\x22\x00\x05", "\x19\x01", "\x17\x01", userProps) +
		text(id) +
		props("\x18\x00\x00\x00\x00", "\x01\x01", "\x02\x00\x00\x00\x3C", "\x03"+text("t"), "\x08"+text("r"), "\x09"+text("c"), userProps) +
		text(s.topic("will")) + text("gone") + text("ann") + text("secret")
	n := len(body)
	c := s.raw()
	c.Send(append([]byte{0x10, byte(n&0x7F) | 0x80, byte(n >> 7)}, body...))
	ack, err := wire.DecodeConnack(c.Expect(wire.CONNACK), s.v)
	if err != nil || ack.Reason != wire.Success || ack.HasSessionExpiry {
		s.Fatalf("CONNACK is %+v, %v", ack, err)
	}
	watch := s.clean("watch").AutoAck()
	watch.Subscribe(2, s.topic("will"))
	c.Drop()
	d := watch.ExpectMessage(s.topic("will"), "gone")
	if d.QoS != 2 || !d.HasExpiry {
		s.Errorf("the will has QoS %d, expiry %v", d.QoS, d.HasExpiry)
	}
}

// The reason may be left out, and the property length too. [MQTT-4.3.2-3]
// [MQTT-4.3.3-4]
func ackForms(s *stage) {
	c, p := s.dial("c", wire.Connect{CleanStart: true, ReceiveMaximum: 1}), s.clean("p")
	c.Subscribe(2, s.topic("#"))
	reason := "\x1F" + text("why")
	for i, rest := range []string{"", "\x00", "\x00\x00", "\x00" + props(reason), "\x00" + props(reason, userProps)} {
		ack := func(first byte, id uint16) { c.Send(frame(first, byte(id>>8), byte(id), rest)) }
		for qos := byte(1); qos <= 2; qos++ {
			payload := fmt.Sprint(i, qos)
			p.Publish(s.topic("a"), payload, qos, false)
			d := c.ExpectMessage(s.topic("a"), payload)
			if qos == 1 {
				ack(0x40, d.PacketID)
				continue
			}
			ack(0x50, d.PacketID)
			c.ExpectAck(wire.PUBREL, d.PacketID)
			ack(0x70, d.PacketID)
		}
		p.PublishID(s.out(2, "none", ""), 9)
		p.ExpectAck(wire.PUBREC, 9)
		p.Send(frame(0x62, 0, 9, rest))
		if r := p.ExpectAck(wire.PUBCOMP, 9); r != wire.Success {
			s.Errorf("PUBCOMP has %v", r)
		}
		if d := c.ExpectPublish(); string(d.Topic) != s.topic("none") {
			s.Fatalf("got %q", d.Topic)
		} else {
			c.Ack(wire.PUBREC, d.PacketID)
			c.ExpectAck(wire.PUBREL, d.PacketID)
			c.Ack(wire.PUBCOMP, d.PacketID)
		}
	}
}

// [MQTT-3.14.4-3]
func disconnectForms(s *stage) {
	watch := s.clean("watch")
	watch.Subscribe(0, s.topic("#"))
	for _, rest := range []string{"", "\x00", "\x00\x00", "\x00" + props("\x1F"+text("bye"), userProps), "\x00" + props("\x11\x00\x00\x00\x00")} {
		c := s.dial("c", wire.Connect{CleanStart: true, SessionExpiry: 60, Will: s.will(0, false)})
		c.Send(frame(0xE0, rest))
		if got := c.ReadRest(); len(got) > 0 {
			s.Errorf("DISCONNECT with %x is answered with % x", rest, got[0].Raw)
		}
	}
	watch.ExpectNothing()
}

// [MQTT-3.8.4-1] [MQTT-3.10.4-4]
func requestProperties(s *stage) {
	c := s.clean("c")
	c.Send(frame(0x82, id1, props("\x0B\x80\x01", userProps), text("a"), 0x2D)) // no local, as published, handling 2
	if id, codes, err := wire.DecodeSuback(c.Expect(wire.SUBACK), s.v); err != nil || id != 1 || codes[0] != wire.GrantedQoS1 {
		s.Errorf("SUBACK %d has %v, %v", id, codes, err)
	}
	c.Send(frame(0xA2, id1, props(userProps), text("a")))
	if id, codes, err := wire.DecodeUnsuback(c.Expect(wire.UNSUBACK), s.v); err != nil || id != 1 || codes[0] != wire.Success {
		s.Errorf("UNSUBACK %d has %v, %v", id, codes, err)
	}
}

// At the lengths where the length itself grows by a byte. [MQTT-1.5.5-1]
func payloadSizes(s *stage) {
	c := s.clean("c").AutoAck()
	c.Subscribe(1, s.topic("#"))
	o := s.out(1, "a", "")
	o.Version = s.v
	head := wire.PublishSize(&o) - 2
	for _, remaining := range []int{126, 127, 128, 129, 16382, 16383, 16384, 16385} {
		o.Payload = make([]byte, remaining-head)
		o.Payload[len(o.Payload)-1] = 7
		c.PublishOut(o)
		d := c.ExpectPublish()
		if len(d.Payload) != len(o.Payload) || d.Payload[len(d.Payload)-1] != 7 {
			s.Errorf("sent %d bytes, got %d", len(o.Payload), len(d.Payload))
		}
	}
}

// [MQTT-3.2.2-8]
func connackDefaults(s *stage) {
	limits := appliance.DefaultConfig().Limits
	ack := s.clean("c").Connack
	if int(ack.ReceiveMaximum) != limits.ReceiveMaximum || int(ack.MaximumPacketSize) != int(limits.MaxPacketSize) ||
		int(ack.TopicAliasMaximum) != limits.MaxTopicAlias {
		s.Errorf("the limits are not those in force: %+v", ack)
	}
	if ack.HasMaximumQoS || ack.RetainUnavailable || ack.WildcardUnavailable || ack.SubIDsUnavailable || ack.SharedUnavailable ||
		ack.HasServerKeepAlive || ack.HasSessionExpiry || ack.AssignedClientID != "" || ack.ServerReference != "" {
		s.Errorf("something is withheld: %+v", ack)
	}
	ack = s.kept("c").Connack // for ever is too long
	if want := uint32(appliance.DefaultConfig().Sessions.MaxExpiry / time.Second); !ack.HasSessionExpiry || ack.SessionExpiry != want {
		s.Errorf("session expiry is %v, %d s; want %d", ack.HasSessionExpiry, ack.SessionExpiry, want)
	}
}

// A session without expiry ends with its connection, also when that is taken
// over. [MQTT-4.1.0-2] [MQTT-3.2.2-3]
func takeoverEnds(s *stage) {
	first := s.dial("c", wire.Connect{})
	first.Subscribe(1, s.topic("#"))
	second := s.dial("c", wire.Connect{})
	s.ended(first, wire.SessionTakenOver)
	if second.Connack.SessionPresent {
		s.Error("the session went on")
	}
	s.clean("p").Publish(s.topic("a"), "x", 1, false)
	second.ExpectNothing()
}

// [MQTT-3.1.3-9]
func takeoverWill(s *stage) {
	first, watch := s.delayed(7200)
	second := s.dial("c", wire.Connect{SessionExpiry: 7200})
	s.ended(first, wire.SessionTakenOver)
	watch.ExpectNothing()
	second.Drop()
	s.dial("c", wire.Connect{CleanStart: true})
	watch.ExpectNothing()
}

// [MQTT-3.8.4-5] [MQTT-3.10.4-6] [MQTT3-3.8.4-4] [MQTT3-3.10.4-6]
func manyFilters(s *stage) {
	const n = 500
	c := s.clean("c")
	list := make([]wire.Filter, n)
	names := make([]string, n)
	for i := range list {
		names[i] = s.topic(fmt.Sprint(i))
		list[i] = wire.Filter{Filter: names[i], QoS: byte(i % 3)}
	}
	for i, code := range c.SubscribeTo(wire.Subscribe{Filters: list}) {
		if code != wire.Reason(i%3) {
			s.Fatalf("filter %d: %v", i, code)
		}
	}
	p := s.clean("p")
	p.Publish(names[n-1], "x", 0, false)
	c.ExpectMessage(names[n-1], "x")
	c.Unsubscribe(names...)
	p.Publish(names[0], "x", 1, false)
	c.ExpectNothing()
}

// A packet may arrive in any pieces. [MQTT3-7.1.1-1] [MQTT-4.2.0-1]
func byteByByte(s *stage) {
	c := s.raw()
	con := brokertest.Clean(s.v, s.id("c"))
	b := wire.AppendConnect(nil, &con)
	b = wire.AppendSubscribe(b, s.v, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: s.topic("a"), QoS: 1}}})
	o := s.out(1, "a", "slow")
	o.Version = s.v
	b = wire.AppendPublish(b, &o, 2)
	for i := range b {
		c.Send(b[i : i+1])
	}
	c.Expect(wire.CONNACK)
	c.Expect(wire.SUBACK)
	c.AutoAck()
	f := c.ReadFrame()
	g := c.ReadFrame()
	if f.Type+g.Type != wire.PUBACK+wire.PUBLISH {
		s.Errorf("got %v and %v", f.Type, g.Type)
	}
}
