package wire_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// Parts from which tests build packets by hand, apart from the package's own
// encoders: an int is one byte, a string raw bytes.
type (
	str   string // two-byte length and bytes
	u16   uint16
	u32   uint32
	props []any // property section with its length
)

func varint(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func body(parts ...any) []byte {
	b := []byte{}
	for _, part := range parts {
		switch p := part.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case str:
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		case u16:
			b = binary.BigEndian.AppendUint16(b, uint16(p))
		case u32:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case props:
			inner := body(p...)
			b = append(append(b, varint(len(inner))...), inner...)
		default:
			panic(fmt.Sprintf("part of type %T", part))
		}
	}
	return b
}

func packet(header int, parts ...any) []byte {
	b := body(parts...)
	return append(append([]byte{byte(header)}, varint(len(b))...), b...)
}

// tb is what testing.TB and *rapid.T share.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// scan returns raw, which must be exactly one packet, as a frame.
func scan(t tb, raw []byte) wire.Frame {
	t.Helper()
	f, n, err := wire.Scan(raw, 0)
	if err != nil || n != len(raw) {
		t.Fatalf("Scan(% x) = %d bytes, %v; want one frame of %d bytes", clip(raw), n, err, len(raw))
	}
	return f
}

func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// rule is a packet that breaks one rule.
type rule struct {
	name   string
	v      wire.Version
	raw    []byte
	reason wire.Reason
	cite   string
}

func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			_, err := decode(scan(t, r.raw), r.v)
			checkError(t, err, r.reason, r.cite)
		})
	}
}

func checkError(t *testing.T, err error, reason wire.Reason, cite string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a *wire.Error with reason %v", err, reason)
	}
	if e.Reason != reason || e.Rule != cite {
		t.Errorf("error is %q with rule %q, want reason %v with rule %q", e, e.Rule, reason, cite)
	}
	if e.Detail == "" {
		t.Error("error has no detail")
	}
}

// ack, suback and unsuback hold the results of decoders that return several.
type ack struct {
	typ    wire.Type
	id     uint16
	reason wire.Reason
}

type suback struct {
	id    uint16
	codes []wire.Reason
}

type unsuback suback

// delivery is what a PUBLISH means, without where in the frame it stood.
type delivery struct {
	dup, retain bool
	qos         byte
	topic       string
	id, alias   uint16
	expiry      uint32
	hasExpiry   bool
	forward     string
	payload     string
}

func meaning(p *wire.Publish) delivery {
	return delivery{p.Dup, p.Retain, p.QoS, string(p.Topic), p.PacketID, p.Alias, p.Expiry, p.HasExpiry,
		string(wire.AppendForward(nil, p)), string(p.Payload)}
}

// decode calls the decoder of f's type; PUBLISH as a server decodes it.
func decode(f wire.Frame, v wire.Version) (any, error) {
	switch f.Type {
	case wire.CONNECT:
		return wire.DecodeConnect(f)
	case wire.CONNACK:
		return wire.DecodeConnack(f, v)
	case wire.PUBLISH:
		p, err := wire.DecodePublish(f, v)
		if err != nil {
			return nil, err
		}
		return meaning(&p), nil
	case wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		id, r, err := wire.DecodeAck(f, v)
		return ack{f.Type, id, r}, err
	case wire.SUBSCRIBE:
		return wire.DecodeSubscribe(f, v)
	case wire.SUBACK:
		id, codes, err := wire.DecodeSuback(f, v)
		return suback{id, codes}, err
	case wire.UNSUBSCRIBE:
		return wire.DecodeUnsubscribe(f, v)
	case wire.UNSUBACK:
		id, codes, err := wire.DecodeUnsuback(f, v)
		return unsuback{id, codes}, err
	case wire.DISCONNECT:
		return wire.DecodeDisconnect(f, v)
	case wire.AUTH:
		return wire.DecodeAuth(f)
	}
	return f.Type, wire.DecodeEmpty(f)
}

// encode is the inverse of decode.
func encode(x any, v wire.Version) []byte {
	switch x := x.(type) {
	case wire.Connect:
		return wire.AppendConnect(nil, &x)
	case wire.Connack:
		return wire.AppendConnack(nil, v, &x)
	case delivery:
		return wire.AppendPublish(nil, x.out(v), x.id)
	case ack:
		return wire.AppendAck(nil, x.typ, v, x.id, x.reason)
	case wire.Subscribe:
		return wire.AppendSubscribe(nil, v, &x)
	case suback:
		return wire.AppendSuback(nil, v, x.id, x.codes)
	case wire.Unsubscribe:
		return wire.AppendUnsubscribe(nil, v, &x)
	case unsuback:
		return wire.AppendUnsuback(nil, v, x.id, x.codes)
	case wire.Disconnect:
		if v < wire.V5 {
			return wire.AppendDisconnect(nil, v, x.Reason, x.ReasonString)
		}
		return wire.AppendDisconnectFields(nil, &x)
	case wire.Auth:
		return wire.AppendAuth(nil, &x)
	case wire.Type:
		return wire.AppendPing(nil, x)
	}
	panic(fmt.Sprintf("no encoder for %T", x))
}

func (d delivery) out(v wire.Version) *wire.Out {
	return &wire.Out{Version: v, QoS: d.qos, Dup: d.dup, Retain: d.retain, Topic: []byte(d.topic),
		Props: []byte(d.forward), HasExpiry: d.hasExpiry, Expiry: d.expiry, Alias: d.alias, Payload: []byte(d.payload)}
}

var versions = []wire.Version{wire.V31, wire.V311, wire.V5}
