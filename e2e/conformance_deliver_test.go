package e2e_test

import (
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestDelivery(t *testing.T) {
	conform(t, every, map[string]fact{
		"QoS 1 is sent again after a reconnect": redeliver1,
		"QoS 2 is sent again after a reconnect": redeliver2,
		"messages wait for a kept session":      waiting,
		"a clean session forgets":               forgotten,
	})
	conform(t, only5, map[string]fact{
		"a client's Receive Maximum":    clientReceiveMaximum,
		"a refusal by the client":       refusedByClient,
		"a client's packet size":        clientPacketSize,
		"expiry in DISCONNECT":          expiryInDisconnect,
		"no alias that was not offered": outboundAliases,
	})
}

// [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3] [MQTT-4.4.0-1] [MQTT-3.3.1-1]
// [MQTT3-4.3.2-1] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1]
func redeliver1(s *stage) {
	c := s.kept("c")
	c.Subscribe(1, s.topic("#"))
	p := s.clean("p")
	ids := map[uint16]bool{}
	for i := range 3 {
		p.Publish(s.topic("a"), fmt.Sprint(i), 1, false)
		d := c.ExpectMessage(s.topic("a"), fmt.Sprint(i))
		if d.QoS != 1 || d.Dup || d.PacketID == 0 || ids[d.PacketID] {
			s.Errorf("got QoS %d, dup %v, id %d", d.QoS, d.Dup, d.PacketID)
		}
		ids[d.PacketID] = true
		if i == 1 {
			c.Ack(wire.PUBACK, d.PacketID)
		}
	}
	c.ExpectNothing() // nothing is sent again on one connection
	for range 2 {
		c.Drop()
		c = s.kept("c")
		for _, i := range []int{0, 2} {
			if d := c.ExpectMessage(s.topic("a"), fmt.Sprint(i)); !d.Dup || !ids[d.PacketID] {
				s.Errorf("sent again with dup %v, id %d", d.Dup, d.PacketID)
			}
		}
		c.ExpectNothing()
	}
}

// [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5]
// [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-3.6.2-1] [MQTT-2.2.1-5]
// [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1]
func redeliver2(s *stage) {
	c := s.kept("c")
	c.Subscribe(2, s.topic("#"))
	s.clean("p").Publish(s.topic("a"), "x", 2, false)
	d := c.ExpectMessage(s.topic("a"), "x")
	if d.QoS != 2 || d.Dup || d.PacketID == 0 {
		s.Errorf("got QoS %d, dup %v, id %d", d.QoS, d.Dup, d.PacketID)
	}
	c.Drop()
	c = s.kept("c")
	if again := c.ExpectMessage(s.topic("a"), "x"); !again.Dup || again.PacketID != d.PacketID {
		s.Errorf("sent again with dup %v, id %d", again.Dup, again.PacketID)
	}
	c.Ack(wire.PUBREC, d.PacketID)
	c.ExpectAck(wire.PUBREL, d.PacketID)
	c.ExpectNothing()
	for range 2 { // from now on only PUBREL is sent again
		c.Drop()
		c = s.kept("c")
		if r := c.ExpectAck(wire.PUBREL, d.PacketID); r != wire.Success {
			s.Errorf("PUBREL has %v", r)
		}
		c.ExpectNothing()
	}
	c.Ack(wire.PUBCOMP, d.PacketID)
	c.Ping()
	c.Drop()
	c = s.kept("c")
	c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
	if rest := c.ReadRest(); len(rest) > 0 {
		s.Errorf("got % x", rest[0].Raw)
	}
}

// [MQTT-4.5.0-1] [MQTT-3.1.2-23] [MQTT-4.1.0-1] [MQTT3-3.1.2-5] [MQTT3-4.5.0-1]
// [MQTT3-4.1.0-1] [MQTT3-4.1.0-2]
func waiting(s *stage) {
	c := s.kept("c")
	c.Subscribe(2, s.topic("one"), s.topic("two"))
	c.Unsubscribe(s.topic("two"))
	c.Disconnect()
	p := s.clean("p")
	for qos := byte(1); qos <= 2; qos++ {
		p.Publish(s.topic("one"), fmt.Sprint(qos), qos, false)
		p.Publish(s.topic("two"), fmt.Sprint(qos), qos, false)
	}
	c = s.kept("c").AutoAck()
	for qos := byte(1); qos <= 2; qos++ {
		if d := c.ExpectMessage(s.topic("one"), fmt.Sprint(qos)); d.QoS != qos || d.Dup {
			s.Errorf("got QoS %d, dup %v", d.QoS, d.Dup)
		}
	}
	c.ExpectNothing()
	p.Publish(s.topic("one"), "still subscribed", 1, false)
	c.ExpectMessage(s.topic("one"), "still subscribed")
}

// [MQTT-3.1.2-4] [MQTT3-3.1.2-6] and, of retained messages, [MQTT3-3.1.2-7]
func forgotten(s *stage) {
	c := s.kept("c")
	c.Subscribe(1, s.topic("#"))
	c.Publish(s.topic("kept"), "retained", 1, true)
	c.Drop()
	p := s.clean("p")
	p.Publish(s.topic("a"), "lost", 1, false)
	s.clean("c").ExpectNothing()
	c = s.kept("c")
	p.Publish(s.topic("a"), "not subscribed", 1, false)
	c.ExpectNothing()
	c.Subscribe(0, s.topic("#"))
	c.ExpectMessage(s.topic("kept"), "retained")
}

// [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3]
func clientReceiveMaximum(s *stage) {
	c := s.dial("c", wire.Connect{CleanStart: true, ReceiveMaximum: 2})
	c.Subscribe(2, s.topic("#"))
	p := s.clean("p")
	for i := range 6 {
		p.Publish(s.topic("a"), fmt.Sprint(i), byte(1+i%2), false)
	}
	first, second := c.ExpectMessage(s.topic("a"), "0"), c.ExpectMessage(s.topic("a"), "1")
	c.ExpectNothing()
	c.Publish(s.topic("b"), "mine", 2, false) // all else goes on
	c.Unsubscribe("none")
	c.Subscribe(0, "none")
	c.Ack(wire.PUBREC, second.PacketID) // no room yet
	c.ExpectAck(wire.PUBREL, second.PacketID)
	c.ExpectNothing()
	c.Ack(wire.PUBCOMP, second.PacketID)
	c.ExpectMessage(s.topic("a"), "2")
	c.ExpectNothing()
	c.Ack(wire.PUBACK, first.PacketID)
	c.ExpectMessage(s.topic("a"), "3")
	c.ExpectNothing()
}

// [MQTT-4.4.0-2] [MQTT-4.3.3-4]
func refusedByClient(s *stage) {
	c := s.kept("c")
	c.Subscribe(2, s.topic("#"))
	p := s.clean("p")
	p.Publish(s.topic("a"), "1", 1, false)
	p.Publish(s.topic("a"), "2", 2, false)
	one, two := c.ExpectMessage(s.topic("a"), "1"), c.ExpectMessage(s.topic("a"), "2")
	c.Send(wire.AppendAck(nil, wire.PUBACK, s.v, one.PacketID, wire.QuotaExceeded))
	c.Send(wire.AppendAck(nil, wire.PUBREC, s.v, two.PacketID, wire.QuotaExceeded))
	c.ExpectNothing()
	c.Drop()
	c = s.kept("c")
	c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
	if rest := c.ReadRest(); len(rest) > 0 {
		s.Errorf("got % x", rest[0].Raw)
	}
}

// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
func clientPacketSize(s *stage) {
	const limit = 100
	c := s.dial("c", wire.Connect{CleanStart: true, MaximumPacketSize: limit, ReceiveMaximum: 1}).AutoAck()
	c.Subscribe(2, s.topic("#"))
	p := s.clean("p")
	for qos := byte(0); qos <= 2; qos++ {
		o := s.out(qos, "a", "")
		o.Version = s.v
		fits := make([]byte, limit-wire.PublishSize(&o))
		for _, payload := range [][]byte{append(fits, 0), fits} {
			o.Payload = payload
			p.PublishOut(o)
		}
		if d := c.ExpectPublish(); len(d.Payload) != len(fits) {
			s.Errorf("QoS %d: got a payload of %d bytes; want %d", qos, len(d.Payload), len(fits))
		}
	}
	c.ExpectNothing()
}

// A session can be given up, or kept for longer, at DISCONNECT.
// [MQTT-3.1.2-23] [MQTT-4.1.0-2]
func expiryInDisconnect(s *stage) {
	leave := func(c *brokertest.Client, expiry uint32) {
		c.Send(wire.AppendDisconnectFields(nil, &wire.Disconnect{HasExpiry: true, SessionExpiry: expiry}))
		c.ReadRest()
	}
	leave(s.dial("c", wire.Connect{SessionExpiry: 60}), 0)
	c := s.dial("c", wire.Connect{SessionExpiry: 1})
	if c.Connack.SessionPresent {
		s.Error("the session was not given up")
	}
	leave(c, 60)
	if c = s.dial("c", wire.Connect{}); !c.Connack.SessionPresent {
		s.Error("the session was not kept")
	}
}

// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] [MQTT-3.3.2-7]
func outboundAliases(s *stage) {
	p := s.clean("p")
	for _, most := range []uint16{0, 1, 3} {
		c := s.dial("c", wire.Connect{CleanStart: true, TopicAliasMaximum: most})
		c.Subscribe(0, s.topic("#"))
		topics := map[uint16]string{}
		for i := range 20 {
			want := s.topic(fmt.Sprint("a", i%5))
			o := wire.Out{Topic: []byte(want)}
			if i < 5 || i%2 == 0 { // the publisher's aliases are its own
				o.Alias = uint16(1 + i%5)
			}
			if i >= 5 && o.Alias > 0 {
				o.Topic = nil
			}
			p.PublishOut(o)
			d := c.ExpectPublish()
			if d.Alias > most {
				s.Fatalf("topic alias %d is above %d", d.Alias, most)
			}
			got := string(d.Topic)
			if d.Alias > 0 && got == "" {
				got = topics[d.Alias]
			} else if d.Alias > 0 {
				topics[d.Alias] = got
			}
			if got != want {
				s.Fatalf("got topic %q; want %q", got, want)
			}
		}
		c.Disconnect()
	}
}
