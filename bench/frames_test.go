package bench

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// TestBatchRoundTrip checks patched frames with the full decoder, and the
// load's own parser against it.
func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SampledFrom([]wire.Version{wire.V311, wire.V5}).Draw(t, "version")
		qos := byte(rapid.IntRange(0, 2).Draw(t, "qos"))
		topic := rapid.StringMatching(`[a-z/]{1,200}`).Draw(t, "topic")
		size := rapid.IntRange(MinPayload, 20000).Draw(t, "payload")
		publisher := rapid.Uint32().Draw(t, "publisher")
		b := newBatch(3, frameSpec{version: v, qos: qos, base: topic, topics: 1, payload: size, publisher: publisher})
		seqs := rapid.SliceOfN(rapid.Uint32(), 3, 3).Draw(t, "seqs")
		at := rapid.Int64Range(0, 1<<60).Draw(t, "at")
		for i, seq := range seqs {
			b.set(i, seq, at+int64(i))
		}
		rest := b.bytes(b.cap())
		for i, seq := range seqs {
			f, n, err := wire.Scan(rest, 0)
			if err != nil || n == 0 {
				t.Fatalf("frame %d: %d bytes, %v", i, n, err)
			}
			rest = rest[n:]
			p, err := wire.DecodePublish(f, v)
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if string(p.Topic) != topic || p.QoS != qos || len(p.Payload) != size {
				t.Fatalf("frame %d: topic %q, qos %d, %d bytes", i, p.Topic, p.QoS, len(p.Payload))
			}
			if qos > 0 && p.PacketID != packetID(seq) {
				t.Fatalf("frame %d: packet id %d", i, p.PacketID)
			}
			want := message{whole: true, qos: qos, packetID: p.PacketID, size: size, publisher: publisher, seq: seq, at: at + int64(i)}
			if m, ok := parseMessage(f, v); !ok || m != want {
				t.Fatalf("frame %d: parsed %+v (%v) instead of %+v", i, m, ok, want)
			}
		}
		if len(rest) != 0 {
			t.Fatalf("%d bytes too many", len(rest))
		}
	})
}

func TestPacketIDsAreNeverZero(t *testing.T) {
	for _, seq := range []uint32{0, 1, 65534, 65535, 65536, 131069, 131070, 1<<32 - 1} {
		if packetID(seq) == 0 {
			t.Errorf("message %d has packet id 0", seq)
		}
	}
	if packetID(65534) != 65535 || packetID(65535) != 1 {
		t.Error("packet ids do not wrap at 65535")
	}
}

// FuzzParseMessage: whatever a broker sends, parsing does not panic and
// accepts nothing that is too short for a header.
func FuzzParseMessage(f *testing.F) {
	for _, v := range []wire.Version{wire.V311, wire.V5} {
		for qos := range byte(3) {
			f.Add(newBatch(1, frameSpec{version: v, qos: qos, base: "a/b", topics: 1, payload: MinPayload, publisher: 1}).bytes(1), v == wire.V5)
		}
	}
	f.Add([]byte{0x30, 0}, false)
	f.Add([]byte{0x30, 3, 0, 0, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, v5 bool) {
		v := wire.V311
		if v5 {
			v = wire.V5
		}
		fr, n, err := wire.Scan(b, 0)
		if err != nil || n == 0 || fr.Type != wire.PUBLISH {
			return
		}
		m, ok := parseMessage(fr, v)
		if ok && (m.size < headerSize || m.size > len(fr.Body)) {
			t.Fatalf("%d bytes of payload in a body of %d", m.size, len(fr.Body))
		}
		if d, err := wire.DecodeDelivery(fr, v); err == nil && ok != (len(d.Payload) >= headerSize) {
			t.Fatalf("a payload of %d bytes gives %v", len(d.Payload), ok)
		}
	})
}
