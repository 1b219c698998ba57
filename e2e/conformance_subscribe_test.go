package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestSubscribe(t *testing.T) {
	conform(t, every, map[string]fact{
		"SUBACK":                          suback,
		"filters that are not valid":      invalidFilters,
		"the longest topic":               longestTopic,
		"wildcards":                       wildcards,
		"topics that begin with $":        dollar,
		"the lower QoS":                   lowerQoS,
		"overlapping subscriptions":       overlapping,
		"the same filter again":           replaced,
		"UNSUBSCRIBE":                     unsubscribe,
		"UNSUBSCRIBE amid deliveries":     unsubscribeAmid,
		"filters are compared as bytes":   unsubscribeExact,
		"nothing outside the standard":    plain,
		"a bad packet disturbs no others": undisturbed,
	})
	conform(t, only5, map[string]fact{
		"no local":                         noLocal,
		"subscription identifiers":         identifiers,
		"a shared subscription":            shared,
		"shared subscriptions and QoS":     sharedQoS,
		"a shared QoS 2 message":           sharedQoS2,
		"a shared message that is refused": sharedRefused,
	})
}

// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7]
// [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.2.1-6] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2]
// [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2] [MQTT3-2.3.1-7]
func suback(s *stage) {
	c := s.clean("c")
	bad := wire.TopicFilterInvalid
	if s.v < wire.V5 {
		bad = 0x80
	}
	for _, id := range []uint16{1, 65535, 256} {
		codes := c.SubscribeTo(wire.Subscribe{PacketID: id, Filters: []wire.Filter{
			{Filter: s.topic("2"), QoS: 2}, {Filter: "a#", QoS: 1}, {Filter: s.topic("0")}, {Filter: s.topic("1"), QoS: 1}, {Filter: "b+"},
		}})
		if want := []wire.Reason{2, bad, 0, 1, bad}; !slices.Equal(codes, want) {
			s.Errorf("SUBACK %d has %v; want %v", id, codes, want)
		}
	}
	p := s.clean("p")
	for q := range 3 {
		p.Publish(s.topic(fmt.Sprint(q)), "x", 2, false)
		if d := c.ExpectMessage(s.topic(fmt.Sprint(q)), "x"); int(d.QoS) != q {
			s.Errorf("got QoS %d; want %d", d.QoS, q)
		}
	}
}

// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
// [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-1]
func invalidFilters(s *stage) {
	c := s.clean("c")
	filters := []string{"", "#/a", "a#", "a/#/b", "##", "+a", "a+/b", "a/b+", "++"}
	if s.v == wire.V5 {
		filters = append(filters, "$share//a", "$share/g", "$share/g/", "$share/g+/a", "$share/#/a", "$share/g/a#")
	}
	for _, f := range filters {
		if code := c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: f}}})[0]; code < 0x80 {
			s.Errorf("%q is granted", f)
		}
	}
	c.Subscribe(0, "+", "#", "/", "+/+", "+//#", "/+", s.topic("$share"), " ")
}

// [MQTT-4.7.3-3] [MQTT3-4.7.3-3]
func longestTopic(s *stage) {
	c := s.clean("c")
	long := s.topic(strings.Repeat("x", 65535-len(s.topic(""))))
	c.Subscribe(1, long)
	c.AutoAck().Publish(long, "x", 1, false)
	c.ExpectMessage(long, "x")
}

// [MQTT-3.3.2-3] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT3-3.3.2-3] [MQTT3-4.7.1-2]
// [MQTT3-4.7.1-3]
func wildcards(s *stage) {
	topics := []string{"", "a", "a/b", "a/b/c", "a/", "a//c", "b", "/a", "ab"}
	for filter, want := range map[string]string{
		"a": "a", "a/#": "a a/ a/b a/b/c a//c", "a/+": "a/ a/b", "+": " a ab b", "a/+/c": "a//c a/b/c",
		"+/b": "a/b", "#": " /a a a/ a/b a/b/c a//c ab b", "/+": "/a", "a/": "a/", "+/#": " /a a a/ a/b a/b/c a//c ab b",
		"+/": "a/", "a/b/c/#": "a/b/c", "A": "",
	} {
		c := s.clean("c")
		c.Subscribe(1, s.topic(filter))
		for _, topic := range topics {
			c.Publish(s.topic(topic), "x", 0, false)
		}
		c.Ping()
		c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
		var got []string
		for _, f := range c.ReadRest() {
			d, err := wire.DecodeDelivery(f, s.v)
			if err != nil {
				s.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(string(d.Topic), s.topic("")))
		}
		slices.Sort(got)
		list := strings.Split(want, " ")
		if filter == "A" {
			list = nil
		}
		slices.Sort(list)
		if !slices.Equal(got, list) {
			s.Errorf("%q matches %q; want %q", filter, got, list)
		}
	}
}

// [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
func dollar(s *stage) {
	wild, named := s.clean("wild"), s.clean("named")
	topic := "$SYS/" + s.id("x")
	wild.Subscribe(0, "+/"+s.id("x"), "#")
	named.Subscribe(0, "$SYS/+")
	if err := s.b.Publish(s.Context(), appliance.Message{Topic: topic, Payload: []byte("x")}); err != nil {
		s.Fatal(err)
	}
	for d := named.ExpectPublish(); string(d.Topic) != topic; d = named.ExpectPublish() {
	}
	wild.Ping()
	wild.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
	for _, f := range wild.ReadRest() {
		if d, _ := wire.DecodeDelivery(f, s.v); strings.HasPrefix(string(d.Topic), "$") {
			s.Errorf("got %q", d.Topic)
		}
	}
}

// [MQTT-3.8.4-8] [MQTT3-3.8.4-6]
func lowerQoS(s *stage) {
	p := s.clean("p")
	for granted := byte(0); granted <= 2; granted++ {
		c := s.clean("c").AutoAck()
		c.Subscribe(granted, s.topic("#"))
		for sent := byte(0); sent <= 2; sent++ {
			p.Publish(s.topic("a"), "x", sent, false)
			if d := c.ExpectMessage(s.topic("a"), "x"); d.QoS != min(granted, sent) {
				s.Errorf("granted %d, sent %d: got QoS %d", granted, sent, d.QoS)
			}
		}
	}
}

// [MQTT-3.3.4-2] [MQTT3-3.3.5-1]
func overlapping(s *stage) {
	c, p := s.clean("c").AutoAck(), s.clean("p")
	filters := []string{"a", "#", "+", "a/#"}
	for highest := range filters {
		for i, f := range filters {
			c.Subscribe(byte((i+len(filters)-highest)%len(filters)%2), s.topic(f)) // 0 or 1
		}
		c.Subscribe(2, s.topic(filters[highest]))
		p.Publish(s.topic("a"), "x", 2, false)
		if d := c.ExpectMessage(s.topic("a"), "x"); d.QoS != 2 {
			s.Errorf("highest is %q: got QoS %d", filters[highest], d.QoS)
		}
		c.ExpectNothing() // one copy
	}
}

// [MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT3-3.8.4-3]
func replaced(s *stage) {
	p := s.clean("p")
	p.Publish(s.topic("r"), "retained", 1, true)
	c := s.clean("c").AutoAck()
	for _, qos := range []byte{2, 0, 1} {
		c.Subscribe(qos, s.topic("+"))
		c.ExpectMessage(s.topic("r"), "retained")
		p.Publish(s.topic("a"), "x", 2, false)
		if d := c.ExpectMessage(s.topic("a"), "x"); d.QoS != qos {
			s.Errorf("got QoS %d; want %d", d.QoS, qos)
		}
	}
	c.Unsubscribe(s.topic("+")) // there is one
	p.Publish(s.topic("a"), "x", 1, false)
	c.ExpectNothing()
	// Messages go on while a subscription is replaced again and again.
	const n = 50
	c.Subscribe(1, s.topic("go"))
	var b []byte
	for i := range n {
		o := s.out(1, "go", fmt.Sprint(i))
		o.Version = s.v
		b = wire.AppendPublish(b, &o, uint16(i+100))
	}
	p.AutoAck().Send(b)
	for range n {
		c.Subscribe(1, s.topic("go"))
	}
	for i := range n {
		c.ExpectMessage(s.topic("go"), fmt.Sprint(i))
	}
}

// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]
// [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6] [MQTT3-3.10.4-1] [MQTT3-3.10.4-2]
// [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6] [MQTT3-2.3.1-7]
func unsubscribe(s *stage) {
	c, p := s.clean("c"), s.clean("p")
	c.Subscribe(0, s.topic("a"), s.topic("b"), s.topic("c"))
	codes := c.Unsubscribe(s.topic("b"), s.topic("none"), s.topic("a"), "a#")
	if s.v == wire.V5 {
		if want := []wire.Reason{0, wire.NoSubscriptionExisted, 0, wire.TopicFilterInvalid}; !slices.Equal(codes, want) &&
			!slices.Equal(codes, append(want[:3:3], wire.NoSubscriptionExisted)) {
			s.Errorf("UNSUBACK has %v", codes)
		}
	}
	c.Unsubscribe("none", "at/all")
	for _, topic := range []string{"a", "b", "c"} {
		p.Publish(s.topic(topic), topic, 1, false)
	}
	c.ExpectMessage(s.topic("c"), "c")
	c.ExpectNothing()
}

// [MQTT-3.10.4-3] [MQTT3-3.10.4-3]
func unsubscribeAmid(s *stage) {
	c, p := s.kept("c"), s.clean("p")
	c.Subscribe(2, s.topic("#"))
	p.Publish(s.topic("a"), "1", 1, false)
	p.Publish(s.topic("a"), "2", 2, false)
	one, two := c.ExpectMessage(s.topic("a"), "1"), c.ExpectMessage(s.topic("a"), "2")
	c.Unsubscribe(s.topic("#"))
	c.Drop()
	c = s.kept("c")
	if d := c.ExpectMessage(s.topic("a"), "1"); d.PacketID != one.PacketID {
		s.Errorf("got id %d", d.PacketID)
	}
	if d := c.ExpectMessage(s.topic("a"), "2"); d.PacketID != two.PacketID {
		s.Errorf("got id %d", d.PacketID)
	}
	c.Ack(wire.PUBREC, two.PacketID)
	c.ExpectAck(wire.PUBREL, two.PacketID)
}

// [MQTT-3.10.4-1] [MQTT3-3.10.4-1]
func unsubscribeExact(s *stage) {
	c := s.clean("c")
	c.Subscribe(0, s.topic("a/+"))
	for _, other := range []string{"a/b", "a/#", "A/+", "a/+/", "#", "+/+"} {
		c.Unsubscribe(s.topic(other))
	}
	s.clean("p").Publish(s.topic("a/b"), "x", 1, false)
	c.ExpectMessage(s.topic("a/b"), "x")
}

// The plainest of clients gets along. [MQTT3-7.0.0-2] [MQTT3-7.1.1-1] [MQTT-4.2.0-1]
func plain(s *stage) {
	for _, addr := range []string{s.b.addr, s.b.unix} {
		c := brokertest.Dial(s, addr, brokertest.Clean(s.v, s.id("c")))
		c.Subscribe(0, s.topic("a"))
		c.Publish(s.topic("a"), "x", 0, false)
		c.ExpectMessage(s.topic("a"), "x")
		c.Disconnect()
	}
}

// [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
func undisturbed(s *stage) {
	good, bad := s.clean("good"), s.clean("bad")
	good.Subscribe(0, s.topic("#"))
	o := s.out(0, "a", "before")
	o.Version = s.v
	bad.Send(append(wire.AppendPublish(nil, &o, 0), 0xFF))
	bad.ReadRest()
	good.ExpectMessage(s.topic("a"), "before")
	good.ExpectNothing()
}

// [MQTT-3.8.3-3]
func noLocal(s *stage) {
	c := s.kept("c")
	c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: s.topic("#"), QoS: 1, NoLocal: true}}})
	for qos := byte(0); qos <= 2; qos++ {
		c.Publish(s.topic("a"), "own", qos, false)
	}
	c.ExpectNothing()
	c.Drop()
	c = s.kept("c") // another connection of the same client
	c.Publish(s.topic("a"), "own", 1, false)
	c.ExpectNothing()
	s.clean("p").Publish(s.topic("a"), "another's", 1, false)
	c.ExpectMessage(s.topic("a"), "another's")
	c.Subscribe(0, s.topic("+")) // wants its own too
	c.Publish(s.topic("a"), "own", 1, false)
	c.ExpectMessage(s.topic("a"), "own")
}

// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.8.4-3]
func identifiers(s *stage) {
	c, p := s.clean("c").AutoAck(), s.clean("p")
	expect := func(topic string, want ...uint32) {
		s.Helper()
		p.Publish(s.topic(topic), "x", 1, false)
		d := c.ExpectMessage(s.topic(topic), "x")
		slices.Sort(d.SubIDs)
		if !slices.Equal(d.SubIDs, want) {
			s.Errorf("%s: identifiers %v; want %v", topic, d.SubIDs, want)
		}
	}
	sub := func(id uint32, filter string) {
		s.Helper()
		c.SubscribeTo(wire.Subscribe{SubscriptionID: id, Filters: []wire.Filter{{Filter: s.topic(filter), QoS: 1}}})
	}
	sub(1, "a/+")
	sub(268435455, "a/#")
	sub(0, "a/b")
	expect("a/b", 1, 268435455)
	expect("a", 268435455)
	sub(7, "a/b")
	sub(0, "a/#")
	expect("a/b", 1, 7)
	sub(1, "#")
	c.Unsubscribe(s.topic("a/+"), s.topic("a/b"))
	expect("a/b", 1)
}

// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
func shared(s *stage) {
	share := "$share/g/" + s.topic("#")
	a, b, other, p := s.clean("a"), s.clean("b"), s.clean("other"), s.clean("p")
	a.Subscribe(0, share)
	b.Subscribe(0, share)
	other.Subscribe(0, "$share/another/"+s.topic("#"))
	const n = 20
	for i := range n {
		p.Publish(s.topic("a"), fmt.Sprint(i), 1, false)
	}
	got := map[string]int{}
	for name, c := range map[string]*brokertest.Client{"a": a, "b": b, "other": other} {
		c.Ping()
		c.Send(wire.AppendDisconnect(nil, s.v, wire.Success, ""))
		got[name] = len(c.ReadRest())
	}
	if got["a"]+got["b"] != n || got["a"] != n/2 || got["other"] != n {
		s.Errorf("got %v", got)
	}
}

// [MQTT-4.8.2-3]
func sharedQoS(s *stage) {
	share := "$share/g/" + s.topic("#")
	members := []*brokertest.Client{s.clean("0").AutoAck(), s.clean("1").AutoAck(), s.clean("2").AutoAck()}
	for q, c := range members {
		c.Subscribe(byte(q), share)
	}
	p := s.clean("p")
	for range 6 {
		p.Publish(s.topic("a"), "x", 2, false)
	}
	for q, c := range members {
		for range 2 {
			if d := c.ExpectMessage(s.topic("a"), "x"); int(d.QoS) != q {
				s.Errorf("got QoS %d; want %d", d.QoS, q)
			}
		}
	}
}

// [MQTT-4.8.2-4] [MQTT-4.8.2-5]
func sharedQoS2(s *stage) {
	share := "$share/g/" + s.topic("#")
	a, b, p := s.kept("a"), s.clean("b"), s.clean("p")
	a.Subscribe(2, share)
	p.Publish(s.topic("a"), "1", 2, false)
	d := a.ExpectMessage(s.topic("a"), "1")
	b.Subscribe(2, share)
	a.Drop()
	a = s.kept("a")
	if again := a.ExpectMessage(s.topic("a"), "1"); !again.Dup || again.PacketID != d.PacketID {
		s.Errorf("sent again with dup %v, id %d", again.Dup, again.PacketID)
	}
	a.Drop()
	s.clean("a") // the session ends
	b.ExpectNothing()
}

// [MQTT-4.8.2-6]
func sharedRefused(s *stage) {
	share := "$share/g/" + s.topic("#")
	a, b, p := s.clean("a"), s.clean("b"), s.clean("p")
	a.Subscribe(2, share)
	for qos, kind := range map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC} {
		p.Publish(s.topic("a"), "x", qos, false)
		d := a.ExpectMessage(s.topic("a"), "x")
		b.Subscribe(2, share)
		a.Send(wire.AppendAck(nil, kind, s.v, d.PacketID, wire.UnspecifiedError))
		a.Ping()
		b.ExpectNothing()
		b.Unsubscribe(share)
	}
	a.ExpectNothing()
}
