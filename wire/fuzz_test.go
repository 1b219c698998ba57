package wire_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

func FuzzScan(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.raw, 0)
		f.Add(append(bytes.Clone(s.raw), 0xC0, 0), len(s.raw))
	}
	f.Add([]byte("\x30\xff\xff\xff\x7f"), 100)
	f.Fuzz(func(t *testing.T, b []byte, max int) {
		fr, n, err := wire.Scan(b, max)
		size, known := wire.FrameSize(b)
		switch {
		case err != nil:
			if n != 0 || wire.ReasonOf(err) < wire.UnspecifiedError {
				t.Fatalf("%d bytes with %v", n, err)
			}
			return
		case n == 0:
			if known && size <= len(b) {
				t.Fatalf("%d bytes are there, frame has %d", len(b), size)
			}
			return
		}
		if !known || size != n || n > len(b) || max > 0 && n > max {
			t.Fatalf("frame of %d bytes, announced %d, limit %d", n, size, max)
		}
		if !bytes.Equal(fr.Raw, b[:n]) || !bytes.HasSuffix(fr.Raw, fr.Body) || byte(fr.Type)<<4|fr.Flags != b[0] {
			t.Fatalf("frame %+v of % x", fr, b[:n])
		}
		// Packets are found the same with nothing behind and with one byte less.
		if _, m, err := wire.Scan(b[:n], n); m != n || err != nil {
			t.Fatalf("alone: %d bytes, %v", m, err)
		}
		if _, m, err := wire.Scan(b[:n-1], 0); m != 0 || err != nil {
			t.Fatalf("cut: %d bytes, %v", m, err)
		}
	})
}

// fuzzDecoder feeds bodies of the given types to decode; what is accepted must
// encode to itself.
func fuzzDecoder(f *testing.F, types ...wire.Type) {
	for _, s := range samples() {
		for i, typ := range types {
			if fr := scan(f, s.raw); fr.Type == typ {
				f.Add(byte(s.v), byte(i)<<4|fr.Flags, fr.Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, version, header byte, b []byte) {
		v := versions[int(version)%len(versions)]
		h := byte(types[int(header>>4)%len(types)])<<4 | header&15
		fr, n, err := wire.Scan(packet(int(h), b), 0)
		if err != nil || n == 0 {
			return
		}
		kept := bytes.Clone(b)
		got, err := decode(fr, v)
		checkStable(t, got, err, v)
		if !bytes.Equal(fr.Body, kept) {
			t.Fatal("decoding changed the frame")
		}
	})
}

func FuzzDecodeConnect(f *testing.F)     { fuzzDecoder(f, wire.CONNECT) }
func FuzzDecodeConnack(f *testing.F)     { fuzzDecoder(f, wire.CONNACK) }
func FuzzDecodePublish(f *testing.F)     { fuzzDecoder(f, wire.PUBLISH) }
func FuzzDecodeSubscribe(f *testing.F)   { fuzzDecoder(f, wire.SUBSCRIBE) }
func FuzzDecodeSuback(f *testing.F)      { fuzzDecoder(f, wire.SUBACK) }
func FuzzDecodeUnsubscribe(f *testing.F) { fuzzDecoder(f, wire.UNSUBSCRIBE) }
func FuzzDecodeUnsuback(f *testing.F)    { fuzzDecoder(f, wire.UNSUBACK) }
func FuzzDecodeDisconnect(f *testing.F)  { fuzzDecoder(f, wire.DISCONNECT) }
func FuzzDecodeAuth(f *testing.F)        { fuzzDecoder(f, wire.AUTH) }
func FuzzDecodeEmpty(f *testing.F)       { fuzzDecoder(f, wire.PINGREQ, wire.PINGRESP) }
func FuzzDecodeAck(f *testing.F) {
	fuzzDecoder(f, wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP)
}

// FuzzDecodeDelivery also holds the two decoders of PUBLISH together: what a
// client may send, a server may; what only a server may has identifiers.
func FuzzDecodeDelivery(f *testing.F) {
	for _, s := range samples() {
		if fr := scan(f, s.raw); fr.Type == wire.PUBLISH {
			f.Add(byte(s.v), fr.Flags, fr.Body)
		}
	}
	f.Add(byte(2), byte(0), body(str("a"), props{0x0B, 1, 0x0B, "\xff\x7f", 2, u32(1)}, "p"))
	f.Fuzz(func(t *testing.T, version, flags byte, b []byte) {
		v := versions[int(version)%len(versions)]
		fr, n, err := wire.Scan(packet(0x30|int(flags&15), b), 0)
		if err != nil || n == 0 {
			return
		}
		d, err := wire.DecodeDelivery(fr, v)
		p, clientErr := wire.DecodePublish(fr, v)
		if err != nil {
			if clientErr == nil {
				t.Fatalf("a client may send it, a server: %v", err)
			}
			return
		}
		if (clientErr == nil) != (len(d.SubIDs) == 0) {
			t.Fatalf("identifiers %v, from a client: %v", d.SubIDs, clientErr)
		}
		if clientErr == nil && !reflect.DeepEqual(p, d.Publish) {
			t.Fatalf("server reads %+v, client %+v", p, d.Publish)
		}
		// The identifiers stay in the properties, in their order.
		m := meaning(&d.Publish)
		again, err := wire.DecodeDelivery(scan(t, wire.AppendPublish(nil, m.out(v), m.id)), v)
		if err != nil || meaning(&again.Publish) != m || !reflect.DeepEqual(again.SubIDs, d.SubIDs) {
			t.Fatalf("got %+v, %v\nwant %+v", again, err, d)
		}
	})
}

func FuzzMatchTopic(f *testing.F) {
	f.Add("a/#", "a")
	f.Add("+/#", "zz")
	f.Add("$SYS/+", "$SYS/a")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		got := wire.MatchTopic(filter, topic) // whatever the strings
		if wire.ValidFilter(filter) != nil || wire.ValidTopicString(topic) != nil {
			return
		}
		if want := matchModel(filter, topic); got != want {
			t.Fatalf("MatchTopic(%q, %q) = %v", filter, topic, got)
		}
	})
}
