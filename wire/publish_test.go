package wire_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

func TestDecodePublish(t *testing.T) {
	type want = wire.Publish
	for _, c := range []struct {
		name string
		v    wire.Version
		raw  []byte
		want want
	}{
		{"QoS 0", wire.V311, []byte("\x30\x05\x00\x01apl"),
			want{Topic: []byte("a"), Payload: []byte("pl"), AliasAt: -1, ExpiryAt: -1}},
		{"all flags", wire.V31, []byte("\x3d\x05\x00\x01a\x12\x34"),
			want{Dup: true, QoS: 2, Retain: true, Topic: []byte("a"), PacketID: 0x1234, Payload: []byte{}, AliasAt: -1, ExpiryAt: -1}},
		{"empty properties", wire.V5, []byte("\x30\x05\x00\x01a\x00p"),
			want{Topic: []byte("a"), Payload: []byte("p"), Props: []byte{}, AliasAt: -1, ExpiryAt: -1}},
		{"expiry then alias", wire.V5, packet(0x32, str("a"), u16(7), props{2, u32(60), 0x23, u16(5)}, "p"),
			want{QoS: 1, PacketID: 7, Topic: []byte("a"), Payload: []byte("p"), Props: body(2, u32(60), 0x23, u16(5)),
				Alias: 5, AliasAt: 5, Expiry: 60, HasExpiry: true, ExpiryAt: 0}},
		{"alias alone", wire.V5, packet(0x30, str(""), props{0x23, u16(65535)}),
			want{Topic: []byte{}, Payload: []byte{}, Props: body(0x23, u16(65535)), Alias: 65535, AliasAt: 0, ExpiryAt: -1}},
		{"expiry 0", wire.V5, packet(0x30, str("a"), props{3, str("t"), 2, u32(0)}),
			want{Topic: []byte("a"), Payload: []byte{}, Props: body(3, str("t"), 2, u32(0)), HasExpiry: true, AliasAt: -1, ExpiryAt: 4}},
		{"UTF-8 payload", wire.V5, packet(0x30, str("a"), props{1, 1}, "ü\x00"),
			want{Topic: []byte("a"), Payload: []byte("ü\x00"), Props: body(1, 1), AliasAt: -1, ExpiryAt: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := wire.DecodePublish(scan(t, c.raw), c.v)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestDecodePublishRules(t *testing.T) {
	checkRules(t, []rule{
		{"no topic", wire.V311, packet(0x30), wire.MalformedPacket, ""},
		{"topic cut", wire.V311, packet(0x30, 0, 2, "a"), wire.MalformedPacket, ""},
		{"empty topic", wire.V311, packet(0x30, str(""), "p"), wire.ProtocolError, "[MQTT-4.7.3-1]"},
		{"empty topic, no alias", wire.V5, packet(0x30, str(""), props{}, "p"), wire.ProtocolError, "[MQTT-3.3.2-1]"},
		{"wildcard", wire.V311, packet(0x30, str("a/+")), wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"wildcard in 5", wire.V5, packet(0x30, str("#"), props{}), wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"null in topic", wire.V311, packet(0x30, str("a\x00b")), wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"bad UTF-8 in topic", wire.V311, packet(0x30, str("a\xff")), wire.MalformedPacket, "[MQTT-1.5.4-1]"},
		{"no packet id", wire.V311, packet(0x32, str("a"), 1), wire.MalformedPacket, ""},
		{"packet id 0", wire.V311, packet(0x34, str("a"), u16(0)), wire.ProtocolError, "[MQTT-2.2.1-3]"},
		{"no property length", wire.V5, packet(0x30, str("a")), wire.MalformedPacket, ""},
		{"properties cut", wire.V5, packet(0x30, str("a"), 3, 1), wire.MalformedPacket, ""},
		{"property length not minimal", wire.V5, packet(0x30, str("a"), "\x80\x00"), wire.MalformedPacket, "[MQTT-1.5.5-1]"},
		{"alias 0", wire.V5, packet(0x30, str("a"), props{0x23, u16(0)}), wire.TopicAliasInvalid, "[MQTT-3.3.2-8]"},
		{"alias twice", wire.V5, packet(0x30, str("a"), props{0x23, u16(1), 0x23, u16(1)}), wire.ProtocolError, ""},
		{"expiry twice", wire.V5, packet(0x30, str("a"), props{2, u32(1), 2, u32(1)}), wire.ProtocolError, ""},
		{"subscription identifier", wire.V5, packet(0x30, str("a"), props{0x0B, 1}), wire.ProtocolError, "[MQTT-3.3.4-6]"},
		{"format 2", wire.V5, packet(0x30, str("a"), props{1, 2}), wire.ProtocolError, ""},
		{"payload not UTF-8", wire.V5, packet(0x30, str("a"), props{1, 1}, "\xff"), wire.PayloadFormatInvalid, ""},
		{"wildcard in response topic", wire.V5, packet(0x30, str("a"), props{8, str("r/#")}), wire.TopicNameInvalid, "[MQTT-3.3.2-14]"},
		{"empty response topic", wire.V5, packet(0x30, str("a"), props{8, str("")}), wire.TopicNameInvalid, "[MQTT-4.7.3-1]"},
		{"bad UTF-8 in content type", wire.V5, packet(0x30, str("a"), props{3, str("\xff")}), wire.MalformedPacket, "[MQTT-1.5.4-1]"},
		{"null in user property", wire.V5, packet(0x30, str("a"), props{0x26, str("k"), str("\x00")}), wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"session expiry", wire.V5, packet(0x30, str("a"), props{0x11, u32(1)}), wire.MalformedPacket, ""},
		{"unknown property", wire.V5, packet(0x30, str("a"), props{0x7F, 1}), wire.MalformedPacket, ""},
		{"property identifier of two bytes", wire.V5, packet(0x30, str("a"), props{"\x82\x01", 1}), wire.MalformedPacket, ""},
	})
}

func TestDecodeDelivery(t *testing.T) {
	raw := packet(0x30, str("a"), props{0x0B, 1, 0x0B, "\xff\xff\xff\x7f", 2, u32(9)}, "p")
	d, err := wire.DecodeDelivery(scan(t, raw), wire.V5)
	if err != nil || !reflect.DeepEqual(d.SubIDs, []uint32{1, 268435455}) || d.Expiry != 9 || string(d.Topic) != "a" {
		t.Errorf("got %+v, %v", d, err)
	}
	_, err = wire.DecodeDelivery(scan(t, packet(0x30, str("a"), props{0x0B, 0})), wire.V5)
	checkError(t, err, wire.ProtocolError, "")
	_, err = wire.DecodeDelivery(scan(t, packet(0x30, str("a"), props{0x0B, "\x80\x00"})), wire.V5)
	checkError(t, err, wire.MalformedPacket, "[MQTT-1.5.5-1]")
}

func TestAppendForward(t *testing.T) {
	alias, expiry, typ, user := []any{0x23, u16(5)}, []any{2, u32(60)}, []any{3, str("t")}, []any{0x26, str("k"), str("v")}
	join := func(parts ...[]any) (all props) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	keep := body(join(typ, user)...)
	for name, in := range map[string]props{
		"neither":              join(typ, user),
		"alias first":          join(alias, typ, user),
		"alias last":           join(typ, user, alias),
		"expiry first":         join(expiry, typ, user),
		"expiry last":          join(typ, user, expiry),
		"both, alias first":    join(alias, typ, expiry, user),
		"both, expiry first":   join(expiry, typ, alias, user),
		"both side by side":    join(typ, expiry, alias, user),
		"both at the ends":     join(alias, typ, user, expiry),
		"both at ends, turned": join(expiry, typ, user, alias),
	} {
		t.Run(name, func(t *testing.T) {
			raw := packet(0x30, str("a"), in, "p")
			p, err := wire.DecodePublish(scan(t, raw), wire.V5)
			if err != nil {
				t.Fatal(err)
			}
			got := wire.AppendForward([]byte("x"), &p)
			clear(raw)
			if string(got) != "x"+string(keep) {
				t.Errorf("got % x, want % x", got[1:], keep)
			}
		})
	}
}

func TestAppendPublish(t *testing.T) {
	for _, c := range []struct {
		name string
		out  wire.Out
		want []byte
	}{
		{"3.1.1", wire.Out{Version: wire.V311, Topic: []byte("a"), Payload: []byte("p"), Props: []byte{3, 0, 0},
			HasExpiry: true, SubIDs: []uint32{1}, Alias: 1, Dup: true}, packet(0x30, str("a"), "p")},
		{"3.1, QoS 1, flags", wire.Out{Version: wire.V31, QoS: 1, Dup: true, Retain: true, Topic: []byte("a")},
			packet(0x3B, str("a"), u16(9))},
		{"5, plain", wire.Out{Version: wire.V5, QoS: 2, Topic: []byte("a"), Payload: []byte("p")},
			packet(0x34, str("a"), u16(9), props{}, "p")},
		{"5, everything", wire.Out{Version: wire.V5, Topic: []byte("a"), Payload: []byte("p"), Props: body(3, str("t")),
			HasExpiry: true, Expiry: 60, SubIDs: []uint32{1, 128}, Alias: 2},
			packet(0x30, str("a"), props{0x23, u16(2), 2, u32(60), 0x0B, 1, 0x0B, 0x80, 1, 3, str("t")}, "p")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := wire.AppendPublish([]byte("x"), &c.out, 9)
			if string(got) != "x"+string(c.want) {
				t.Errorf("got  % x\nwant % x", got[1:], c.want)
			}
			if n := wire.PublishSize(&c.out); n != len(c.want) {
				t.Errorf("PublishSize %d, want %d", n, len(c.want))
			}
		})
	}
}

func TestAppendPublishRefusesWhatIsNoPacket(t *testing.T) {
	huge := make([]byte, 1<<28)
	for name, out := range map[string]wire.Out{
		"topic":   {Version: wire.V311, Topic: huge[:65536]},
		"QoS":     {Version: wire.V311, Topic: []byte("a"), QoS: 3},
		"payload": {Version: wire.V311, Topic: []byte("a"), Payload: huge},
	} {
		if got := wire.AppendPublish([]byte("x"), &out, 1); !bytes.Equal(got, []byte("x")) {
			t.Errorf("%s: appended %d bytes", name, len(got)-1)
		}
	}
	largest := wire.Out{Version: wire.V311, Topic: []byte("a"), Payload: huge[:1<<28-1-3]}
	if n := wire.PublishSize(&largest); n != wire.MaxFrameSize {
		t.Errorf("largest packet has %d bytes, want %d", n, wire.MaxFrameSize)
	}
}
