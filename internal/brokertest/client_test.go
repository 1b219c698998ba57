package brokertest_test

import (
	"net"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// script is a broker that answers the n-th frame it gets with the n-th entry,
// and closes the connection after the last. What it got is in got.
type script struct {
	addr string
	got  chan []wire.Frame
}

func newScript(t *testing.T, answers ...[]byte) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &script{addr: ln.Addr().String(), got: make(chan []wire.Frame, 1)}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var frames []wire.Frame
		var buf []byte
		defer func() { s.got <- frames }()
		for len(answers) > 0 {
			chunk := make([]byte, 4096)
			n, err := conn.Read(chunk)
			if err != nil {
				return
			}
			buf = append(buf, chunk[:n]...)
			for len(answers) > 0 {
				f, n, err := wire.Scan(buf, 0)
				if err != nil || n == 0 {
					break
				}
				frames, buf = append(frames, f), buf[n:]
				conn.Write(answers[0])
				answers = answers[1:]
			}
		}
	}()
	return s
}

func connack(v wire.Version) []byte {
	return wire.AppendConnack(nil, v, &wire.Connack{SessionPresent: true})
}

func publish(v wire.Version, qos byte, topic string, id uint16) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: v, QoS: qos, Topic: []byte(topic), Payload: []byte("hello")}, id)
}

func join(frames ...[]byte) []byte {
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

func types(frames []wire.Frame) string {
	var names []string
	for _, f := range frames {
		names = append(names, f.Type.String())
	}
	return strings.Join(names, " ")
}

// TestClient runs the client against scripted brokers in every version.
func TestClient(t *testing.T) {
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			t.Run("messages that come early are kept in order", func(t *testing.T) {
				s := newScript(t,
					connack(v),
					join(publish(v, 0, "a", 0), publish(v, 1, "b", 7), wire.AppendSuback(nil, v, 1, []wire.Reason{1, 1})),
					join(publish(v, 2, "c", 8), wire.AppendAck(nil, wire.PUBACK, v, 2, wire.Success)),
					nil)
				c := brokertest.Dial(t, s.addr, brokertest.Clean(v, "me"))
				if v != wire.V31 && !c.Connack.SessionPresent {
					t.Error("session present is lost")
				}
				c.Subscribe(1, "a", "b")
				c.Publish("x", "y", 1, false)
				c.ExpectMessage("a", "hello")
				if d := c.ExpectMessage("b", "hello"); d.PacketID != 7 || d.QoS != 1 {
					t.Errorf("got %+v", d)
				}
				c.ExpectPublish()
				c.Ack(wire.PUBREC, 8)
				c.ExpectClosed()
				if got := types(<-s.got); got != "CONNECT SUBSCRIBE PUBLISH PUBREC" {
					t.Errorf("the broker got %s", got)
				}
			})
			t.Run("qos 2 goes through its handshake", func(t *testing.T) {
				s := newScript(t, connack(v),
					wire.AppendAck(nil, wire.PUBREC, v, 1, wire.Success),
					wire.AppendAck(nil, wire.PUBCOMP, v, 1, wire.Success))
				c := brokertest.Dial(t, s.addr, brokertest.Clean(v, "me"))
				c.Publish("x", "y", 2, true)
				c.ExpectClosed()
				got := <-s.got
				if types(got) != "CONNECT PUBLISH PUBREL" {
					t.Fatalf("the broker got %s", types(got))
				}
				if p, err := wire.DecodePublish(got[1], v); err != nil || p.QoS != 2 || !p.Retain || string(p.Payload) != "y" {
					t.Errorf("published %+v (%v)", p, err)
				}
			})
			t.Run("nothing is acknowledged unasked", func(t *testing.T) {
				s := newScript(t, join(connack(v), publish(v, 1, "a", 9)), wire.AppendPing(nil, wire.PINGRESP))
				c := brokertest.Dial(t, s.addr, brokertest.Clean(v, "me"))
				c.ExpectPublish()
				c.ExpectNothing()
				c.ExpectClosed()
				if got := types(<-s.got); got != "CONNECT PINGREQ" {
					t.Errorf("the broker got %s", got)
				}
			})
			t.Run("everything is acknowledged when asked", func(t *testing.T) {
				s := newScript(t, connack(v),
					join(publish(v, 1, "a", 9), publish(v, 2, "b", 10), wire.AppendPing(nil, wire.PINGRESP)), nil,
					wire.AppendAck(nil, wire.PUBREL, v, 10, wire.Success), nil)
				c := brokertest.Dial(t, s.addr, brokertest.Clean(v, "me")).AutoAck()
				c.Ping()
				c.ExpectMessage("a", "hello")
				c.ExpectMessage("b", "hello")
				c.ExpectClosed()
				if got := types(<-s.got); got != "CONNECT PINGREQ PUBACK PUBREC PUBCOMP" {
					t.Errorf("the broker got %s", got)
				}
			})
		})
	}
}

func TestClientDisconnectReason(t *testing.T) {
	s := newScript(t, connack(wire.V5), join(publish(wire.V5, 0, "a", 0), wire.AppendDisconnect(nil, wire.V5, wire.SessionTakenOver, "")))
	c := brokertest.Dial(t, s.addr, brokertest.Clean(wire.V5, "me"))
	c.Send(wire.AppendPing(nil, wire.PINGREQ))
	if r := c.ExpectDisconnect(); r != wire.SessionTakenOver {
		t.Errorf("reason %v", r)
	}
}

func TestDialAnyReturnsRefusal(t *testing.T) {
	s := newScript(t, wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.Banned}))
	if c := brokertest.DialAny(t, s.addr, brokertest.Clean(wire.V5, "me")); c.Connack.Reason != wire.Banned {
		t.Errorf("reason %v", c.Connack.Reason)
	}
}

// probe is a testing.TB that remembers a failure instead of failing.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Helper() {}
func (p *probe) Fatalf(string, ...any) {
	p.failed = true
	panic(p)
}

// fails tells whether f fails its test.
func fails(t *testing.T, f func(tb testing.TB)) (failed bool) {
	p := &probe{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(p) {
			panic(r)
		}
		failed = p.failed
	}()
	f(p)
	return false
}

// TestClientFails shows that the helpers fail a test that should fail.
func TestClientFails(t *testing.T) {
	v := wire.V311
	early := join(connack(v), publish(v, 1, "a", 9))
	refused := wire.AppendConnack(nil, v, &wire.Connack{Reason: wire.NotAuthorized})
	connect := brokertest.Clean(v, "me")
	tests := []struct {
		name    string
		answers [][]byte
		do      func(c *brokertest.Client)
	}{
		{"refused", [][]byte{refused}, func(*brokertest.Client) {}},
		{"other type", [][]byte{early}, func(c *brokertest.Client) { c.Expect(wire.SUBACK) }},
		{"other topic", [][]byte{early}, func(c *brokertest.Client) { c.ExpectMessage("b", "hello") }},
		{"other payload", [][]byte{early}, func(c *brokertest.Client) { c.ExpectMessage("a", "bye") }},
		{"nothing expected", [][]byte{early, wire.AppendPing(nil, wire.PINGRESP)}, func(c *brokertest.Client) { c.ExpectNothing() }},
		{"closed early", [][]byte{connack(v)}, func(c *brokertest.Client) { c.ReadFrame() }},
		{"lower qos", [][]byte{connack(v), wire.AppendSuback(nil, v, 1, []wire.Reason{0})}, func(c *brokertest.Client) { c.Subscribe(1, "a") }},
		{"other packet id", [][]byte{connack(v), wire.AppendAck(nil, wire.PUBACK, v, 5, 0)}, func(c *brokertest.Client) { c.Publish("a", "b", 1, false) }},
		{"reserved type", [][]byte{join(connack(v), []byte{0, 0})}, func(c *brokertest.Client) { c.ReadFrame() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, tt.answers...)
			if !fails(t, func(tb testing.TB) { tt.do(brokertest.Dial(tb, s.addr, connect)) }) {
				t.Error("the test went on")
			}
		})
	}
}

func TestWaitFor(t *testing.T) {
	n := 0
	brokertest.WaitFor(t, "three polls", func() bool { n++; return n == 3 })
	if n != 3 {
		t.Errorf("polled %d times", n)
	}
}
