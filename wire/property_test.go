package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// carriers build a valid packet around a property section. will is CONNECT
// with the section in its will.
var carriers = map[string]func(p props) []byte{
	"connect":     func(p props) []byte { return connect(5, 2, p, str("c")) },
	"will":        func(p props) []byte { return connect(5, 6, props{}, str("c"), p, str("w"), str("")) },
	"connack":     func(p props) []byte { return packet(0x20, 0, 0, p) },
	"publish":     func(p props) []byte { return packet(0x30, str("a"), p) },
	"puback":      func(p props) []byte { return packet(0x40, u16(1), 0, p) },
	"pubrec":      func(p props) []byte { return packet(0x50, u16(1), 0, p) },
	"pubrel":      func(p props) []byte { return packet(0x62, u16(1), 0, p) },
	"pubcomp":     func(p props) []byte { return packet(0x70, u16(1), 0, p) },
	"subscribe":   func(p props) []byte { return packet(0x82, u16(1), p, str("a"), 0) },
	"suback":      func(p props) []byte { return packet(0x90, u16(1), p, 0) },
	"unsubscribe": func(p props) []byte { return packet(0xA2, u16(1), p, str("a")) },
	"unsuback":    func(p props) []byte { return packet(0xB0, u16(1), p, 0) },
	"disconnect":  func(p props) []byte { return packet(0xE0, 0, p) },
	// AUTH cannot be without its method.
	"auth": func(p props) []byte {
		if len(p) == 0 || p[0] != 0x15 {
			p = append(props{0x15, str("m")}, p...)
		}
		return packet(0xF0, 0, p)
	},
}

// decodeCarrier takes PUBLISH as a client does, where identifiers are legal.
func decodeCarrier(t *testing.T, raw []byte) error {
	t.Helper()
	f := scan(t, raw)
	if f.Type == wire.PUBLISH {
		_, err := wire.DecodeDelivery(f, wire.V5)
		return err
	}
	_, err := decode(f, wire.V5)
	return err
}

func TestPropertyTable(t *testing.T) {
	every := "connect will connack publish puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback disconnect auth"
	// Table 2-4, with one valid value and the values that are out of range.
	table := map[int]struct {
		in    string
		value any
		bad   []any
	}{
		0x01: {"publish will", 1, []any{2, 255}},
		0x02: {"publish will", u32(0), nil},
		0x03: {"publish will", str(""), []any{str("\xff"), str("\x00")}},
		0x08: {"publish will", str("r"), []any{str(""), str("+"), str("\xff")}},
		0x09: {"publish will", str("\x00\xff"), nil},
		0x0B: {"publish subscribe", 1, []any{0, "\x80\x00", "\xff\xff\xff\xff\x01"}},
		0x11: {"connect connack disconnect", u32(0), nil},
		0x12: {"connack", str("id"), []any{str("\xff")}},
		0x13: {"connack", u16(0), nil},
		0x15: {"connect connack auth", str(""), []any{str("\xff")}},
		0x16: {"connack auth", str("\xff"), nil}, // in connect too, with a method
		0x17: {"connect", 0, []any{2}},
		0x18: {"will", u32(0), nil},
		0x19: {"connect", 1, []any{2}},
		0x1A: {"connack", str(""), []any{str("\xff")}},
		0x1C: {"connack disconnect", str(""), []any{str("\xff")}},
		0x1F: {"connack puback pubrec pubrel pubcomp suback unsuback disconnect auth", str(""), []any{str("\xff")}},
		0x21: {"connect connack", u16(1), []any{u16(0)}},
		0x22: {"connect connack", u16(0), nil},
		0x23: {"publish", u16(1), []any{u16(0)}},
		0x24: {"connack", 1, []any{2}},
		0x25: {"connack", 1, []any{2}},
		0x26: {every, body(str(""), str("")), []any{body(str("\xff"), str("")), body(str(""), str("\x00"))}},
		0x27: {"connect connack", u32(1), []any{u32(0)}},
		0x28: {"connack", 0, []any{2}},
		0x29: {"connack", 0, []any{2}},
		0x2A: {"connack", 0, []any{2}},
	}
	for name, carrier := range carriers {
		if err := decodeCarrier(t, carrier(props{})); err != nil {
			t.Fatalf("%s without properties: %v", name, err)
		}
		for id := range 256 {
			spec, known := table[id]
			one := []any{id, spec.value}
			if !known {
				one = []any{id, 1, 1, 1, 1}
			}
			t.Run(fmt.Sprintf("%s/%#x", name, id), func(t *testing.T) {
				legal := known && contains(spec.in, name)
				err := decodeCarrier(t, carrier(one))
				if !legal {
					if wire.ReasonOf(err) < wire.UnspecifiedError {
						t.Fatalf("accepted")
					}
					return
				}
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				repeats := id == 0x26 || id == 0x0B && name == "publish"
				// With another one in between, where that is not the same.
				twice := append(append(append(props{}, one...), 0x26, str("k"), str("v")), one...)
				err = decodeCarrier(t, carrier(twice))
				if repeats != (err == nil) {
					t.Errorf("twice: %v", err)
				}
				if !repeats && wire.ReasonOf(err) != wire.ProtocolError {
					t.Errorf("twice: reason %v", wire.ReasonOf(err))
				}
				for _, bad := range spec.bad {
					if err := decodeCarrier(t, carrier(props{id, bad})); err == nil {
						t.Errorf("value %v accepted", bad)
					}
				}
				// Cut the value at every byte, with a property length that agrees.
				full := body(one...)
				for n := 1; n < len(full); n++ {
					if err := decodeCarrier(t, carrier(props{full[:n]})); err == nil {
						t.Errorf("cut to %d bytes: accepted", n)
					}
				}
			})
		}
	}
}

func contains(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}
