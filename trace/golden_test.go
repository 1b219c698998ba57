package trace_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/wire"
)

var update = flag.Bool("update", false, "write testdata/packets.txt anew")

// step is a packet that passes.
type step struct {
	out bool
	raw []byte
}

func in(raw []byte) step  { return step{false, raw} }
func out(raw []byte) step { return step{true, raw} }

func frame(t testing.TB, raw []byte) wire.Frame {
	t.Helper()
	f, n, err := wire.Scan(raw, 0)
	if err != nil || n != len(raw) {
		t.Fatalf("%x is not one packet: %d, %v", raw, n, err)
	}
	return f
}

// walk leads steps through a tap, a millisecond apart.
func walk(t testing.TB, tap *trace.Tap, steps []step) {
	for _, s := range steps {
		time.Sleep(time.Millisecond)
		if s.out {
			tap.Sent(s.raw, nil, 0)
		} else {
			tap.Received(frame(t, s.raw))
		}
	}
}

func start(t testing.TB, q trace.Query) *trace.Trace {
	t.Helper()
	tr, err := trace.New(1).Start(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

func text(list []trace.Entry) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.Text() + "\n")
	}
	return b.String()
}

// every is a conversation with every packet type that version v has, and all of
// their fields and properties.
func every(v wire.Version) []step {
	user := []wire.UserProperty{{Key: "site", Value: "north, 2"}}
	will := &wire.Will{QoS: 1, Retain: true, Topic: "will/t", Payload: []byte("gone"), Delay: 5, Expiry: 60, HasExpiry: true,
		Props: []byte{0x01, 1, 0x03, 0, 1, 'x', 0x08, 0, 2, 'r', 't', 0x09, 0, 1, 0xFF}}
	con := &wire.Connect{Version: v, ClientID: "dev-1", KeepAlive: 30, HasUsername: true, Username: "u ser", HasPassword: true,
		Password: []byte("topsecret"), Will: will, SessionExpiry: 300, ReceiveMaximum: 10, MaximumPacketSize: 4096, TopicAliasMaximum: 5,
		RequestResponseInfo: true, HasAuthMethod: true, AuthMethod: "SCRAM", AuthData: []byte("topsecret"), User: user}
	ack := &wire.Connack{SessionPresent: true, HasSessionExpiry: true, SessionExpiry: 60, ReceiveMaximum: 20, HasMaximumQoS: true, MaximumQoS: 1,
		RetainUnavailable: true, MaximumPacketSize: 1 << 20, AssignedClientID: "a1", TopicAliasMaximum: 3, ReasonString: "fine", User: user,
		WildcardUnavailable: true, SubIDsUnavailable: true, SharedUnavailable: true, HasServerKeepAlive: true, ServerKeepAlive: 20,
		ResponseInfo: "resp/", ServerReference: "other", AuthMethod: "SCRAM", AuthData: []byte("topsecret")}
	props := []byte{0x01, 1, 0x03, 0, 4, 't', 'e', 'x', 't', 0x08, 0, 2, 'r', 't', 0x09, 0, 2, 1, 2, 0x26, 0, 1, 'k', 0, 1, 'v'}
	pub := func(qos byte, id uint16, o wire.Out) []byte {
		o.Version, o.QoS = v, qos
		return wire.AppendPublish(nil, &o, id)
	}
	sub := &wire.Subscribe{PacketID: 4, SubscriptionID: 7, User: user, Filters: []wire.Filter{{Filter: "a/+/b", QoS: 2, NoLocal: true,
		RetainAsPublished: true, RetainHandling: 2}, {Filter: "x, y"}, {Filter: "$share/g/z/#", QoS: 1}}}
	steps := []step{
		in(wire.AppendConnect(nil, con)),
		out(wire.AppendConnack(nil, v, ack)),
		in(pub(0, 0, wire.Out{Topic: []byte("a/1/b"), Payload: []byte("hello"), Props: props, HasExpiry: true, Expiry: 9})),
		in(pub(1, 1, wire.Out{Topic: []byte("a/2"), Dup: true, Retain: true, Payload: []byte{0, 1, 0xFF}})),
		out(wire.AppendAck(nil, wire.PUBACK, v, 1, wire.NoMatchingSubscribers)),
		in(pub(2, 2, wire.Out{Topic: []byte("a/3"), Payload: []byte("exactly, once")})),
		out(wire.AppendAck(nil, wire.PUBREC, v, 2, 0)),
		in(wire.AppendAck(nil, wire.PUBREL, v, 2, 0)),
		out(wire.AppendAck(nil, wire.PUBCOMP, v, 2, wire.PacketIDNotFound)),
		in(wire.AppendSubscribe(nil, v, sub)),
		out(wire.AppendSuback(nil, v, 4, []wire.Reason{2, wire.NotAuthorized, 0})),
		out(pub(2, 1, wire.Out{Topic: []byte("a/x/b"), Alias: 1, SubIDs: []uint32{7, 300}, Payload: []byte("down")})),
		in(wire.AppendAck(nil, wire.PUBREC, v, 1, wire.QuotaExceeded)),
		in(wire.AppendUnsubscribe(nil, v, &wire.Unsubscribe{PacketID: 5, Filters: []string{"a/+/b", "q"}})),
		out(wire.AppendUnsuback(nil, v, 5, []wire.Reason{0, wire.NoSubscriptionExisted})),
		in(wire.AppendPing(nil, wire.PINGREQ)),
		out(wire.AppendPing(nil, wire.PINGRESP)),
	}
	if v == wire.V5 {
		steps = append(steps,
			out(pub(1, 3, wire.Out{Alias: 1, Payload: []byte("short")})),
			in([]byte{0x40, 0x12, 0, 3, 0x97, 14, 0x1F, 0, 2, 'n', 'o', 0x26, 0, 1, 'k', 0, 3, 'v', 'a', 'l'}),
			in(pub(0, 0, wire.Out{Topic: []byte("in/t"), Alias: 9})),
			in(pub(0, 0, wire.Out{Alias: 9})),
			in(pub(0, 0, wire.Out{Alias: 8})),
			in(wire.AppendAuth(nil, &wire.Auth{Reason: wire.ReAuthenticate, Method: "SCRAM", Data: []byte("topsecret")})),
			out(wire.AppendAuth(nil, &wire.Auth{Reason: wire.Success, Method: "SCRAM", Data: []byte("topsecret")})),
			out(wire.AppendDisconnectFields(nil, &wire.Disconnect{Reason: wire.SessionTakenOver, ReasonString: "bye", ServerReference: "b2", User: user})))
	}
	return append(steps, in(wire.AppendDisconnect(nil, v, wire.DisconnectWithWill, "off")))
}

// broken are packets that are wrong, and where.
func broken() []struct {
	name string
	v    wire.Version
	raw  []byte
} {
	return []struct {
		name string
		v    wire.Version
		raw  []byte
	}{
		{"cut topic", wire.V311, []byte{0x30, 4, 0, 9, 'a', 'b'}},
		{"wildcard in topic", wire.V311, []byte{0x30, 6, 0, 3, 'a', '/', '#', 'x'}},
		{"packet identifier 0", wire.V311, []byte{0x32, 5, 0, 1, 'a', 0, 0}},
		{"property that PUBLISH has not", wire.V5, []byte{0x30, 8, 0, 1, 'a', 2, 0x24, 0, 'p', 'p'}},
		{"property twice", wire.V5, []byte{0x30, 8, 0, 1, 'a', 4, 0x01, 0, 0x01, 0}},
		{"payload not UTF-8", wire.V5, []byte{0x30, 8, 0, 1, 'a', 2, 0x01, 1, 0xFF, 0xFE}},
		{"cut SUBSCRIBE", wire.V5, []byte{0x82, 5, 0, 1, 0, 0, 0}},
		{"retain handling 3", wire.V5, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x30}},
		{"QoS 3", wire.V311, []byte{0x82, 6, 0, 1, 0, 1, 'a', 3}},
		{"no filter", wire.V311, []byte{0x82, 2, 0, 1}},
		{"ack with a strange reason", wire.V5, []byte{0x40, 3, 0, 1, 0x04}},
		{"ack with a tail", wire.V311, []byte{0x40, 4, 0, 1, 0, 0}},
		{"filter not UTF-8", wire.V5, []byte{0xA2, 7, 0, 1, 0, 0, 2, 0xC3, 0x28}},
		{"ping with a body", wire.V311, []byte{0xC0, 1, 7}},
		{"AUTH without a method", wire.V5, []byte{0xF0, 2, 0x18, 0}},
		{"AUTH with cut data", wire.V5, append([]byte{0xF0, 21, 0x18, 19, 0x15, 0, 1, 'm', 0x16, 0, 20}, "topsecret---"...)},
	}
}

func TestEveryPacketType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
			for _, payload := range []int{0, 8} {
				tr := start(t, trace.Query{Clients: []string{"dev-1"}, Payload: payload})
				tap := tr.Join(trace.Party{Client: "dev-1", Remote: "192.0.2.1:4711", Listener: "local"})
				walk(t, tap, every(v))
				tap.Ended("normal", nil, 0, 0)
				fmt.Fprintf(&b, "== MQTT %v, %d bytes of payload\n%s", v, payload, text(tr.Take()))
			}
		}
		for _, c := range broken() {
			tr := start(t, trace.Query{Clients: []string{"dev-1"}})
			tap := tr.Join(trace.Party{Client: "dev-1", Remote: "192.0.2.1:4711", Listener: "local", Version: c.v, Connected: time.Now(), Before: 100})
			tap.Received(frame(t, c.raw))
			tap.Broken(nil, errors.New("said already"))
			tap.Ended("protocol_error", errors.New("what the broker says"), 3, 4)
			fmt.Fprintf(&b, "== %s, MQTT %v\n%s", c.name, c.v, text(tr.Take()))
		}
		got := []byte(b.String())
		if bytes.Contains(got, []byte("topsecret")) || bytes.Contains(got, []byte("746f70736563726574")) {
			t.Errorf("a secret is shown:\n%s", got)
		}
		if *update {
			if err := os.WriteFile("testdata/packets.txt", got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile("testdata/packets.txt")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
			for i := range g {
				if i >= len(w) || g[i] != w[i] {
					t.Fatalf("line %d:\ngot  %s\nwant %s", i+1, g[i], append(w, "nothing")[min(i, len(w))])
				}
			}
			t.Fatalf("%d lines, want %d", len(g), len(w))
		}
	})
}

// TestSecretsAreNeverShown looks for passwords and authentication data in every
// form of output, as they are, in hexadecimal and in base64.
func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "topsecret"
	forms := []string{secret, "746f70736563726574", "dG9wc2VjcmV0"}
	for _, payload := range []int{0, trace.MaxPayload} {
		tr := start(t, trace.Query{Clients: []string{"dev-1"}, Payload: payload})
		shown := func() string {
			list := tr.Take()
			doc, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			return string(doc) + text(list)
		}
		for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
			var all strings.Builder
			for _, s := range every(v) {
				tap := tr.Join(trace.Party{Client: "dev-1", Version: v})
				if s.out {
					tap.Sent(s.raw, nil, 0)
				} else {
					tap.Received(frame(t, s.raw))
				}
				all.WriteString(shown())
				if !bytes.Contains(s.raw, []byte(secret)) {
					continue
				}
				// What is broken is shown by its first bytes. Whatever is wrong, and
				// wherever what has come ends, there is nothing of a secret in them.
				for i := 2; i < len(s.raw); i++ {
					raw := bytes.Clone(s.raw)
					raw[i] ^= 0x55
					tap := tr.Join(trace.Party{Client: "dev-1", Version: v})
					if f, n, err := wire.Scan(raw, 0); err == nil && n == len(raw) && !s.out {
						tap.Received(f)
					}
					tap.Broken(raw, errors.New("it is broken"))
					tap.Broken(raw[:i], errors.New("it is broken"))
					for _, e := range tr.Take() {
						if e.Fault != nil && (strings.Contains(e.Fault.Head, "746f70") || strings.Contains(e.Fault.What, secret)) {
							t.Fatalf("damaged at %d: %+v", i, e.Fault)
						}
					}
				}
			}
			out := all.String()
			if !strings.Contains(out, "CONNACK") || v == wire.V5 && !strings.Contains(out, "AUTH") {
				t.Fatalf("nothing is shown: %s", out)
			}
			for _, form := range forms {
				if strings.Contains(out, form) {
					t.Errorf("MQTT %v: %s in %s", v, form, out)
				}
			}
		}
	}
}
