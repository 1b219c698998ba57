package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// TestPlainPublish holds the short way against the long one.
func TestPlainPublish(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := wire.Out{
			Version: rapid.SampledFrom([]wire.Version{wire.V31, wire.V311, wire.V5}).Draw(t, "version"),
			QoS:     byte(rapid.IntRange(1, 2).Draw(t, "qos")),
			Retain:  rapid.Bool().Draw(t, "retain"),
			Topic:   []byte(strings.Repeat("t", rapid.IntRange(1, 300).Draw(t, "topic"))),
		}
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(16_000, wire.MaxPlain)).Draw(t, "payload")
		o.Payload = bytes.Repeat([]byte{7}, min(size, wire.MaxPlain-len(o.Topic)))
		id := rapid.Uint16Range(1, 65535).Draw(t, "id")
		before := []byte("before")
		want := wire.AppendPublish(bytes.Clone(before), &o, id)
		if got := wire.AppendPlainPublish(bytes.Clone(before), o.Version, o.QoS, o.Retain, id, o.Topic, o.Payload); !bytes.Equal(got, want) {
			t.Fatalf("plain: %x\nlong:  %x", got, want)
		}
	})
}

// TestDecodeAfter decodes one after the other into one Publish, and is told the
// topic before; nothing of that may show in what comes out.
func TestDecodeAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p wire.Publish
		known := ""
		for range rapid.IntRange(1, 6).Draw(t, "frames") {
			v := rapid.SampledFrom([]wire.Version{wire.V311, wire.V5}).Draw(t, "version")
			topic := rapid.SampledFrom([]string{"a", "plant/7", "plant/8", "", "a+b", "a\x00b", "\xff"}).Draw(t, "topic")
			raw := wire.AppendPublish(nil, &wire.Out{Version: v, QoS: byte(rapid.IntRange(0, 2).Draw(t, "qos")), Topic: []byte(topic),
				HasExpiry: rapid.Bool().Draw(t, "expires"), Expiry: 9, Alias: uint16(rapid.IntRange(0, 1).Draw(t, "alias")),
				Payload: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "payload")}, 1)
			if cut := rapid.IntRange(0, 20).Draw(t, "cut"); cut == 0 && len(raw) > 3 {
				raw = raw[:len(raw)-2]
				raw[1] -= 2
			}
			f, n, err := wire.Scan(raw, 0)
			if err != nil || n != len(raw) {
				continue
			}
			want, wantErr := wire.DecodePublish(f, v)
			same, err := p.Decode(&f, v, known)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("topic %q after %q: %v; want %v", topic, known, err, wantErr)
			}
			if err != nil {
				continue
			}
			if !bytes.Equal(p.Topic, want.Topic) || !bytes.Equal(p.Payload, want.Payload) || !bytes.Equal(p.Props, want.Props) ||
				p.PacketID != want.PacketID || p.QoS != want.QoS || p.Alias != want.Alias || p.AliasAt != want.AliasAt ||
				p.HasExpiry != want.HasExpiry || p.Expiry != want.Expiry || p.ExpiryAt != want.ExpiryAt {
				t.Fatalf("%+v; want %+v", p, want)
			}
			if same != (topic != "" && topic == known) {
				t.Fatalf("topic %q after %q: same is %v", topic, known, same)
			}
			if topic != "" {
				known = topic
			}
		}
	})
}
