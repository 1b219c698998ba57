package e2e_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// bystander is a client that does no harm. It must not notice what others do.
type bystander struct {
	*brokertest.Client
	testing.TB
	n int
}

func newBystander(t testing.TB, b *broker) *bystander {
	t.Helper()
	c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "bystander"))
	c.Subscribe(1, "bystander/#")
	return &bystander{Client: c, TB: t}
}

// unharmed requires that the bystander is served as ever, and has not been
// sent anything by others.
func (y *bystander) unharmed() {
	y.Helper()
	y.n++
	y.Publish("bystander/a", fmt.Sprint(y.n), 1, false)
	y.ExpectMessage("bystander/a", fmt.Sprint(y.n))
	y.ExpectNothing()
}

// verdict decodes a client's frame and says what is wrong with it.
func verdict(f wire.Frame, v wire.Version) (err error) {
	switch f.Type {
	case wire.CONNECT:
		_, err = wire.DecodeConnect(f)
	case wire.PUBLISH:
		_, err = wire.DecodePublish(f, v)
	case wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		_, _, err = wire.DecodeAck(f, v)
	case wire.SUBSCRIBE:
		_, err = wire.DecodeSubscribe(f, v)
	case wire.UNSUBSCRIBE:
		_, err = wire.DecodeUnsubscribe(f, v)
	case wire.PINGREQ:
		err = wire.DecodeEmpty(f)
	case wire.DISCONNECT:
		_, err = wire.DecodeDisconnect(f, v)
	case wire.AUTH:
		_, err = wire.DecodeAuth(f)
	}
	return err
}

// wholePackets are one or more valid packets of every kind that a client sends
// after CONNECT, and CONNECT.
func wholePackets(v wire.Version) map[string][]byte {
	props := []byte("\x03" + text("t") + "\x26" + text("k") + text("v"))
	con := brokertest.Kept(v, "c")
	con.HasUsername, con.Username, con.HasPassword, con.Password = true, "u", true, []byte("p")
	con.Will = &wire.Will{Topic: "w", Payload: []byte("x"), Props: props}
	all := map[string][]byte{
		"CONNECT": wire.AppendConnect(nil, &con),
		"PUBLISH": wire.AppendPublish(nil, &wire.Out{Version: v, QoS: 1, Topic: []byte("a/b"), Props: props, HasExpiry: true, Expiry: 5, Payload: []byte("x")}, 1),
		"PUBACK":  wire.AppendAck(nil, wire.PUBACK, v, 1, wire.UnspecifiedError),
		"PUBREC":  wire.AppendAck(nil, wire.PUBREC, v, 1, wire.Success),
		"PUBREL":  wire.AppendAck(nil, wire.PUBREL, v, 1, wire.PacketIDNotFound),
		"PUBCOMP": wire.AppendAck(nil, wire.PUBCOMP, v, 1, wire.Success),
		"SUBSCRIBE": wire.AppendSubscribe(nil, v, &wire.Subscribe{PacketID: 1, SubscriptionID: 3,
			Filters: []wire.Filter{{Filter: "a/+"}, {Filter: "b/#", QoS: 2}}}),
		"UNSUBSCRIBE": wire.AppendUnsubscribe(nil, v, &wire.Unsubscribe{PacketID: 1, Filters: []string{"a/+", "b"}}),
		"PINGREQ":     wire.AppendPing(nil, wire.PINGREQ),
		"DISCONNECT":  wire.AppendDisconnect(nil, v, wire.DisconnectWithWill, "why"),
	}
	if v == wire.V5 {
		all["AUTH"] = wire.AppendAuth(nil, &wire.Auth{Reason: wire.ReAuthenticate, Method: "m", Data: []byte("d")})
	}
	return all
}

// TestEveryPacketMangled sends every packet of every version cut at every
// byte, with a header that agrees and with one that does not, and with every
// pair of bytes turned into a length that lies. The broker must say of each
// what the decoder says of it, and nobody else may notice.
func TestEveryPacketMangled(t *testing.T) {
	b := start(t, nil)
	y := newBystander(t, b)
	for _, v := range every {
		for name, whole := range wholePackets(v) {
			t.Run(name+", "+v.String(), func(t *testing.T) {
				for _, m := range mangled(whole) {
					mangle(t, b, v, name, m)
				}
			})
			y.unharmed()
		}
	}
	if log := b.log.String(); log != "" {
		t.Errorf("the log complains:\n%.1000s", log)
	}
}

// mangled are the ways in which a short packet can be cut or lie.
func mangled(whole []byte) (all [][]byte) {
	for n := range len(whole) {
		all = append(all, whole[:n])
	}
	for n := range len(whole) - 2 {
		all = append(all, append([]byte{whole[0], byte(n)}, whole[2:2+n]...))
	}
	for i := 1; i < len(whole); i++ {
		for _, lie := range []byte{0, whole[i] - 1, whole[i] + 1, 0x7F, 0x80, 0xFF} {
			m := bytes.Clone(whole)
			if m[i] = lie; i+1 < len(m) && lie == 0xFF { // 65,535
				m[i+1] = lie
			}
			all = append(all, m)
		}
	}
	return all
}

// mangle sends one packet, then closes its half of the connection.
func mangle(t *testing.T, b *broker, v wire.Version, name string, packet []byte) {
	t.Helper()
	c := brokertest.DialRaw(t, b.addr, v)
	defer c.Conn().Close()
	con := brokertest.Clean(v, "c")
	in := packet
	if name != "CONNECT" {
		in = append(wire.AppendConnect(nil, &con), packet...)
	}
	c.Send(in)
	if err := c.Conn().(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest := c.ReadRest()
	if name == "CONNECT" {
		if f, n, err := wire.Scan(packet, 64<<10); err == nil && n > 0 && verdict(f, v) != nil {
			for _, f := range rest {
				if f.Type != wire.CONNACK || len(f.Body) < 2 || f.Body[1] == 0 {
					t.Fatalf("% x: got % x", packet, f.Raw)
				}
			}
		}
		return
	}
	if len(rest) == 0 || rest[0].Type != wire.CONNACK {
		t.Fatalf("% x: no CONNACK", packet)
	}
	// What the decoder refuses first, if anything, is what the client is told.
	var want error
	for left := packet; len(left) > 0 && want == nil; {
		f, n, err := wire.Scan(left, 1<<20)
		if want = err; err != nil || n == 0 {
			break
		}
		if want = verdict(f, v); f.Type == wire.DISCONNECT {
			break
		}
		left = left[n:]
	}
	last := rest[len(rest)-1]
	if want == nil {
		return
	}
	if v < wire.V5 {
		if last.Type == wire.DISCONNECT {
			t.Fatalf("% x: a 3.x client was sent % x", packet, last.Raw)
		}
		return
	}
	d, err := wire.DecodeServerDisconnect(last, v)
	if err != nil || d.Reason < wire.UnspecifiedError {
		t.Fatalf("% x, which is %v: the last word was % x", packet, want, last.Raw)
	}
	if len(rest) == 2 && d.Reason != wire.ReasonOf(want) && name != "AUTH" { // there is no method
		t.Fatalf("% x, which is %v: told %v", packet, want, d.Reason)
	}
}

// Topics of 65,535 levels, and filters of as many, are refused with a reason
// and cost no more than their bytes.
func TestDeepTopics(t *testing.T) {
	b := start(t, nil)
	y := newBystander(t, b)
	deep := strings.Repeat("/", 65535)
	plus := strings.Repeat("+/", 32767) + "+"
	for _, v := range every {
		root := fmt.Sprint("v", byte(v))
		c := brokertest.Dial(t, b.addr, brokertest.Clean(v, root))
		c.Subscribe(0, "+/x", "#")
		want := wire.Success // 3.x has no way to say it
		if v == wire.V5 {
			want = wire.TopicNameInvalid
		}
		for _, qos := range []byte{1, 2} {
			if got := c.PublishOut(wire.Out{QoS: qos, Retain: true, Topic: []byte(deep), Payload: []byte("x")}); got != want {
				t.Errorf("%v: publish at QoS %d: %v", v, qos, got)
			}
		}
		c.PublishOut(wire.Out{Topic: []byte(deep)})
		want = wire.UnspecifiedError
		if v == wire.V5 {
			want = wire.TopicFilterInvalid
		}
		for _, f := range []string{deep, plus, deep[:65533] + "/#", "$share/g/" + deep[:65000]} {
			if got := c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: f}}}); got[0] != want {
				t.Errorf("%v: subscribe to %.10s...: %v", v, f, got)
			}
			c.Unsubscribe(f)
		}
		c.ExpectNothing()
		y.unharmed()
		c.Disconnect()

		con := brokertest.Clean(v, root)
		con.Will = &wire.Will{Topic: deep[:60000], Retain: true, Payload: []byte("x")}
		brokertest.DialAny(t, b.addr, con).Conn().Close()
	}
	brokertest.WaitFor(t, "everybody to be gone", func() bool { return b.Stats().ClientCount == 1 })
	if n := b.Stats().Retained.Messages; n != 0 {
		t.Errorf("%d messages are retained", n)
	}
	y.unharmed()
}

// One SUBSCRIBE may hold as many filters as fit, and the answer has a code for
// each of them.
func TestManyFilters(t *testing.T) {
	b := start(t, nil)
	y := newBystander(t, b)
	for _, v := range every {
		for _, n := range []int{10_000, 90_000} {
			if n > 10_000 && (v != wire.V5 || raceEnabled) {
				continue
			}
			c := brokertest.Dial(t, b.addr, brokertest.Clean(v, "c"))
			s := wire.Subscribe{Filters: make([]wire.Filter, n)}
			names := make([]string, n)
			for i := range s.Filters {
				names[i] = fmt.Sprintf("f/%05d", i)
				s.Filters[i] = wire.Filter{Filter: names[i], QoS: byte(i % 3)}
			}
			granted := 0
			for i, code := range c.SubscribeTo(s) {
				switch code {
				case wire.Reason(i % 3):
					granted++
				case wire.QuotaExceeded, wire.UnspecifiedError: // there is a bound to what a session may hold
				default:
					t.Fatalf("%v: filter %d: %v", v, i, code)
				}
			}
			if n == 10_000 && granted != n || granted == 0 {
				t.Errorf("%v: %d of %d filters are granted", v, granted, n)
			}
			if got := int(b.Stats().Subscriptions.Total); got != granted+1 {
				t.Errorf("%v: %d subscriptions for %d filters", v, got, granted)
			}
			c.Publish(names[granted-1], "x", 0, false)
			c.ExpectMessage(names[granted-1], "x")
			y.unharmed()
			for i, code := range c.Unsubscribe(names...) {
				if code >= wire.UnspecifiedError {
					t.Fatalf("%v: unsubscribe from filter %d: %v", v, i, code)
				}
			}
			if got := b.Stats().Subscriptions.Total; got != 1 {
				t.Errorf("%v: %d subscriptions are left", v, got)
			}
			c.Disconnect()
		}
	}
}

// Properties by the hundred thousand are either refused or carried.
func TestPropertyFloods(t *testing.T) {
	b := start(t, nil)
	y := newBystander(t, b)
	sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub"))
	sub.Subscribe(1, "t")
	empty := []byte("\x26\x00\x00\x00\x00") // a user property without name and value
	flood := func(n int) []byte { return bytes.Repeat(empty, n) }

	c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
	c.PublishOut(wire.Out{QoS: 1, Topic: []byte("t"), Props: flood(200_000), Payload: []byte("x")})
	if d := sub.ExpectMessage("t", "x"); !bytes.Equal(d.Props, flood(200_000)) {
		t.Errorf("%d bytes of properties arrived", len(d.Props))
	}
	sub.Ack(wire.PUBACK, 1)
	y.unharmed()

	// In packets whose properties go nowhere, too.
	long := func(first byte, head string, props []byte, tail string) []byte {
		body := append(append([]byte(head), varint(len(props))...), append(props, tail...)...)
		return append(append([]byte{first}, varint(len(body))...), body...)
	}
	c.Send(long(0x82, id1, flood(200_000), text("a")+"\x00"))
	c.Expect(wire.SUBACK)
	c.Send(long(0xA2, id1, flood(200_000), text("a")))
	c.Expect(wire.UNSUBACK)
	c.Send(long(0x40, id1+"\x00", flood(200_000), ""))
	c.Ping()
	c.Send(long(0xE0, "\x00", flood(200_000), ""))
	if rest := c.ReadRest(); len(rest) > 0 {
		t.Errorf("got % x", rest[0].Raw)
	}
	y.unharmed()

	for name, tc := range map[string]struct {
		b    []byte
		want wire.Reason
	}{
		"subscription identifiers": {long(0x82, id1, bytes.Repeat([]byte("\x0B\x01"), 100_000), text("a")+"\x00"), wire.ProtocolError},
		"content types":            {long(0x30, text("t"), bytes.Repeat([]byte("\x03\x00\x00"), 100_000), ""), wire.ProtocolError},
		"unknown ones":             {long(0x30, text("t"), bytes.Repeat([]byte("\x7F"), 100_000), ""), wire.MalformedPacket},
		"too many bytes":           {long(0x30, text("t"), flood(300_000), ""), wire.PacketTooLarge},
		"a last one that is cut":   {long(0x30, text("t"), append(flood(200_000), 0x26, 0, 9), ""), wire.MalformedPacket},
	} {
		c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "c"))
		_, _ = c.Conn().Write(tc.b) // what is too large is not read to its end
		if got := c.ExpectDisconnect(); got != tc.want {
			t.Errorf("%s: %v instead of %v", name, got, tc.want)
		}
		y.unharmed()
	}

	for n, want := range map[int]wire.Reason{12_000: wire.Success, 14_000: wire.PacketTooLarge} {
		c := brokertest.DialRaw(t, b.addr, wire.V5)
		_, _ = c.Conn().Write(long(0x10, text("MQTT")+"\x05\x02\x00\x00", flood(n), text("many")))
		ack, err := wire.DecodeConnack(c.Expect(wire.CONNACK), wire.V5)
		if err != nil || ack.Reason != want {
			t.Errorf("%d properties in CONNECT: %v, %v", n, ack.Reason, err)
		}
	}
	y.unharmed()
}

// varint is a length as MQTT writes it.
func varint(n int) (b []byte) {
	for n >= 0x80 {
		b, n = append(b, byte(n)|0x80), n>>7
	}
	return append(b, byte(n))
}
