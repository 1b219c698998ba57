package wire_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// sample is a valid packet, of which every byte gets attacked.
type sample struct {
	name string
	v    wire.Version
	raw  []byte
}

func samples() []sample {
	user := []any{0x26, str("key"), str("value")}
	all := []sample{
		{"connect 3.1", wire.V31, connect31(0xEE, str("c"), str("w"), str("p"), str("u"), str("pw"))},
		{"connect 3.1.1", wire.V311, connect(4, 0xEE, str("c"), str("w"), str("p"), str("u"), str("pw"))},
		{"connect 5", wire.V5, connect(5, 0xEE, append(props{0x11, u32(1), 0x15, str("m"), 0x16, str("d")}, user...), str("c"),
			append(props{0x18, u32(1), 2, u32(1), 8, str("r"), 9, str("c")}, user...), str("w"), str("p"), str("u"), str("pw"))},
		{"publish 3.1.1", wire.V311, packet(0x32, str("a/b"), u16(1), "payload")},
		{"publish 5", wire.V5, packet(0x3D, str("a/b"), u16(1),
			append(props{1, 1, 2, u32(1), 3, str("t"), 8, str("r"), 9, str("c"), 0x23, u16(1)}, user...), "payload")},
		{"publish 5, no QoS", wire.V5, packet(0x30, str("a/b"), props{}, "payload")},
		{"publish 5, long", wire.V5, packet(0x30, str("a/b"), append(props{9, str(make([]byte, 200))}, user...), "payload")},
	}
	for _, c := range vectors {
		all = append(all, sample{c.name, c.v, c.raw})
	}
	return all
}

// attack decodes a mutated packet. It may be refused; if it is taken, its
// meaning must survive encoding.
func attack(t *testing.T, raw []byte, v wire.Version) {
	t.Helper()
	kept := bytes.Clone(raw)
	f, n, err := wire.Scan(raw, 0)
	if err != nil || n == 0 {
		if n != 0 {
			t.Fatalf("Scan(% x) = %d bytes with %v", raw, n, err)
		}
		return
	}
	for _, v := range []wire.Version{v, wire.V31, wire.V311, wire.V5} {
		got, err := decode(f, v)
		checkStable(t, got, err, v)
	}
	if !bytes.Equal(raw, kept) {
		t.Fatalf("decoding % x changed it to % x", kept, raw)
	}
}

// checkStable wants an error of ours, or a value that encodes to itself.
func checkStable(t *testing.T, got any, err error, v wire.Version) {
	t.Helper()
	if err != nil {
		if wire.ReasonOf(err) <= wire.UnspecifiedError {
			t.Fatalf("error without a reason: %v", err)
		}
		return
	}
	if c, ok := got.(wire.Connect); ok {
		v = c.Version
	}
	raw := encode(got, v)
	again, err := decode(scan(t, raw), v)
	if err != nil || !reflect.DeepEqual(got, again) {
		t.Fatalf("%+v\nencodes to % x\nwhich is %+v, %v", got, clip(raw), again, err)
	}
}

func TestEveryPacketCutAtEveryByte(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			if _, err := decode(scan(t, s.raw), s.v); err != nil {
				t.Fatalf("sample is not valid: %v", err)
			}
			for n := range len(s.raw) {
				if _, size, err := wire.Scan(s.raw[:n], 0); size != 0 || err != nil {
					t.Fatalf("cut to %d bytes: %d bytes, %v", n, size, err)
				}
			}
			// The same cuts in the body, with a header that agrees.
			whole := scan(t, s.raw)
			for n := range len(whole.Body) {
				raw := packet(int(s.raw[0]), whole.Body[:n])
				attack(t, raw, s.v)
				if _, err := decode(scan(t, raw), s.v); err == nil && !mayEnd(whole, s.v, n) {
					t.Errorf("body cut to %d of %d bytes is accepted", n, len(whole.Body))
				}
			}
		})
	}
}

// mayEnd tells which packets are complete when their body is cut to n bytes.
func mayEnd(f wire.Frame, v wire.Version, n int) bool {
	b := f.Body
	switch f.Type {
	case wire.PUBLISH: // anywhere in the payload
		return n >= len(b)-len("payload")
	case wire.PUBREC: // before the reason code
		return v == wire.V5 && n == 2
	case wire.SUBSCRIBE: // between filters
		return b[n-1] <= 2 && n == len(b)-5 || v == wire.V5 && n == len(b)-3
	case wire.UNSUBSCRIBE:
		return n == 5
	case wire.SUBACK, wire.UNSUBACK: // between codes
		return n >= 3 && (v < wire.V5 || n > 3)
	case wire.DISCONNECT: // before the reason code, before the properties
		return v == wire.V5 && n <= 1
	case wire.CONNECT: // before user name or password, which 3.1 may omit
		return v == wire.V31 && (n == len(b)-4 || n == len(b)-7)
	}
	return false
}

func TestEveryByteChanged(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			for i := range s.raw {
				raw := bytes.Clone(s.raw)
				for b := range 256 {
					raw[i] = byte(b)
					attack(t, raw, s.v)
				}
			}
		})
	}
}

// Every pair of bytes, some of which are lengths, becomes a length that is a
// little or a lot wrong.
func TestEveryLengthLies(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			for i := 1; i+1 < len(s.raw); i++ {
				was := uint16(s.raw[i])<<8 | uint16(s.raw[i+1])
				for _, lie := range []uint16{0, was - 1, was + 1, uint16(len(s.raw) - i), uint16(len(s.raw) - i - 2), 0x7FFF, 0xFFFF} {
					raw := bytes.Clone(s.raw)
					raw[i], raw[i+1] = byte(lie>>8), byte(lie)
					attack(t, raw, s.v)
				}
			}
		})
	}
}

// A length field that points behind the packet is always an error.
func TestLengthsBeyondTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		v    wire.Version
		raw  []byte
		at   []int // offsets of two-byte lengths in the body
	}{
		{"connect 3.1.1", wire.V311, connect(4, 0xEE, str("c"), str("w"), str("p"), str("u"), str("pw")), []int{0, 10, 13, 16, 19, 22}},
		{"connect 3.1", wire.V31, connect31(0xEE, str("c"), str("w"), str("p"), str("u"), str("pw")), []int{0, 12, 15, 18, 21, 24}},
		{"connect 5", wire.V5, connect(5, 6, props{0x15, str("m"), 0x26, str("k"), str("v")}, str("c"), props{3, str("t")}, str("w"), str("p")),
			[]int{12, 16, 19, 22, 27, 30, 33}},
		{"publish", wire.V311, packet(0x30, str("a"), "p"), []int{0}},
		{"publish 5", wire.V5, packet(0x30, str("a"), props{8, str("r"), 9, str("c")}, "p"), []int{0, 5, 9}},
		{"subscribe", wire.V311, packet(0x82, u16(1), str("a"), 0, str("b"), 0), []int{2, 6}},
		{"unsubscribe", wire.V5, packet(0xA2, u16(1), props{0x26, str("k"), str("v")}, str("a"), str("b")), []int{4, 7, 10, 13}},
		{"auth", wire.V5, packet(0xF0, 0x18, props{0x15, str("m"), 0x16, str("d")}), []int{3, 7}},
	} {
		if _, err := decode(scan(t, c.raw), c.v); err != nil {
			t.Fatalf("%s: sample is not valid: %v", c.name, err)
		}
		for _, at := range c.at {
			f := scan(t, bytes.Clone(c.raw))
			for _, lie := range []int{len(f.Body) - at - 1, 0x7FFF, 0xFFFF} {
				f.Body[at], f.Body[at+1] = byte(lie>>8), byte(lie)
				if _, err := decode(f, c.v); wire.ReasonOf(err) != wire.MalformedPacket {
					t.Errorf("%s: length %d at %d: %v", c.name, lie, at, err)
				}
			}
		}
	}
}
