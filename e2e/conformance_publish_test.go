package e2e_test

import (
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestPublishIn(t *testing.T) {
	conform(t, every, map[string]fact{
		"QoS 0":                             publish0,
		"QoS 1":                             publish1,
		"QoS 2":                             publish2,
		"QoS 2 over a reconnect":            publish2Reconnect,
		"a publish that is not authorised":  publishRefused,
		"each topic is ordered":             publishOrder,
		"a publish that nobody gets":        publishToNobody,
		"a PUBREL of what was not received": releaseUnknown,
	})
	conform(t, only5, map[string]fact{
		"an exchange of an expired message": publishExpired,
		"QoS 2 again after a refusal":       publishAfterRefusal,
	})
}

// [MQTT-3.3.4-1] [MQTT-2.2.1-2] [MQTT-4.3.1-1] [MQTT3-3.3.4-1] [MQTT3-2.3.1-5]
// [MQTT3-4.3.1-1]
func publish0(s *stage) {
	sub, p := s.clean("sub"), s.clean("p")
	sub.Subscribe(2, s.topic("#"))
	p.PublishOut(s.out(0, "a", "x"))
	p.Ping() // and nothing else came
	p.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
	if rest := p.ReadRest(); len(rest) > 0 {
		s.Errorf("got % x", rest[0].Raw)
	}
	d := sub.ExpectMessage(s.topic("a"), "x")
	if d.QoS != 0 || d.Dup || d.PacketID != 0 {
		s.Errorf("got QoS %d, dup %v, id %d", d.QoS, d.Dup, d.PacketID)
	}
}

// [MQTT-4.3.2-4] [MQTT-4.3.2-5] [MQTT-2.2.1-5] [MQTT-3.3.1-3] [MQTT-3.3.4-1]
// [MQTT3-4.3.2-2] [MQTT3-2.3.1-6] [MQTT3-3.3.1-3] [MQTT3-3.3.4-1]
func publish1(s *stage) {
	sub, p := s.clean("sub").AutoAck(), s.clean("p")
	sub.Subscribe(1, s.topic("#"))
	for i, id := range []uint16{7, 7, 1, 65535, 7} { // acknowledged, so it may be used again
		o := s.out(1, "a", fmt.Sprint(i))
		o.Dup = i%2 == 1
		p.PublishID(o, id)
		if r := p.ExpectAck(wire.PUBACK, id); r != wire.Success {
			s.Errorf("PUBACK has %v", r)
		}
		if d := sub.ExpectMessage(s.topic("a"), fmt.Sprint(i)); d.Dup {
			s.Error("DUP was passed on")
		}
	}
}

// [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] [MQTT-2.2.1-5]
// [MQTT-3.3.1-3] [MQTT3-4.3.3-2] [MQTT3-2.3.1-6] [MQTT3-3.3.1-3]
func publish2(s *stage) {
	sub, p := s.clean("sub").AutoAck(), s.clean("p")
	sub.Subscribe(2, s.topic("#"))
	for round := range 3 {
		for again := range 3 {
			o := s.out(2, "a", fmt.Sprint(round))
			o.Dup = again > 0
			p.PublishID(o, 9)
			if r := p.ExpectAck(wire.PUBREC, 9); r != wire.Success {
				s.Errorf("PUBREC has %v", r)
			}
		}
		if d := sub.ExpectMessage(s.topic("a"), fmt.Sprint(round)); d.Dup || d.QoS != 2 {
			s.Errorf("got dup %v, QoS %d", d.Dup, d.QoS)
		}
		p.Ack(wire.PUBREL, 9)
		if r := p.ExpectAck(wire.PUBCOMP, 9); r != wire.Success {
			s.Errorf("PUBCOMP has %v", r)
		}
	}
	sub.ExpectNothing()
}

// What was received once stays received over a reconnect. [MQTT-4.3.3-10]
// [MQTT-4.1.0-1] [MQTT3-4.3.3-2] [MQTT3-4.1.0-1]
func publish2Reconnect(s *stage) {
	sub := s.clean("sub").AutoAck()
	sub.Subscribe(2, s.topic("#"))
	p := s.kept("p")
	o := s.out(2, "a", "x")
	p.PublishID(o, 3)
	p.ExpectAck(wire.PUBREC, 3)
	p.Drop()
	p = s.kept("p")
	o.Dup = true
	p.PublishID(o, 3)
	p.ExpectAck(wire.PUBREC, 3)
	p.Ack(wire.PUBREL, 3)
	p.ExpectAck(wire.PUBCOMP, 3)
	sub.ExpectMessage(s.topic("a"), "x")
	sub.ExpectNothing()
}

// [MQTT3-3.3.5-2]; MQTT 5 has a reason for it. [MQTT-3.4.2-1] [MQTT-3.5.2-1]
func publishRefused(s *stage) {
	p := s.clean("p")
	for qos := byte(0); qos <= 2; qos++ {
		r := p.PublishOut(wire.Out{QoS: qos, Topic: []byte("$SYS/broker/mine"), Payload: []byte("x")})
		want := wire.Success
		if s.v == wire.V5 && qos > 0 {
			want = wire.NotAuthorized
		}
		if r != want {
			s.Errorf("QoS %d: %v; want %v", qos, r, want)
		}
	}
	p.Ping()
}

// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.3.2-1] [MQTT-2.2.1-4] [MQTT3-4.6.0-5]
// [MQTT3-4.6.0-6] [MQTT3-2.3.1-4]
func publishOrder(s *stage) {
	const n = 300
	sub, p := s.clean("sub"), s.clean("p").AutoAck()
	sub.Subscribe(2, s.topic("#"))
	var b []byte
	for i := range n {
		o := s.out(byte(i%3), fmt.Sprint("t", i%2), fmt.Sprint(i))
		o.Version = s.v
		b = wire.AppendPublish(b, &o, uint16(i+1))
	}
	p.Send(b)
	next := map[string]int{}
	open := map[uint16]wire.Type{}
	for range n {
		f := sub.ReadFrame()
		for f.Type == wire.PUBREL {
			id, _, _ := wire.DecodeAck(f, s.v)
			sub.Ack(wire.PUBCOMP, id)
			delete(open, id)
			f = sub.ReadFrame()
		}
		d, err := wire.DecodeDelivery(f, s.v)
		if err != nil {
			s.Fatal(err)
		}
		var i int
		fmt.Sscan(string(d.Payload), &i)
		key := fmt.Sprint(string(d.Topic), d.QoS)
		if i < next[key] {
			s.Fatalf("%s: message %d after %d", key, i, next[key]-1)
		}
		next[key] = i + 1
		if d.QoS == 0 {
			continue
		}
		if d.PacketID == 0 || open[d.PacketID] != 0 {
			s.Fatalf("identifier %d is 0 or in use", d.PacketID)
		}
		if d.QoS == 1 {
			sub.Ack(wire.PUBACK, d.PacketID)
		} else {
			open[d.PacketID] = wire.PUBREC
			sub.Ack(wire.PUBREC, d.PacketID)
		}
	}
}

// [MQTT-3.3.4-1] [MQTT3-3.3.4-1]
func publishToNobody(s *stage) {
	p := s.clean("p")
	for qos := byte(1); qos <= 2; qos++ {
		want := wire.Success
		if s.v == wire.V5 {
			want = wire.NoMatchingSubscribers
		}
		if r := p.PublishOut(s.out(qos, "nobody", "x")); r != want {
			s.Errorf("QoS %d: %v; want %v", qos, r, want)
		}
	}
}

// [MQTT-4.3.3-11] [MQTT3-4.3.3-2]
func releaseUnknown(s *stage) {
	p := s.clean("p")
	p.Ack(wire.PUBREL, 1234)
	want := wire.Success
	if s.v == wire.V5 {
		want = wire.PacketIDNotFound
	}
	if r := p.ExpectAck(wire.PUBCOMP, 1234); r != want {
		s.Errorf("PUBCOMP has %v; want %v", r, want)
	}
}

// [MQTT-4.3.3-13] [MQTT-3.3.2-5]
func publishExpired(s *stage) {
	sub := s.kept("sub")
	sub.Subscribe(2, s.topic("#"))
	sub.Drop()
	p := s.clean("p")
	o := s.out(2, "a", "x")
	o.HasExpiry = true // of 0 s
	if r := p.PublishOut(o); r != wire.Success {
		s.Errorf("PUBREC has %v", r)
	}
	s.kept("sub").ExpectNothing()
}

// [MQTT-4.3.3-9]
func publishAfterRefusal(s *stage) {
	sub, p := s.clean("sub"), s.clean("p")
	sub.Subscribe(0, s.topic("#"))
	p.PublishID(wire.Out{QoS: 2, Topic: []byte("$SYS/x")}, 4)
	if r := p.ExpectAck(wire.PUBREC, 4); r != wire.NotAuthorized {
		s.Errorf("PUBREC has %v", r)
	}
	p.PublishID(s.out(2, "a", "new"), 4)
	p.ExpectAck(wire.PUBREC, 4)
	sub.ExpectMessage(s.topic("a"), "new")
}

// One more than the server's Receive Maximum ends the connection; other packets
// count for nothing. [MQTT-3.3.4-7] [MQTT-4.9.0-3]
func TestServerReceiveMaximum(t *testing.T) {
	const window = 5
	b := start(t, func(c *appliance.Config) { c.Limits.ReceiveMaximum = window })
	c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
	if c.Connack.ReceiveMaximum != window {
		t.Errorf("Receive Maximum is %d", c.Connack.ReceiveMaximum)
	}
	for id := uint16(1); id <= window; id++ {
		c.PublishID(wire.Out{QoS: 2, Topic: []byte("t")}, id)
		c.ExpectAck(wire.PUBREC, id)
	}
	c.Subscribe(1, "other")
	c.Ping()
	c.Ack(wire.PUBREL, 1)
	c.ExpectAck(wire.PUBCOMP, 1)
	c.PublishID(wire.Out{QoS: 2, Topic: []byte("t")}, 6)
	c.ExpectAck(wire.PUBREC, 6)
	c.PublishID(wire.Out{QoS: 2, Topic: []byte("t")}, 7)
	if got := c.ExpectDisconnect(); got != wire.ReceiveMaximumExceeded {
		t.Errorf("disconnected with %v", got)
	}
}
