package wire_test

import (
	"bytes"
	"testing"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

func TestScanHeaders(t *testing.T) {
	// Table 2-2: the flags that each type may have. [MQTT-2.1.3-1]
	legal := map[wire.Type][]byte{
		wire.PUBLISH: {0, 1, 2, 3, 4, 5, 10, 11, 12, 13},
		wire.PUBREL:  {2}, wire.SUBSCRIBE: {2}, wire.UNSUBSCRIBE: {2},
		wire.CONNECT: {0}, wire.CONNACK: {0}, wire.PUBACK: {0}, wire.PUBREC: {0}, wire.PUBCOMP: {0},
		wire.SUBACK: {0}, wire.UNSUBACK: {0}, wire.PINGREQ: {0}, wire.PINGRESP: {0},
		wire.DISCONNECT: {0}, wire.AUTH: {0},
	}
	for h := range 256 {
		typ, flags := wire.Type(h>>4), byte(h&15)
		want := bytes.IndexByte(legal[typ], flags) >= 0
		f, n, err := wire.Scan([]byte{byte(h), 0}, 0)
		if (err == nil) != want {
			t.Errorf("header %02x: error %v, want legal %v", h, err, want)
			continue
		}
		if want && (n != 2 || f.Type != typ || f.Flags != flags || len(f.Body) != 0 || len(f.Raw) != 2) {
			t.Errorf("header %02x: got %+v, %d bytes", h, f, n)
		}
		if !want && wire.ReasonOf(err) != wire.MalformedPacket {
			t.Errorf("header %02x: reason %v", h, wire.ReasonOf(err))
		}
		// A bad first byte is reported before the second arrives.
		if _, n, err := wire.Scan([]byte{byte(h)}, 0); (err == nil) != want || n != 0 {
			t.Errorf("header %02x alone: %d bytes, %v", h, n, err)
		}
	}
}

func TestScanHeaderRules(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		cite string
	}{
		{[]byte{0x36}, "[MQTT-3.3.1-4]"},
		{[]byte{0x3F}, "[MQTT-3.3.1-4]"},
		{[]byte{0x38}, "[MQTT-3.3.1-2]"},
		{[]byte{0x80}, "[MQTT-2.1.3-1]"},
		{[]byte{0x00}, ""},
		{[]byte{0x30, 0x80, 0x00}, "[MQTT-1.5.5-1]"},
		{[]byte{0x30, 0x82, 0x80, 0x00}, "[MQTT-1.5.5-1]"},
		{[]byte{0x30, 0x80, 0x80, 0x80, 0x00}, "[MQTT-1.5.5-1]"},
		{[]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF}, "[MQTT-1.5.5-1]"},
		{[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, "[MQTT-1.5.5-1]"},
	} {
		_, n, err := wire.Scan(c.b, 0)
		checkError(t, err, wire.MalformedPacket, c.cite)
		if n != 0 {
			t.Errorf("% x: %d bytes with an error", c.b, n)
		}
	}
}

func TestScanLengths(t *testing.T) {
	// The edges of each length's width, table 1-1.
	for _, c := range []struct {
		length int
		width  int
	}{
		{0, 1}, {127, 1}, {128, 2}, {16383, 2}, {16384, 3}, {2097151, 3}, {2097152, 4},
	} {
		raw := packet(0x30, make([]byte, c.length))
		if len(raw) != 1+c.width+c.length {
			t.Fatalf("length %d: test packet has %d bytes", c.length, len(raw))
		}
		f, n, err := wire.Scan(append(raw, 0xFF), len(raw))
		if err != nil || n != len(raw) || len(f.Body) != c.length || len(f.Raw) != n {
			t.Errorf("length %d: %d bytes, body of %d, %v", c.length, n, len(f.Body), err)
		}
		if cap(f.Raw) != len(f.Raw) || cap(f.Body) != len(f.Body) {
			t.Errorf("length %d: an append to the frame would overwrite the next one", c.length)
		}
		if _, n, err := wire.Scan(raw[:len(raw)-1], 0); n != 0 || err != nil {
			t.Errorf("length %d, last byte missing: %d bytes, %v", c.length, n, err)
		}
		if size, ok := wire.FrameSize(raw[:1+c.width]); !ok || size != len(raw) {
			t.Errorf("length %d: FrameSize %d, %v", c.length, size, ok)
		}
		if size, ok := wire.FrameSize(raw[:c.width]); ok {
			t.Errorf("length %d, header cut: FrameSize %d", c.length, size)
		}
		if c.length > 0 {
			_, n, err = wire.Scan(raw[:1+c.width], len(raw)-1)
			checkError(t, err, wire.PacketTooLarge, "")
			if n != 0 {
				t.Errorf("length %d: %d bytes of a packet that is too large", c.length, n)
			}
		}
	}
	if size, ok := wire.FrameSize([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}); !ok || size != wire.MaxFrameSize {
		t.Errorf("largest packet: FrameSize %d, %v", size, ok)
	}
	if _, ok := wire.FrameSize([]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF}); ok {
		t.Error("FrameSize of a malformed length")
	}
	if _, _, err := wire.Scan([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, 0); err != nil {
		t.Errorf("largest packet without a limit: %v", err)
	}
}

// A stream of packets comes out the same however it is cut into pieces.
func TestScanStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 6).Draw(t, "payloads")
		var stream []byte
		for _, p := range payloads {
			stream = append(stream, packet(0x30, p)...)
		}
		end, got := 0, 0
		for end < len(stream) {
			end = min(len(stream), end+rapid.IntRange(1, 200).Draw(t, "piece"))
			for {
				f, n, err := wire.Scan(stream[:end], 0)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				if !bytes.Equal(f.Body, payloads[got]) || !bytes.Equal(f.Raw, stream[:n]) {
					t.Fatalf("packet %d differs", got)
				}
				stream, end, got = stream[n:], end-n, got+1
			}
		}
		if got != len(payloads) {
			t.Fatalf("%d packets of %d", got, len(payloads))
		}
	})
}
