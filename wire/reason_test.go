package wire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

func TestReasonString(t *testing.T) {
	for r, want := range map[wire.Reason]string{
		wire.Success:                  "success",
		wire.NotAuthorized:            "not authorized",
		wire.WildcardSubsNotSupported: "wildcard subscriptions not supported",
		0x7F:                          "reason 0x7f",
		0xFF:                          "reason 0xff",
	} {
		if got := r.String(); got != want {
			t.Errorf("%#x: %q, want %q", byte(r), got, want)
		}
	}
}

// Table 2-6 names 43 codes besides the second and third name of 0x00, and
// says which packets carry each; decoders are asked for every code.
func TestReasonTable(t *testing.T) {
	carries := map[wire.Type][]int{
		wire.CONNACK: {0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
			0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
		wire.PUBACK:   {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
		wire.PUBREC:   {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
		wire.PUBREL:   {0, 0x92},
		wire.PUBCOMP:  {0, 0x92},
		wire.SUBACK:   {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
		wire.UNSUBACK: {0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
		wire.DISCONNECT: {0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
			0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
		wire.AUTH: {0, 0x18, 0x19},
	}
	for typ, list := range carries {
		legal := map[int]bool{}
		for _, r := range list {
			legal[r] = true
		}
		for r := range 256 {
			var raw []byte
			switch typ {
			case wire.CONNACK:
				raw = packet(0x20, 0, r, props{})
			case wire.SUBACK, wire.UNSUBACK:
				raw = packet(int(typ)<<4, u16(1), props{}, r)
			case wire.DISCONNECT:
				raw = packet(0xE0, r)
			case wire.AUTH:
				raw = packet(0xF0, r, props{0x15, str("m")})
			case wire.PUBREL:
				raw = packet(0x62, u16(1), r)
			default:
				raw = packet(int(typ)<<4, u16(1), r)
			}
			if _, err := decode(scan(t, raw), wire.V5); (err == nil) != legal[r] {
				t.Errorf("%v with %#x: %v, want legal %v", typ, r, err, legal[r])
			}
		}
	}
}

func TestConnackCode(t *testing.T) {
	for r, want := range map[wire.Reason]byte{
		wire.Success: 0, wire.UnsupportedProtocolVersion: 1, wire.ClientIDNotValid: 2, wire.ServerUnavailable: 3,
		wire.ServerBusy: 3, wire.QuotaExceeded: 3, wire.ConnectionRateExceeded: 3, wire.BadUserNameOrPassword: 4,
		wire.BadAuthMethod: 4, wire.NotAuthorized: 5, wire.Banned: 5, wire.TopicNameInvalid: 5,
	} {
		for _, v := range []wire.Version{wire.V31, wire.V311} {
			if got := r.ConnackCode(v); got != want {
				t.Errorf("%v in %v: %d, want %d", r, v, got, want)
			}
		}
		if got := r.ConnackCode(wire.V5); got != byte(r) {
			t.Errorf("%v in 5: %d", r, got)
		}
	}
}

func TestError(t *testing.T) {
	err := wire.ValidTopic([]byte("a\x00"))
	if got, want := err.Error(), "malformed packet: topic name holds U+0000 [MQTT-1.5.4-2]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (&wire.Error{Reason: wire.ServerBusy, Detail: "d"}).Error(), "server busy: d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, c := range []struct {
		err  error
		want wire.Reason
	}{
		{nil, wire.Success}, {err, wire.MalformedPacket}, {fmt.Errorf("read: %w", err), wire.MalformedPacket},
		{errors.New("other"), wire.UnspecifiedError},
	} {
		if got := wire.ReasonOf(c.err); got != c.want {
			t.Errorf("ReasonOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		wire.V31.String(): "3.1", wire.V311.String(): "3.1.1", wire.V5.String(): "5", wire.Version(7).String(): "level 7",
		wire.CONNECT.String(): "CONNECT", wire.PUBLISH.String(): "PUBLISH", wire.AUTH.String(): "AUTH", wire.Type(99).String(): "type 99",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
