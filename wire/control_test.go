package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// vectors are packets other than CONNECT and PUBLISH with what they mean.
var vectors = []struct {
	name string
	v    wire.Version
	raw  []byte
	want any
}{
	{"puback", wire.V311, []byte("\x40\x02\x12\x34"), ack{wire.PUBACK, 0x1234, wire.Success}},
	{"pubrel", wire.V31, []byte("\x62\x02\x00\x01"), ack{wire.PUBREL, 1, wire.Success}},
	{"pubrec short", wire.V5, []byte("\x50\x02\x00\x01"), ack{wire.PUBREC, 1, wire.Success}},
	{"pubrec reason", wire.V5, []byte("\x50\x03\x00\x01\x97"), ack{wire.PUBREC, 1, wire.QuotaExceeded}},
	{"subscribe", wire.V311, []byte("\x82\x0b\x00\x01\x00\x01a\x00\x00\x02b#\x02"),
		wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "a"}, {Filter: "b#", QoS: 2}}}},
	{"subscribe options", wire.V5, packet(0x82, u16(5), props{0x0B, 0x80, 1, 0x26, str("k"), str("v")}, str("a"), 0x2D, str(""), 0x12),
		wire.Subscribe{PacketID: 5, SubscriptionID: 128, User: []wire.UserProperty{{Key: "k", Value: "v"}}, Filters: []wire.Filter{
			{Filter: "a", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2}, {QoS: 2, RetainHandling: 1}}}},
	{"unsubscribe", wire.V31, packet(0xA2, u16(5), str("a"), str("b/#")),
		wire.Unsubscribe{PacketID: 5, Filters: []string{"a", "b/#"}}},
	{"unsubscribe 5", wire.V5, packet(0xA2, u16(5), props{}, str("")),
		wire.Unsubscribe{PacketID: 5, Filters: []string{""}}},
	{"suback", wire.V311, packet(0x90, u16(5), 0, 1, 2, 0x80), suback{5, []wire.Reason{0, 1, 2, 0x80}}},
	{"suback 5", wire.V5, packet(0x90, u16(5), props{}, 0, 0x8F), suback{5, []wire.Reason{0, wire.TopicFilterInvalid}}},
	{"unsuback", wire.V311, packet(0xB0, u16(5)), unsuback{5, nil}},
	{"unsuback 5", wire.V5, packet(0xB0, u16(5), props{}, 0, 0x11), unsuback{5, []wire.Reason{0, wire.NoSubscriptionExisted}}},
	{"pingreq", wire.V311, []byte("\xc0\x00"), wire.PINGREQ},
	{"pingresp", wire.V5, []byte("\xd0\x00"), wire.PINGRESP},
	{"disconnect", wire.V311, []byte("\xe0\x00"), wire.Disconnect{}},
	{"disconnect 5 short", wire.V5, []byte("\xe0\x00"), wire.Disconnect{}},
	{"disconnect 5 reason", wire.V5, []byte("\xe0\x01\x8b"), wire.Disconnect{Reason: wire.ServerShuttingDown}},
	{"disconnect 5 fields", wire.V5, packet(0xE0, 4, props{0x11, u32(0), 0x1F, str("why"), 0x1C, str("there"), 0x26, str("k"), str("v")}),
		wire.Disconnect{Reason: wire.DisconnectWithWill, HasExpiry: true, ReasonString: "why", ServerReference: "there",
			User: []wire.UserProperty{{Key: "k", Value: "v"}}}},
	{"auth", wire.V5, packet(0xF0, 0x18, props{0x15, str("m"), 0x16, str("\x00d")}),
		wire.Auth{Reason: wire.ContinueAuthentication, Method: "m", Data: []byte("\x00d")}},
	{"connack", wire.V311, []byte("\x20\x02\x01\x00"), wire.Connack{SessionPresent: true}},
	{"connack refused", wire.V31, []byte("\x20\x02\x00\x02"), wire.Connack{Reason: wire.ClientIDNotValid}},
	{"connack 5", wire.V5, packet(0x20, 0, 0x87, props{}), wire.Connack{Reason: wire.NotAuthorized}},
	{"connack 5 all", wire.V5, packet(0x20, 1, 0, props{
		0x11, u32(1), 0x21, u16(2), 0x24, 1, 0x25, 0, 0x27, u32(3), 0x12, str("id"), 0x22, u16(4), 0x1F, str("why"),
		0x28, 0, 0x29, 0, 0x2A, 0, 0x13, u16(5), 0x1A, str("info"), 0x1C, str("ref"), 0x15, str("m"), 0x16, str("d"), 0x26, str("k"), str("v")}),
		wire.Connack{SessionPresent: true, HasSessionExpiry: true, SessionExpiry: 1, ReceiveMaximum: 2, HasMaximumQoS: true,
			MaximumQoS: 1, RetainUnavailable: true, MaximumPacketSize: 3, AssignedClientID: "id", TopicAliasMaximum: 4,
			ReasonString: "why", WildcardUnavailable: true, SubIDsUnavailable: true, SharedUnavailable: true,
			HasServerKeepAlive: true, ServerKeepAlive: 5, ResponseInfo: "info", ServerReference: "ref", AuthMethod: "m",
			AuthData: []byte("d"), User: []wire.UserProperty{{Key: "k", Value: "v"}}}},
}

func TestControlVectors(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.name, func(t *testing.T) {
			raw := append([]byte{}, c.raw...)
			got, err := decode(scan(t, raw), c.v)
			clear(raw) // control packets own their memory
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
			if back := encode(c.want, c.v); string(back) != string(c.raw) {
				t.Errorf("encoded % x\nwant    % x", back, c.raw)
			}
		})
	}
}

// Forms that a peer may send and that our encoders do not choose.
func TestControlOtherForms(t *testing.T) {
	for _, c := range []struct {
		name string
		v    wire.Version
		raw  []byte
		want any
	}{
		{"puback with properties", wire.V5, packet(0x40, u16(1), 0x10, props{0x1F, str("r"), 0x26, str("k"), str("v")}),
			ack{wire.PUBACK, 1, wire.NoMatchingSubscribers}},
		{"pubcomp with empty properties", wire.V5, packet(0x70, u16(1), 0, props{}), ack{wire.PUBCOMP, 1, wire.Success}},
		{"unsubscribe with properties", wire.V5, packet(0xA2, u16(1), props{0x26, str(""), str("")}, str("a")),
			wire.Unsubscribe{PacketID: 1, Filters: []string{"a"}}},
		{"suback with properties", wire.V5, packet(0x90, u16(1), props{0x1F, str("r")}, 1), suback{1, []wire.Reason{1}}},
		{"disconnect with empty properties", wire.V5, packet(0xE0, 0, props{}), wire.Disconnect{}},
		{"connack with defaults spelt out", wire.V5, packet(0x20, 0, 0, props{0x25, 1, 0x28, 1, 0x29, 1, 0x2A, 1}), wire.Connack{}},
		{"connack 3.1 with unused byte", wire.V31, packet(0x20, 0xFF, 0), wire.Connack{}},
		{"auth with reason string", wire.V5, packet(0xF0, 0, props{0x15, str(""), 0x1F, str("r"), 0x26, str(""), str("")}), wire.Auth{}},
	} {
		if got, err := decode(scan(t, c.raw), c.v); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestControlRules(t *testing.T) {
	rules := []rule{
		{"ack without id", wire.V311, packet(0x40, 1), wire.MalformedPacket, ""},
		{"ack of id 0", wire.V311, packet(0x40, u16(0)), wire.ProtocolError, "[MQTT-2.2.1-3]"},
		{"ack with reason in 3.1.1", wire.V311, packet(0x40, u16(1), 0), wire.MalformedPacket, ""},
		{"ack cut in its properties", wire.V5, packet(0x40, u16(1), 0, 2, 0x1F), wire.MalformedPacket, ""},
		{"ack with trailing byte", wire.V5, packet(0x40, u16(1), 0, props{}, 0), wire.MalformedPacket, ""},
		{"ack with reason string twice", wire.V5, packet(0x40, u16(1), 0, props{0x1F, str(""), 0x1F, str("")}), wire.ProtocolError, ""},
		{"puback reason", wire.V5, packet(0x40, u16(1), 0x01), wire.ProtocolError, "[MQTT-3.4.2-1]"},
		{"pubrec reason", wire.V5, packet(0x50, u16(1), 0x92), wire.ProtocolError, "[MQTT-3.5.2-1]"},
		{"pubrel reason", wire.V5, packet(0x62, u16(1), 0x10), wire.ProtocolError, "[MQTT-3.6.2-1]"},
		{"pubcomp reason", wire.V5, packet(0x70, u16(1), 0x80), wire.ProtocolError, "[MQTT-3.7.2-1]"},

		// The packet that crashes the process behind us, and its kin.
		{"subscribe without options", wire.V5, []byte("\x82\x05\x00\x01\x00\x00\x00"), wire.MalformedPacket, ""},
		{"subscribe cut in the filter", wire.V5, []byte("\x82\x05\x00\x01\x00\x00\x01"), wire.MalformedPacket, ""},
		{"subscribe cut in the length", wire.V5, []byte("\x82\x04\x00\x01\x00\x00"), wire.MalformedPacket, ""},
		{"subscribe without properties", wire.V5, []byte("\x82\x02\x00\x01"), wire.MalformedPacket, ""},
		{"subscribe without id", wire.V5, []byte("\x82\x01\x00"), wire.MalformedPacket, ""},
		{"subscribe id 0", wire.V311, packet(0x82, u16(0), str("a"), 0), wire.ProtocolError, "[MQTT-2.2.1-3]"},
		{"subscribe to nothing", wire.V311, packet(0x82, u16(1)), wire.ProtocolError, "[MQTT-3.8.3-2]"},
		{"subscribe to nothing in 5", wire.V5, packet(0x82, u16(1), props{}), wire.ProtocolError, "[MQTT-3.8.3-2]"},
		{"subscribe QoS 3", wire.V311, packet(0x82, u16(1), str("a"), 3), wire.ProtocolError, ""},
		{"subscribe QoS 3 in 5", wire.V5, packet(0x82, u16(1), props{}, str("a"), 3), wire.ProtocolError, ""},
		{"subscribe reserved bits", wire.V311, packet(0x82, u16(1), str("a"), 4), wire.MalformedPacket, "[MQTT-3.8.3-5]"},
		{"subscribe reserved bits in 5", wire.V5, packet(0x82, u16(1), props{}, str("a"), 0x40), wire.MalformedPacket, "[MQTT-3.8.3-5]"},
		{"subscribe retain handling 3", wire.V5, packet(0x82, u16(1), props{}, str("a"), 0x30), wire.ProtocolError, ""},
		{"subscribe no local to a share", wire.V5, packet(0x82, u16(1), props{}, str("$share/g/a"), 4), wire.ProtocolError, "[MQTT-3.8.3-4]"},
		{"subscribe identifier 0", wire.V5, packet(0x82, u16(1), props{0x0B, 0}, str("a"), 0), wire.ProtocolError, ""},
		{"subscribe identifier twice", wire.V5, packet(0x82, u16(1), props{0x0B, 1, 0x0B, 2}, str("a"), 0), wire.ProtocolError, ""},
		{"subscribe identifier of five bytes", wire.V5, packet(0x82, u16(1), props{0x0B, "\x80\x80\x80\x80\x01"}, str("a"), 0), wire.MalformedPacket, "[MQTT-1.5.5-1]"},
		{"subscribe filter not UTF-8", wire.V311, packet(0x82, u16(1), str("\xff"), 0), wire.MalformedPacket, "[MQTT-1.5.4-1]"},
		{"subscribe second filter cut", wire.V311, packet(0x82, u16(1), str("a"), 0, 0, 3, "b"), wire.MalformedPacket, ""},

		{"unsubscribe id 0", wire.V311, packet(0xA2, u16(0), str("a")), wire.ProtocolError, "[MQTT-2.2.1-3]"},
		{"unsubscribe from nothing", wire.V5, packet(0xA2, u16(1), props{}), wire.ProtocolError, "[MQTT-3.10.3-2]"},
		{"unsubscribe with identifier", wire.V5, packet(0xA2, u16(1), props{0x0B, 1}, str("a")), wire.MalformedPacket, ""},
		{"unsubscribe null", wire.V311, packet(0xA2, u16(1), str("a\x00")), wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"unsubscribe cut", wire.V311, packet(0xA2, u16(1), 0, 2, "a"), wire.MalformedPacket, ""},

		{"suback without codes", wire.V311, packet(0x90, u16(1)), wire.ProtocolError, ""},
		{"suback code", wire.V5, packet(0x90, u16(1), props{}, 3), wire.ProtocolError, ""},
		{"suback code of 5 in 3.1.1", wire.V311, packet(0x90, u16(1), 0x87), wire.ProtocolError, ""},
		{"unsuback code", wire.V5, packet(0xB0, u16(1), props{}, 1), wire.ProtocolError, ""},
		{"unsuback with codes in 3.1.1", wire.V311, packet(0xB0, u16(1), 0), wire.MalformedPacket, ""},

		{"ping with body", wire.V311, packet(0xC0, 0), wire.MalformedPacket, ""},
		{"disconnect with body in 3.1.1", wire.V311, packet(0xE0, 0), wire.MalformedPacket, ""},
		{"disconnect reason", wire.V5, packet(0xE0, 1), wire.ProtocolError, "[MQTT-3.14.2-1]"},
		{"disconnect expiry twice", wire.V5, packet(0xE0, 0, props{0x11, u32(1), 0x11, u32(1)}), wire.ProtocolError, ""},
		{"disconnect trailing byte", wire.V5, packet(0xE0, 0, props{}, 0), wire.MalformedPacket, ""},

		{"auth without body", wire.V5, packet(0xF0), wire.ProtocolError, ""},
		{"auth without properties", wire.V5, packet(0xF0, 0x18), wire.ProtocolError, ""},
		{"auth without method", wire.V5, packet(0xF0, 0x18, props{0x16, str("d")}), wire.ProtocolError, ""},
		{"auth reason", wire.V5, packet(0xF0, 0x80, props{0x15, str("m")}), wire.ProtocolError, "[MQTT-3.15.2-1]"},
		{"auth trailing byte", wire.V5, packet(0xF0, 0x18, props{0x15, str("m")}, 0), wire.MalformedPacket, ""},

		{"connack flags", wire.V311, packet(0x20, 2, 0), wire.MalformedPacket, "[MQTT-3.2.2-1]"},
		{"connack session present and refused", wire.V311, packet(0x20, 1, 5), wire.ProtocolError, "[MQTT-3.2.2-6]"},
		{"connack return code 6", wire.V311, packet(0x20, 0, 6), wire.MalformedPacket, ""},
		{"connack reason", wire.V5, packet(0x20, 0, 0x8B, props{}), wire.ProtocolError, "[MQTT-3.2.2-8]"},
		{"connack maximum QoS 2", wire.V5, packet(0x20, 0, 0, props{0x24, 2}), wire.ProtocolError, ""},
		{"connack without properties", wire.V5, packet(0x20, 0, 0), wire.MalformedPacket, ""},
		{"connack trailing byte", wire.V311, packet(0x20, 0, 0, 0), wire.MalformedPacket, ""},
	}
	checkRules(t, rules)
}

func TestDecodeServerDisconnect(t *testing.T) {
	f := scan(t, packet(0xE0, 0x8E, props{0x11, u32(1)}))
	_, err := wire.DecodeServerDisconnect(f, wire.V5)
	checkError(t, err, wire.ProtocolError, "[MQTT-3.14.2-2]")
	d, err := wire.DecodeServerDisconnect(scan(t, []byte("\xe0\x01\x8e")), wire.V5)
	if err != nil || d.Reason != wire.SessionTakenOver {
		t.Errorf("got %+v, %v", d, err)
	}
}

// Each decoder refuses every other type's frame.
func TestDecodeWrongType(t *testing.T) {
	raw := packet(0xD0, u16(1), 0)
	f := scan(t, raw)
	for name, call := range map[string]func() error{
		"connect":     func() error { _, err := wire.DecodeConnect(f); return err },
		"connack":     func() error { _, err := wire.DecodeConnack(f, wire.V5); return err },
		"publish":     func() error { _, err := wire.DecodePublish(f, wire.V5); return err },
		"ack":         func() error { _, _, err := wire.DecodeAck(f, wire.V5); return err },
		"subscribe":   func() error { _, err := wire.DecodeSubscribe(f, wire.V5); return err },
		"suback":      func() error { _, _, err := wire.DecodeSuback(f, wire.V5); return err },
		"unsubscribe": func() error { _, err := wire.DecodeUnsubscribe(f, wire.V5); return err },
		"unsuback":    func() error { _, _, err := wire.DecodeUnsuback(f, wire.V5); return err },
		"disconnect":  func() error { _, err := wire.DecodeDisconnect(f, wire.V5); return err },
		"auth":        func() error { _, err := wire.DecodeAuth(f); return err },
	} {
		t.Run(name, func(t *testing.T) { checkError(t, call(), wire.ProtocolError, "") })
	}
}

func TestAppendOlderForms(t *testing.T) {
	all := []wire.Reason{0, 1, 2, wire.UnspecifiedError, wire.NotAuthorized, wire.WildcardSubsNotSupported}
	for _, c := range []struct {
		name      string
		got, want []byte
	}{
		{"suback 3.1.1", wire.AppendSuback(nil, wire.V311, 1, all), packet(0x90, u16(1), 0, 1, 2, 0x80, 0x80, 0x80)},
		{"unsuback 3.1.1", wire.AppendUnsuback(nil, wire.V311, 1, all), packet(0xB0, u16(1))},
		{"puback 3.1.1", wire.AppendAck(nil, wire.PUBACK, wire.V311, 1, wire.NotAuthorized), packet(0x40, u16(1))},
		{"disconnect 3.1.1", wire.AppendDisconnect(nil, wire.V311, wire.ServerBusy, "why"), packet(0xE0)},
		{"disconnect 5", wire.AppendDisconnect(nil, wire.V5, wire.ServerBusy, "why"), packet(0xE0, 0x89, props{0x1F, str("why")})},
		{"subscribe 3.1.1", wire.AppendSubscribe(nil, wire.V311, &wire.Subscribe{PacketID: 1, SubscriptionID: 5,
			Filters: []wire.Filter{{Filter: "a", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2}}}), packet(0x82, u16(1), str("a"), 1)},
		{"connack 3.1", wire.AppendConnack(nil, wire.V31, &wire.Connack{SessionPresent: true}), packet(0x20, 0, 0)},
		{"connack refused", wire.AppendConnack(nil, wire.V5, &wire.Connack{SessionPresent: true, Reason: wire.Banned}), packet(0x20, 0, 0x8A, props{})},
	} {
		if string(c.got) != string(c.want) {
			t.Errorf("%s: got % x, want % x", c.name, c.got, c.want)
		}
	}
}

func TestAppendRefusesTooManyCodes(t *testing.T) {
	codes := make([]wire.Reason, 1<<28)
	if got := wire.AppendSuback([]byte("x"), wire.V5, 1, codes); string(got) != "x" {
		t.Errorf("SUBACK: appended %d bytes", len(got)-1)
	}
	if got := wire.AppendUnsuback([]byte("x"), wire.V5, 1, codes); string(got) != "x" {
		t.Errorf("UNSUBACK: appended %d bytes", len(got)-1)
	}
}

func TestLongStringsAreCutAtACharacter(t *testing.T) {
	for _, pad := range []int{0, 1, 2, 3} {
		long := strings.Repeat("x", pad) + strings.Repeat("😀", 20000)
		raw := wire.AppendDisconnect(nil, wire.V5, wire.ServerBusy, long)
		d, err := wire.DecodeDisconnect(scan(t, raw), wire.V5)
		if err != nil || !strings.HasPrefix(long, d.ReasonString) || len(d.ReasonString) < 65532 {
			t.Errorf("padding %d: %d bytes, %v", pad, len(d.ReasonString), err)
		}
	}
}
