package wire_test

import (
	"reflect"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// connect builds a CONNECT of version 3.1.1 or 5 by hand.
func connect(level, flags int, rest ...any) []byte {
	return packet(0x10, append([]any{str("MQTT"), level, flags, u16(30)}, rest...)...)
}

func connect31(flags int, rest ...any) []byte {
	return packet(0x10, append([]any{str("MQIsdp"), 3, flags, u16(30)}, rest...)...)
}

func TestDecodeConnect(t *testing.T) {
	type want = wire.Connect
	for _, c := range []struct {
		name string
		raw  []byte
		want want
	}{
		{"3.1.1 kept session", []byte("\x10\x0d\x00\x04MQTT\x04\x00\x00\x1e\x00\x01c"),
			want{Version: wire.V311, KeepAlive: 30, ClientID: "c", SessionExpiry: wire.NoExpiry}},
		{"3.1.1 without client id", connect(4, 2, str("")), want{Version: wire.V311, CleanStart: true, KeepAlive: 30}},
		{"3.1.1 everything", connect(4, 0xEE, str("c"), str("w/t"), str("w\x00p"), str("u"), str("\xff\x00")),
			want{Version: wire.V311, CleanStart: true, KeepAlive: 30, ClientID: "c", HasUsername: true, HasPassword: true,
				Username: "u", Password: []byte("\xff\x00"), Will: &wire.Will{QoS: 1, Retain: true, Topic: "w/t", Payload: []byte("w\x00p")}}},
		{"3.1 long client id", connect31(2, str("123456789012345678901234567890")),
			want{Version: wire.V31, CleanStart: true, KeepAlive: 30, ClientID: "123456789012345678901234567890"}},
		{"3.1 flagged names missing", connect31(0xC2, str("c")),
			want{Version: wire.V31, CleanStart: true, KeepAlive: 30, ClientID: "c"}},
		{"3.1 flagged password missing", connect31(0xC2, str("c"), str("u")),
			want{Version: wire.V31, CleanStart: true, KeepAlive: 30, ClientID: "c", HasUsername: true, Username: "u"}},
		{"3.1 unused bits", connect31(0x3B, str("c")),
			want{Version: wire.V31, CleanStart: true, KeepAlive: 30, ClientID: "c"}},
		{"5 without properties", connect(5, 0, props{}, str("")), want{Version: wire.V5, KeepAlive: 30}},
		{"5 password alone", connect(5, 0x40, props{}, str("c"), str("")),
			want{Version: wire.V5, KeepAlive: 30, ClientID: "c", HasPassword: true, Password: []byte{}}},
		{"5 everything", connect(5, 0x16, props{
			0x11, u32(100), 0x21, u16(20), 0x27, u32(4096), 0x22, u16(10), 0x19, 1, 0x17, 0,
			0x26, str("a"), str("1"), 0x15, str("m"), 0x16, str("\x00d"), 0x26, str("a"), str("2")},
			str("c"), props{1, 1, 0x18, u32(5), 3, str("t"), 2, u32(7), 8, str("r"), 9, str("\xff"), 0x26, str("k"), str("v")},
			str("w"), str("")),
			want{Version: wire.V5, CleanStart: true, KeepAlive: 30, ClientID: "c", SessionExpiry: 100, ReceiveMaximum: 20,
				MaximumPacketSize: 4096, TopicAliasMaximum: 10, RequestResponseInfo: true, HasAuthMethod: true, AuthMethod: "m",
				AuthData: []byte("\x00d"), User: []wire.UserProperty{{"a", "1"}, {"a", "2"}},
				Will: &wire.Will{QoS: 2, Topic: "w", Payload: []byte{}, Delay: 5, Expiry: 7, HasExpiry: true,
					Props: body(1, 1, 3, str("t"), 8, str("r"), 9, str("\xff"), 0x26, str("k"), str("v"))}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want.ReceiveMaximum == 0 {
				c.want.ReceiveMaximum = 65535
			}
			if c.want.AuthData == nil {
				c.want.RequestProblemInfo = true
			}
			got, err := wire.DecodeConnect(scan(t, c.raw))
			clear(c.raw) // the result must own its memory
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v (will %+v), %v\nwant %+v (will %+v)", got, got.Will, err, c.want, c.want.Will)
			}
		})
	}
}

func TestDecodeConnectRules(t *testing.T) {
	v5 := func(p props) []byte { return connect(5, 2, p, str("c")) }
	will := func(p props) []byte { return connect(5, 6, props{}, str("c"), p, str("w"), str("\xff")) }
	rules := []rule{
		{"wrong protocol name", 0, packet(0x10, str("HTTP"), 4, 2, u16(0), str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-1]"},
		{"protocol name in lower case", 0, packet(0x10, str("mqtt"), 4, 2, u16(0), str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-1]"},
		{"level 6", wire.V311, connect(6, 2, str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-2]"},
		{"level 3 named MQTT", wire.V311, connect(3, 2, str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-2]"},
		{"level of a bridge", wire.V311, connect(0x84, 2, str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-2]"},
		{"level 4 named MQIsdp", wire.V311, packet(0x10, str("MQIsdp"), 4, 2, u16(0), str("c")), wire.UnsupportedProtocolVersion, "[MQTT-3.1.2-2]"},
		{"null in protocol name", 0, packet(0x10, str("MQ\x00T"), 4, 2, u16(0), str("c")), wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"no body", 0, packet(0x10), wire.MalformedPacket, ""},
		{"reserved flag", wire.V311, connect(4, 3, str("c")), wire.MalformedPacket, "[MQTT-3.1.2-3]"},
		{"reserved flag in 5", wire.V5, connect(5, 3, props{}, str("c")), wire.MalformedPacket, "[MQTT-3.1.2-3]"},
		{"will QoS 3", wire.V311, connect(4, 0x1E, str("c"), str("w"), str("")), wire.MalformedPacket, "[MQTT-3.1.2-12]"},
		{"will QoS 3 in 3.1", wire.V31, connect31(0x1E, str("c"), str("w"), str("")), wire.MalformedPacket, "[MQTT-3.1.2-12]"},
		{"will QoS without will", wire.V311, connect(4, 0x0A, str("c")), wire.MalformedPacket, "[MQTT-3.1.2-11]"},
		{"will retain without will", wire.V5, connect(5, 0x22, props{}, str("c")), wire.MalformedPacket, "[MQTT-3.1.2-13]"},
		{"password without user name", wire.V311, connect(4, 0x42, str("c"), str("p")), wire.MalformedPacket, "[MQTT3-3.1.2-22]"},
		{"password without user name in 3.1", wire.V31, connect31(0x42, str("c"), str("p")), wire.MalformedPacket, "[MQTT3-3.1.2-22]"},
		{"no client id without clean session", wire.V311, connect(4, 0, str("")), wire.ClientIDNotValid, "[MQTT3-3.1.3-8]"},
		{"no client id in 3.1", wire.V31, connect31(2, str("")), wire.ClientIDNotValid, ""},
		{"client id not UTF-8", wire.V311, connect(4, 2, str("\xff")), wire.MalformedPacket, "[MQTT-1.5.4-1]"},
		{"client id cut", wire.V311, connect(4, 2, 0, 5, "c"), wire.MalformedPacket, ""},
		{"user name missing", wire.V311, connect(4, 0x82, str("c")), wire.MalformedPacket, ""},
		{"user name not UTF-8", wire.V311, connect(4, 0x82, str("c"), str("\xc0\x80")), wire.MalformedPacket, "[MQTT-1.5.4-1]"},
		{"password missing", wire.V311, connect(4, 0xC2, str("c"), str("u")), wire.MalformedPacket, ""},
		{"user name cut in 3.1", wire.V31, connect31(0x82, str("c"), 0, 9, "u"), wire.MalformedPacket, ""},
		{"will topic missing", wire.V311, connect(4, 6, str("c")), wire.MalformedPacket, ""},
		{"will payload missing", wire.V311, connect(4, 6, str("c"), str("w")), wire.MalformedPacket, ""},
		{"will topic empty", wire.V311, connect(4, 6, str("c"), str(""), str("")), wire.TopicNameInvalid, "[MQTT-4.7.3-1]"},
		{"will topic with wildcard", wire.V311, connect(4, 6, str("c"), str("a/#"), str("")), wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"will topic with null", wire.V311, connect(4, 6, str("c"), str("a\x00"), str("")), wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"trailing byte", wire.V311, connect(4, 2, str("c"), 0), wire.MalformedPacket, ""},
		{"trailing byte in 5", wire.V5, connect(5, 2, props{}, str("c"), 0), wire.MalformedPacket, ""},
		{"trailing byte in 3.1", wire.V31, connect31(2, str("c"), 0), wire.MalformedPacket, ""},
		{"no property length", wire.V5, connect(5, 2), wire.MalformedPacket, ""},
		{"receive maximum 0", wire.V5, v5(props{0x21, u16(0)}), wire.ProtocolError, ""},
		{"maximum packet size 0", wire.V5, v5(props{0x27, u32(0)}), wire.ProtocolError, ""},
		{"request problem information 2", wire.V5, v5(props{0x17, 2}), wire.ProtocolError, ""},
		{"request response information 2", wire.V5, v5(props{0x19, 2}), wire.ProtocolError, ""},
		{"authentication data alone", wire.V5, v5(props{0x16, str("d")}), wire.ProtocolError, ""},
		{"empty authentication data alone", wire.V5, v5(props{0x16, str("")}), wire.ProtocolError, ""},
		{"session expiry twice", wire.V5, v5(props{0x11, u32(1), 0x11, u32(1)}), wire.ProtocolError, ""},
		{"topic alias", wire.V5, v5(props{0x23, u16(1)}), wire.MalformedPacket, ""},
		{"will delay outside the will", wire.V5, v5(props{0x18, u32(1)}), wire.MalformedPacket, ""},
		{"will delay twice", wire.V5, will(props{0x18, u32(1), 0x18, u32(1)}), wire.ProtocolError, ""},
		{"will with session expiry", wire.V5, will(props{0x11, u32(1)}), wire.MalformedPacket, ""},
		{"will with topic alias", wire.V5, will(props{0x23, u16(1)}), wire.MalformedPacket, ""},
		{"will not UTF-8", wire.V5, will(props{1, 1}), wire.PayloadFormatInvalid, ""},
		{"will response topic with wildcard", wire.V5, will(props{8, str("+")}), wire.TopicNameInvalid, "[MQTT-3.3.2-14]"},
		{"will properties missing", wire.V5, connect(5, 6, props{}, str("c")), wire.MalformedPacket, ""},
	}
	checkRules(t, rules)
	for _, r := range rules {
		if c, _ := wire.DecodeConnect(scan(t, r.raw)); c.Version != r.v {
			t.Errorf("%s: the answer would be of version %d, want %d", r.name, c.Version, r.v)
		}
	}
}

func TestDecodeConnectManyUserProperties(t *testing.T) {
	var p props
	for range 200_000 {
		p = append(p, 0x26, str("k"), str("v"))
	}
	c, err := wire.DecodeConnect(scan(t, connect(5, 2, p, str("c"))))
	if err != nil || len(c.User) != 200_000 || c.User[199_999] != (wire.UserProperty{Key: "k", Value: "v"}) {
		t.Errorf("%d properties, %v", len(c.User), err)
	}
}

func TestAppendConnect(t *testing.T) {
	for _, c := range []struct {
		name string
		in   wire.Connect
		want []byte
	}{
		{"3.1", wire.Connect{Version: wire.V31, CleanStart: true, KeepAlive: 30, ClientID: "c"}, connect31(2, str("c"))},
		{"3.1.1 with will", wire.Connect{Version: wire.V311, KeepAlive: 30, ClientID: "c", HasUsername: true, Username: "u",
			HasPassword: true, Password: []byte("p"), Will: &wire.Will{QoS: 2, Retain: true, Topic: "w", Payload: []byte("x")}},
			connect(4, 0xF4, str("c"), str("w"), str("x"), str("u"), str("p"))},
		{"5 with defaults", wire.Connect{Version: wire.V5, KeepAlive: 30, ReceiveMaximum: 65535, RequestProblemInfo: true},
			connect(5, 0, props{}, str(""))},
		{"5 with will", wire.Connect{Version: wire.V5, KeepAlive: 30, RequestProblemInfo: true, SessionExpiry: 9,
			Will: &wire.Will{Topic: "w", Delay: 1, HasExpiry: true, Expiry: 2, Props: body(1, 0)}},
			connect(5, 4, props{0x11, u32(9)}, str(""), props{0x18, u32(1), 2, u32(2), 1, 0}, str("w"), str(""))},
	} {
		if got := wire.AppendConnect([]byte("x"), &c.in); string(got) != "x"+string(c.want) {
			t.Errorf("%s:\ngot  % x\nwant % x", c.name, got[1:], c.want)
		}
	}
}
