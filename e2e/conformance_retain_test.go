package e2e_test

import (
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

func TestRetained(t *testing.T) {
	conform(t, every, map[string]fact{
		"the last message, with its QoS":     retainedLast,
		"RETAIN is for new subscriptions":    retainedFlag,
		"an empty message removes it":        retainedRemoved,
		"other messages leave it alone":      retainedAlone,
		"QoS 0 replaces what was there":      retainedQoS0,
		"one of every topic, to each filter": retainedAll,
	})
	conform(t, only5, map[string]fact{
		"retain handling":     retainHandling,
		"retain as published": retainAsPublished,
	})
}

// [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-8]
func retainedLast(s *stage) {
	p := s.clean("p")
	for qos := byte(0); qos <= 2; qos++ {
		p.Publish(s.topic("a"), "old", 1, true)
		p.Publish(s.topic("a"), "new", qos, true)
		p.Ping()
		c := s.clean("c").AutoAck()
		c.Subscribe(2, s.topic("#"))
		if d := c.ExpectMessage(s.topic("a"), "new"); !d.Retain || d.QoS != qos || d.Dup {
			s.Errorf("got retain %v, QoS %d, dup %v; want QoS %d", d.Retain, d.QoS, d.Dup, qos)
		}
		c.ExpectNothing()
	}
}

// [MQTT-3.3.1-12] [MQTT3-3.3.1-8] [MQTT3-3.3.1-9]
func retainedFlag(s *stage) {
	c, p := s.kept("c").AutoAck(), s.clean("p")
	c.Subscribe(1, s.topic("#"))
	for qos := byte(0); qos <= 2; qos++ {
		p.Publish(s.topic("a"), "x", qos, true)
		if d := c.ExpectMessage(s.topic("a"), "x"); d.Retain {
			s.Errorf("QoS %d: RETAIN is 1", qos)
		}
	}
	c.Drop()
	p.Publish(s.topic("a"), "waits", 1, true)
	if d := s.kept("c").ExpectMessage(s.topic("a"), "waits"); d.Retain { // not a new subscription
		s.Error("RETAIN is 1 after a reconnect")
	}
}

// [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11]
func retainedRemoved(s *stage) {
	c, p := s.clean("c").AutoAck(), s.clean("p")
	for qos := byte(0); qos <= 2; qos++ {
		p.Publish(s.topic("a"), "x", 1, true)
		c.Subscribe(2, s.topic("a"))
		c.ExpectMessage(s.topic("a"), "x")
		p.Publish(s.topic("a"), "", qos, true)
		if d := c.ExpectMessage(s.topic("a"), ""); d.Retain || d.QoS != qos {
			s.Errorf("got retain %v, QoS %d", d.Retain, d.QoS)
		}
		p.Publish(s.topic("b"), "", qos, true) // there is none
		p.Ping()
		c.Subscribe(2, s.topic("a"), s.topic("b"))
		c.ExpectNothing()
		c.Unsubscribe(s.topic("a"), s.topic("b"))
	}
}

// [MQTT-3.3.1-8] [MQTT3-3.3.1-12]
func retainedAlone(s *stage) {
	p := s.clean("p")
	p.Publish(s.topic("a"), "kept", 1, true)
	for _, payload := range []string{"other", ""} {
		p.Publish(s.topic("a"), payload, 1, false)
		p.Publish(s.topic("b"), payload, 1, false)
	}
	c := s.clean("c")
	c.Subscribe(0, s.topic("+"))
	c.ExpectMessage(s.topic("a"), "kept")
	c.ExpectNothing()
}

// [MQTT3-3.3.1-7] [MQTT-3.3.1-5]
func retainedQoS0(s *stage) {
	p := s.clean("p")
	p.Publish(s.topic("a"), "old", 2, true)
	p.Publish(s.topic("a"), "new", 0, true)
	p.Ping()
	c := s.clean("c")
	c.Subscribe(2, s.topic("a"))
	if d := c.ExpectMessage(s.topic("a"), "new"); d.QoS != 0 {
		s.Errorf("got QoS %d", d.QoS)
	}
}

// [MQTT-3.3.1-9] [MQTT-3.3.2-3] [MQTT3-3.3.1-6] [MQTT3-3.3.2-3]
func retainedAll(s *stage) {
	p, c := s.clean("p"), s.clean("c")
	const n = 30
	for i := range n {
		p.Publish(s.topic(fmt.Sprintf("%d/x", i)), "x", 1, true)
	}
	for _, filter := range []string{"#", "+/x", "+/+", "+/#"} {
		c.Subscribe(0, s.topic(filter))
		seen := map[string]bool{}
		for range n {
			d := c.ExpectPublish()
			if seen[string(d.Topic)] || !d.Retain {
				s.Fatalf("%s: %q again, or retain %v", filter, d.Topic, d.Retain)
			}
			seen[string(d.Topic)] = true
		}
		c.ExpectNothing()
	}
}

// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
func retainHandling(s *stage) {
	p, c := s.clean("p"), s.clean("c")
	p.Publish(s.topic("a"), "x", 0, true)
	p.Ping()
	for i, step := range []struct {
		handling byte
		want     bool
	}{{2, false}, {1, false}, {0, true}, {0, true}, {1, false}, {2, false}} {
		c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: s.topic("#"), RetainHandling: step.handling}}})
		if step.want {
			c.ExpectMessage(s.topic("a"), "x")
		}
		c.ExpectNothing()
		if s.Failed() {
			s.Fatalf("step %d", i)
		}
	}
	c.Unsubscribe(s.topic("#"))
	c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: s.topic("#"), RetainHandling: 1}}})
	c.ExpectMessage(s.topic("a"), "x")
	c.ExpectNothing()
}

// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
func retainAsPublished(s *stage) {
	p, c := s.clean("p"), s.clean("c").AutoAck()
	for _, as := range []bool{true, false} {
		c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: s.topic("#"), QoS: 2, RetainAsPublished: as, RetainHandling: 2}}})
		for qos := byte(0); qos <= 2; qos++ {
			for _, retain := range []bool{false, true} {
				p.Publish(s.topic("a"), "x", qos, retain)
				if d := c.ExpectMessage(s.topic("a"), "x"); d.Retain != (retain && as) {
					s.Errorf("as published %v, QoS %d, retain %v: got %v", as, qos, retain, d.Retain)
				}
			}
		}
	}
}
