package wire_test

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

var (
	telemetry311 = packet(0x32, str("plant/line-3/press-07/temperature"), u16(1), strings.Repeat("x", 100))
	telemetry5   = packet(0x32, str("plant/line-3/press-07/temperature"), u16(1), props{}, strings.Repeat("x", 100))
	telemetryAll = packet(0x32, str("plant/line-3/press-07/temperature"), u16(1),
		props{2, u32(60), 0x23, u16(3), 3, str("application/json"), 0x26, str("unit"), str("celsius")}, strings.Repeat("x", 100))
)

// Results that the compiler must not optimise away.
var (
	sinkPublish wire.Publish
	sinkErr     error
	sinkBool    bool
)

func TestHotPathAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	ackFrame := packet(0x40, u16(7), 0x10, props{0x1F, str("no subscriber")})
	for name, call := range map[string]func(){
		"scan, decode, append 3.1.1": func() { relay(telemetry311, wire.V311, dst) },
		"scan, decode, append 5":     func() { relay(telemetry5, wire.V5, dst) },
		"with properties":            func() { relay(telemetryAll, wire.V5, dst) },
		"acks": func() {
			f, _, _ := wire.Scan(ackFrame, 0)
			id, _, err := wire.DecodeAck(f, wire.V5)
			sinkErr = err
			wire.AppendAck(dst, wire.PUBREL, wire.V5, id, wire.PacketIDNotFound)
		},
		"suback": func() { wire.AppendSuback(dst, wire.V5, 1, []wire.Reason{0, 1}) },
		"match":  func() { sinkBool = wire.MatchTopic("plant/+/press-07/#", "plant/line-3/press-07/temperature") },
		"size":   func() { sinkN, sinkBool = wire.FrameSize(telemetry311) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if sinkErr != nil {
			t.Errorf("%s: %v", name, sinkErr)
		}
	}
}

var sinkN int

// relay does to a PUBLISH what a broker with one subscriber does.
func relay(raw []byte, v wire.Version, dst []byte) []byte {
	f, _, err := wire.Scan(raw, 1<<20)
	if err != nil {
		sinkErr = err
		return dst
	}
	p, err := wire.DecodePublish(f, v)
	if err != nil {
		sinkErr = err
		return dst
	}
	forward := wire.AppendForward(dst, &p)
	o := wire.Out{Version: v, QoS: p.QoS, Topic: p.Topic, Props: forward[len(dst):], Payload: p.Payload,
		HasExpiry: p.HasExpiry, Expiry: p.Expiry}
	return wire.AppendPublish(forward, &o, 9)
}

func BenchmarkScan(b *testing.B) {
	for b.Loop() {
		_, sinkN, sinkErr = wire.Scan(telemetry311, 1<<20)
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	for _, c := range []struct {
		name string
		v    wire.Version
		raw  []byte
	}{{"3.1.1", wire.V311, telemetry311}, {"5", wire.V5, telemetry5}, {"5 with properties", wire.V5, telemetryAll}} {
		b.Run(c.name, func(b *testing.B) {
			f := scan(b, c.raw)
			b.ReportAllocs()
			for b.Loop() {
				sinkPublish, sinkErr = wire.DecodePublish(f, c.v)
			}
		})
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	dst := make([]byte, 0, 4096)
	o := wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("plant/line-3/press-07/temperature"), Payload: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		sinkN = len(wire.AppendPublish(dst, &o, 1))
	}
}

func BenchmarkRelay(b *testing.B) {
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		sinkN = len(relay(telemetry311, wire.V311, dst))
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	f := scan(b, packet(0x40, u16(7)))
	b.ReportAllocs()
	for b.Loop() {
		var id uint16
		id, _, sinkErr = wire.DecodeAck(f, wire.V5)
		sinkN = int(id)
	}
}

func BenchmarkMatchTopic(b *testing.B) {
	for b.Loop() {
		sinkBool = wire.MatchTopic("plant/+/press-07/#", "plant/line-3/press-07/temperature")
	}
}
