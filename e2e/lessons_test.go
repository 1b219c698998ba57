package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// The tests in this file are what users of other brokers have complained of,
// where no other test shows it: docs/LESSONS.md says of what, and where.

func TestLessonsOfSessions(t *testing.T) {
	conform(t, only5, map[string]fact{
		"a will with a delay, of a session that ends at a takeover": lessonWill,
		"no will of a session that goes on at a takeover":           lessonNoWill,
		"RETAIN of what waited for a kept session":                  lessonRetainAsPublished,
		"retained messages come with SUBSCRIBE alone":               lessonRetainedOnce,
		"DUP of what was never seen":                                lessonDup,
		"a smaller packet size on the next connection":              lessonPacketSize,
		"another Receive Maximum on the next connection":            lessonReceiveMaximum,
	})
}

// The session ends with the first connection, and so does the will's delay.
func lessonWill(s *stage) {
	first, watch := s.delayed(0)
	second := s.dial("c", wire.Connect{})
	if r := first.ExpectDisconnect(); r != wire.SessionTakenOver {
		s.Errorf("the first was told %v", r)
	}
	watch.ExpectMessage(s.topic("will"), "gone")
	if second.Connack.SessionPresent {
		s.Error("the session goes on")
	}
	second.Disconnect()
	watch.ExpectNothing()
}

func lessonNoWill(s *stage) {
	first, watch := s.delayed(7200)
	second := s.dial("c", wire.Connect{SessionExpiry: 7200})
	if r := first.ExpectDisconnect(); r != wire.SessionTakenOver {
		s.Errorf("the first was told %v", r)
	}
	if !second.Connack.SessionPresent {
		s.Error("the session has ended")
	}
	watch.ExpectNothing()
}

func lessonRetainAsPublished(s *stage) {
	c := s.kept("c")
	c.SubscribeTo(wire.Subscribe{SubscriptionID: 9, Filters: []wire.Filter{{Filter: s.topic("#"), QoS: 2, RetainAsPublished: true}}})
	c.Disconnect()
	p := s.clean("p")
	for qos := byte(1); qos <= 2; qos++ {
		p.Publish(s.topic("a"), "state", qos, true)
		p.Publish(s.topic("a"), "event", qos, false)
	}
	c = s.kept("c").AutoAck()
	for qos := byte(1); qos <= 2; qos++ {
		for _, want := range []string{"state", "event"} {
			d := c.ExpectMessage(s.topic("a"), want)
			if d.Retain != (want == "state") || d.QoS != qos || d.Dup || len(d.SubIDs) != 1 {
				s.Errorf("%s at QoS %d came with RETAIN %v, QoS %d, DUP %v, ids %v", want, qos, d.Retain, d.QoS, d.Dup, d.SubIDs)
			}
		}
	}
}

func lessonRetainedOnce(s *stage) {
	s.clean("p").Publish(s.topic("a"), "state", 1, true)
	c := s.kept("c").AutoAck()
	c.Subscribe(1, s.topic("#"))
	c.ExpectMessage(s.topic("a"), "state")
	c.Ping()
	c.Drop()
	c = s.kept("c").AutoAck()
	c.ExpectNothing()
	c.Subscribe(1, s.topic("#"))
	c.ExpectMessage(s.topic("a"), "state")
}

// The first copy was lost on its way, or came to a session that is gone.
func lessonDup(s *stage) {
	watch := s.clean("watch").AutoAck()
	watch.Subscribe(2, s.topic("#"))
	for _, connect := range []func(string) *brokertest.Client{s.kept, s.clean} {
		for qos := byte(1); qos <= 2; qos++ {
			p := connect("p")
			o := s.out(qos, "a", "once")
			o.Dup = true
			p.PublishID(o, 7)
			p.ExpectAck(map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC}[qos], 7)
			if d := watch.ExpectMessage(s.topic("a"), "once"); d.Dup {
				s.Error("DUP was passed on")
			}
			if qos == 2 {
				p.PublishID(o, 7)
				p.ExpectAck(wire.PUBREC, 7)
				p.Ack(wire.PUBREL, 7)
				p.ExpectAck(wire.PUBCOMP, 7)
			}
			watch.ExpectNothing()
			p.Drop()
		}
	}
}

// What was sent, or waits, and is too large now stands in nobody's way.
func lessonPacketSize(s *stage) {
	c := s.kept("c")
	c.Subscribe(2, s.topic("#"))
	p := s.clean("p")
	large := strings.Repeat("x", 500)
	for qos := byte(1); qos <= 2; qos++ {
		p.Publish(s.topic("sent"), large, qos, false)
		c.ExpectMessage(s.topic("sent"), large)
	}
	c.Drop()
	for qos := byte(1); qos <= 2; qos++ {
		p.Publish(s.topic("waits"), large, qos, false)
		p.Publish(s.topic("fits"), "small", qos, false)
	}
	c = s.dial("c", wire.Connect{SessionExpiry: 60, MaximumPacketSize: 200, ReceiveMaximum: 1}).AutoAck()
	c.ExpectMessage(s.topic("fits"), "small")
	c.ExpectMessage(s.topic("fits"), "small")
	p.Publish(s.topic("live"), "small", 1, false)
	c.ExpectMessage(s.topic("live"), "small")
}

// What the first connection owed does not count on the second.
func lessonReceiveMaximum(s *stage) {
	for _, windows := range [][2]uint16{{1, 4}, {4, 1}} {
		c := s.dial("c", wire.Connect{CleanStart: true, SessionExpiry: 60, ReceiveMaximum: windows[0]})
		c.Subscribe(1, s.topic("#"))
		p := s.clean("p")
		for i := range 6 {
			p.Publish(s.topic("a"), fmt.Sprint(i), 1, false)
		}
		for i := range windows[0] {
			c.ExpectMessage(s.topic("a"), fmt.Sprint(i))
		}
		c.ExpectNothing()
		c.Drop()
		c = s.dial("c", wire.Connect{SessionExpiry: 60, ReceiveMaximum: windows[1]})
		ids := make(chan uint16, 6)
		for i := range 6 {
			if i >= int(windows[1]) {
				c.ExpectNothing()
				c.Ack(wire.PUBACK, <-ids)
			}
			ids <- c.ExpectMessage(s.topic("a"), fmt.Sprint(i)).PacketID
		}
		p.Drop()
	}
}

// A client that looks at all that is retained gets all of it, though that is
// twice what may wait for one client.
func TestLessonMuchIsRetained(t *testing.T) {
	const n, size = 1950, 16 << 10
	b := start(t, nil)
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	for i := range n {
		p.Publish(fmt.Sprint("t/", i), strings.Repeat("x", size), 1, true)
	}
	if limit, held := int64(appliance.DefaultConfig().Sessions.MaxQueuedBytes), b.Stats().Retained.Bytes; held < 19*limit/10 {
		t.Fatalf("%d bytes are retained, and %d may wait", held, limit)
	}
	for qos := range byte(2) {
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, fmt.Sprint("c", qos))).AutoAck()
		c.Subscribe(qos, "t/#")
		seen := map[string]bool{}
		for range n {
			if d := c.ExpectPublish(); d.Retain && len(d.Payload) == size {
				seen[string(d.Topic)] = true
			}
		}
		if len(seen) != n {
			t.Errorf("QoS %d: got %d topics; want %d", qos, len(seen), n)
		}
	}
	if d := b.Stats().Dropped.ByReason; d["queue_full"] > 0 {
		t.Errorf("dropped %v", d)
	}
}

// A client that does not acknowledge QoS 1 goes on getting QoS 0 and $SYS.
func TestLessonLostPuback(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Sys.Interval = time.Second })
	c := brokertest.Dial(t, b.addr, wire.Connect{Version: wire.V5, ClientID: "c", CleanStart: true, ReceiveMaximum: 2})
	c.Subscribe(1, "a")
	c.SubscribeTo(wire.Subscribe{SubscriptionID: 7, Filters: []wire.Filter{{Filter: "b"}}})
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	for i := range 4 {
		p.Publish("a", fmt.Sprint(i), 1, false)
	}
	c.ExpectMessage("a", "0")
	last := c.ExpectMessage("a", "1")
	p.Publish("b", "x", 0, false)
	c.ExpectMessage("b", "x")
	c.Subscribe(0, "$SYS/broker/uptime")
	for uptime := c.ExpectPublish(); uptime.Retain; uptime = c.ExpectPublish() {
	}
	c.Unsubscribe("$SYS/broker/uptime")
	c.Ack(wire.PUBACK, last.PacketID)
	c.ExpectMessage("a", "2")
}

// Connections that never say CONNECT, those that say half of it, and clients
// that take each other's place are no clients that are away: nothing in $SYS ever
// falls below zero, and in the end the counts are what is there.
func TestLessonSysIsNeverNegative(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Sys.Interval = time.Second })
	watch := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "watch"))
	watch.Subscribe(0, "$SYS/#")
	half := wire.AppendConnect(nil, &wire.Connect{Version: wire.V5, ClientID: "half"})
	var silent []*brokertest.Client
	for i := range 20 {
		c := brokertest.DialRaw(t, b.addr, wire.V5)
		if i%2 == 0 {
			c.Send(half[:len(half)/2])
		}
		silent = append(silent, c)
	}
	p := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "p"))
	for i := range 50 {
		c := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, fmt.Sprint("kept", i%5)))
		c.Subscribe(2, "t")
		p.Publish("t", "x", byte(i%3), false)
		if i%2 == 0 {
			c.Drop()
		}
	}
	sys := map[string]string{}
	look := func() {
		d := watch.ExpectPublish()
		topic, value := strings.TrimPrefix(string(d.Topic), "$SYS/broker/"), string(d.Payload)
		sys[topic] = value
		if n, err := strconv.ParseFloat(strings.TrimSuffix(value, " seconds"), 64); err == nil && n < 0 {
			t.Fatalf("%s is %s", topic, value)
		}
	}
	for sys["clients/total"] != "7" || sys["clients/connected"] == "" {
		look()
	}
	for _, c := range silent {
		c.Drop()
	}
	p.Drop()
	for i := range 5 {
		brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, fmt.Sprint("kept", i))).Drop()
	}
	for sys["clients/disconnected"] != "5" || sys["clients/connected"] != "1" || sys["clients/total"] != "6" {
		look()
	}
	if n := b.Stats().Queued.Inflight; n < 0 {
		t.Errorf("%d are in flight", n)
	}
}

// The authority of devices is replaced in its file: those of the one before are
// disconnected and let in no more, those of the next are, over WebSocket as well.
// A list of revoked certificates counts in the same way.
func TestLessonAuthorityOfDevices(t *testing.T) {
	for _, kind := range []string{appliance.ListenTLS, appliance.ListenWebSocketTLS} {
		t.Run(kind, func(t *testing.T) {
			p, next := newPKI(t), newPKI(t)
			device := p.issue(t, "device")
			trusted := p.path("trusted.crt")
			copyFile(t, trusted, p.CertificateFile())
			b := start(t, func(c *appliance.Config) {
				l := p.listener("tls", kind)
				l.ClientCA = trusted
				revoking := p.listener("crl", kind)
				revoking.ClientCA, revoking.CRL = p.CertificateFile(), p.CRLFile()
				c.Listeners = append(c.Listeners, l, revoking)
			})
			config := p.clientConfig(t, "device")
			connect := func(listener, id string) error {
				address := map[string]string{appliance.ListenTLS: "mqtts://" + b.Addr(listener), appliance.ListenWebSocketTLS: "wss://" + b.Addr(listener) + "/mqtt"}[kind]
				nc, err := brokerdial.Secure(t.Context(), address, patience, config)
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = nc.Close() })
				con := brokertest.Clean(wire.V5, id)
				if _, err := nc.Write(wire.AppendConnect(nil, &con)); err != nil {
					return err
				}
				_ = nc.SetReadDeadline(time.Now().Add(patience))
				_, err = nc.Read(make([]byte, 1))
				return err
			}
			connected := func(ids ...string) {
				t.Helper()
				brokertest.WaitFor(t, fmt.Sprint("only ", ids, " to be connected"), func() bool {
					list := b.Clients()
					for _, id := range ids {
						if !slices.ContainsFunc(list, func(c statsd.Client) bool { return c.ID == id }) {
							return false
						}
					}
					return len(list) == len(ids)
				})
			}
			if err := errors.Join(connect("tls", "first"), connect("crl", "listed")); err != nil {
				t.Fatal(err)
			}
			connected("first", "listed")

			copyFile(t, trusted, next.CertificateFile())
			if err := b.ReloadCertificates(); err != nil {
				t.Fatal(err)
			}
			connected("listed")
			if err := connect("tls", "second"); err == nil {
				t.Error("a device of the authority before was let in")
			}
			if err := p.RevokeCertificate(device.Certificate); err != nil {
				t.Fatal(err)
			}
			if err := b.ReloadCertificates(); err != nil {
				t.Fatal(err)
			}
			connected()
			if err := connect("crl", "third"); err == nil {
				t.Error("a revoked device was let in")
			}

			i, err := next.IssueClient(certs.Request{Name: "device"})
			if err != nil {
				t.Fatal(err)
			}
			if err := i.Write(p.path("device.crt"), p.path("device.key"), true); err != nil {
				t.Fatal(err)
			}
			config = p.clientConfig(t, "device")
			if err := connect("tls", "fourth"); err != nil {
				t.Errorf("a device of the next authority: %v", err)
			}
			connected("fourth")
		})
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
