package e2e_test

import (
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestWills(t *testing.T) {
	conform(t, every, map[string]fact{
		"published when the connection is lost":    willOnLoss,
		"not published after DISCONNECT":           willDiscarded,
		"published after a protocol error":         willAfterError,
		"published once":                           willOnce,
		"published when taken over":                willTakenOver,
		"retained or not":                          willRetained,
		"no will, nothing published":               noWill,
		"a QoS 2 will to subscribers of all kinds": willQoS,
	})
	conform(t, only5, map[string]fact{
		"published after DISCONNECT with a reason": willOnRequest,
		"properties":             willProperties,
		"not when back in time":  willBackInTime,
		"when the session ends":  willAtSessionEnd,
		"gone after clean start": willCleanStart,
	})
}

func (s *stage) will(qos byte, retain bool) *wire.Will {
	return &wire.Will{Topic: s.topic("will"), QoS: qos, Retain: retain, Payload: []byte("gone")}
}

// mortal connects a client with a will, and one that waits for it.
func (s *stage) mortal(w *wire.Will) (c, watch *brokertest.Client) {
	s.Helper()
	watch = s.clean("watch").AutoAck()
	watch.Subscribe(2, s.topic("#"))
	return s.dial("c", wire.Connect{CleanStart: true, Will: w}), watch
}

// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
func willOnLoss(s *stage) {
	c, watch := s.mortal(s.will(1, false))
	watch.ExpectNothing()
	c.Drop()
	watch.ExpectMessage(s.topic("will"), "gone")
}

// [MQTT-3.14.4-3] [MQTT-3.1.2-10] [MQTT3-3.14.4-3] [MQTT3-3.1.2-10]
func willDiscarded(s *stage) {
	c, watch := s.mortal(s.will(1, false))
	c.Disconnect()
	s.dial("c", wire.Connect{CleanStart: true}).Drop() // nor later, for another connection
	watch.ExpectNothing()
}

// [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
func willAfterError(s *stage) {
	c, watch := s.mortal(s.will(1, false))
	c.Send([]byte{0xF1, 0})
	c.ReadRest()
	watch.ExpectMessage(s.topic("will"), "gone")
}

// [MQTT-3.1.2-10] [MQTT3-3.1.2-10]
func willOnce(s *stage) {
	watch := s.clean("watch").AutoAck()
	watch.Subscribe(2, s.topic("#"))
	con := brokertest.Kept(s.v, s.id("c"))
	con.Will = s.will(2, false)
	brokertest.Dial(s, s.b.addr, con).Drop()
	watch.ExpectMessage(s.topic("will"), "gone")
	s.kept("c").Drop() // the same session, and no will
	watch.ExpectNothing()
}

// A takeover is a loss for the old connection. [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
func willTakenOver(s *stage) {
	_, watch := s.mortal(s.will(0, false))
	s.dial("c", wire.Connect{CleanStart: true})
	watch.ExpectMessage(s.topic("will"), "gone")
	watch.ExpectNothing()
}

// [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17]
func willRetained(s *stage) {
	for _, retain := range []bool{false, true} {
		c, watch := s.mortal(s.will(1, retain))
		c.Drop()
		if d := watch.ExpectMessage(s.topic("will"), "gone"); d.Retain {
			s.Error("RETAIN is 1 for an existing subscription")
		}
		late := s.clean("late")
		late.Subscribe(0, s.topic("will"))
		if retain {
			if d := late.ExpectMessage(s.topic("will"), "gone"); !d.Retain {
				s.Error("RETAIN is 0 for a new subscription")
			}
		}
		late.ExpectNothing()
	}
}

// [MQTT3-3.1.2-12]
func noWill(s *stage) {
	c, watch := s.mortal(nil)
	c.Drop()
	watch.ExpectNothing()
}

// [MQTT-3.8.4-8] [MQTT3-3.8.4-6]
func willQoS(s *stage) {
	var subs [3]*brokertest.Client
	for q := range subs {
		subs[q] = s.clean(string(rune('0' + q)))
		subs[q].Subscribe(byte(q), s.topic("will"))
	}
	c, _ := s.mortal(s.will(2, false))
	c.Drop()
	for q := range subs {
		if d := subs[q].ExpectMessage(s.topic("will"), "gone"); int(d.QoS) != q || d.Dup {
			s.Errorf("QoS %d, dup %v; want QoS %d", d.QoS, d.Dup, q)
		}
	}
}

// [MQTT-3.1.2-8]
func willOnRequest(s *stage) {
	for _, reason := range []wire.Reason{wire.DisconnectWithWill, wire.UnspecifiedError} {
		c, watch := s.mortal(s.will(1, false))
		c.Send(wire.AppendDisconnect(nil, s.v, reason, ""))
		c.ReadRest()
		watch.ExpectMessage(s.topic("will"), "gone")
	}
}

// [MQTT-3.1.3-10] [MQTT-3.1.2-9]
func willProperties(s *stage) {
	forward := "\x01\x01" + "\x03" + text("text") + "\x08" + text("re") + "\x09" + text("co") +
		"\x26" + text("k") + text("2") + "\x26" + text("k") + text("1") + "\x26" + text("a") + text("3")
	w := s.will(1, false)
	w.Props, w.HasExpiry, w.Expiry = []byte(forward), true, 100
	c, watch := s.mortal(w)
	c.Drop()
	d := watch.ExpectMessage(s.topic("will"), "gone")
	if got := string(wire.AppendForward(nil, &d.Publish)); got != forward {
		s.Errorf("the properties are\n%x\nwant\n%x", got, forward)
	}
	if !d.HasExpiry || d.Expiry > 100 || d.Expiry < 50 {
		s.Errorf("expiry is %v, %d s", d.HasExpiry, d.Expiry)
	}
}

func (s *stage) delayed(expiry uint32) (c, watch *brokertest.Client) {
	watch = s.clean("watch")
	watch.Subscribe(0, s.topic("#"))
	w := s.will(0, false)
	w.Delay = 3600
	return s.dial("c", wire.Connect{SessionExpiry: expiry, Will: w}), watch
}

// [MQTT-3.1.3-9]
func willBackInTime(s *stage) {
	c, watch := s.delayed(7200)
	c.Drop()
	watch.ExpectNothing()
	s.dial("c", wire.Connect{SessionExpiry: 7200}).Drop()
	watch.ExpectNothing()
	s.dial("c", wire.Connect{CleanStart: true}) // nor when that session ends
	watch.ExpectNothing()
}

// The session's end does not wait for the will's delay. [MQTT-3.1.2-8]
func willAtSessionEnd(s *stage) {
	c, watch := s.delayed(0)
	c.Drop()
	watch.ExpectMessage(s.topic("will"), "gone")
	c, watch = s.delayed(7200)
	c.Send(wire.AppendDisconnectFields(nil, &wire.Disconnect{Reason: wire.DisconnectWithWill, HasExpiry: true}))
	c.ReadRest()
	watch.ExpectMessage(s.topic("will"), "gone")
}

// [MQTT-3.1.2-8] [MQTT-3.1.2-4]
func willCleanStart(s *stage) {
	c, watch := s.delayed(7200)
	c.Drop()
	watch.ExpectNothing()
	s.dial("c", wire.Connect{CleanStart: true})
	watch.ExpectMessage(s.topic("will"), "gone")
}
