package footprint_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// mallocs is how many objects the process allocates for each of n times do.
func mallocs(n int, do func(i int)) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n {
		do(i)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

// atMost fails if there are more allocations than bound, give or take what the
// broker does beside, such as looking at its memory.
func atMost(t *testing.T, what string, got, bound float64) {
	t.Helper()
	t.Logf("%s: %.2f allocations", what, got)
	if got > bound+0.3 {
		t.Errorf("%s: %.2f allocations, want at most %v", what, got, bound)
	}
}

const times = 1000

// What a message costs on its whole way through a broker with its defaults and a
// hundred rules, from one socket to the other: nothing at QoS 0; at QoS 1 and 2 the
// message, since it may have to wait.
func TestAllocPerMessage(t *testing.T) {
	b := start(t, nil)
	property := wire.AppendUserProperty(nil, wire.UserProperty{Key: "unit", Value: "bar"})
	for _, tc := range []struct {
		name string
		v    wire.Version
		out  wire.Out
		subs int
		most float64
	}{
		{"QoS 0", wire.V311, wire.Out{}, 1, 0},
		{"QoS 0 to ten", wire.V311, wire.Out{}, 10, 0},
		{"QoS 1", wire.V311, wire.Out{QoS: 1}, 1, 1},
		{"QoS 1 to ten", wire.V311, wire.Out{QoS: 1}, 10, 1},
		{"QoS 2", wire.V311, wire.Out{QoS: 2}, 1, 1},
		{"MQTT 5 with a property", wire.V5, wire.Out{Props: property}, 1, 0},
		{"MQTT 5 QoS 1 with a property", wire.V5, wire.Out{QoS: 1, Props: property}, 1, 2},
		{"MQTT 5 with an alias", wire.V5, wire.Out{Alias: 1}, 1, 0},
		{"retained QoS 0", wire.V311, wire.Out{Retain: true}, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.out.Version, tc.out.Topic, tc.out.Payload = tc.v, []byte("plant/line/"+tc.name[len(tc.name)-1:]), make([]byte, 64)
			pub := dial(t, b, connect(tc.v, "pub", 0, true))
			subs := make([]*client, tc.subs)
			for i := range subs {
				subs[i] = dial(t, b, connect(tc.v, "sub", i, true))
				subs[i].subscribe(tc.out.QoS, string(tc.out.Topic))
			}
			if tc.out.Alias > 0 {
				pub.write(wire.AppendPublish(nil, &tc.out, 0)) // says what it stands for
				subs[0].expect(wire.PUBLISH)
				tc.out.Topic = nil
			}
			frames := make([][]byte, 256) // made beforehand
			for i := range frames {
				frames[i] = wire.AppendPublish(nil, &tc.out, uint16(i+1))
			}
			answer := make([]byte, 0, 64)
			seq := 0
			one := func(int) {
				id := uint16(seq%256 + 1)
				seq++
				pub.write(frames[id-1])
				switch tc.out.QoS {
				case 1:
					pub.expect(wire.PUBACK)
				case 2:
					pub.expect(wire.PUBREC)
					answer = wire.AppendAck(answer[:0], wire.PUBREL, tc.v, id, wire.Success)
					pub.write(answer)
					pub.expect(wire.PUBCOMP)
				}
				for _, s := range subs {
					n := s.expect(wire.PUBLISH)
					if tc.out.QoS == 0 {
						continue
					}
					at := n - 64 - 2 // the identifier stands before the payload, and the properties
					if tc.v == wire.V5 {
						at = n - 64 - len(tc.out.Props) - 3
					}
					sid := uint16(s.buf[at])<<8 | uint16(s.buf[at+1])
					if tc.out.QoS == 1 {
						answer = wire.AppendAck(answer[:0], wire.PUBACK, tc.v, sid, wire.Success)
						s.write(answer)
						continue
					}
					answer = wire.AppendAck(answer[:0], wire.PUBREC, tc.v, sid, wire.Success)
					s.write(answer)
					s.expect(wire.PUBREL)
					answer = wire.AppendAck(answer[:0], wire.PUBCOMP, tc.v, sid, wire.Success)
					s.write(answer)
				}
			}
			mallocs(300, one) // routes, pools, rings
			atMost(t, tc.name, mallocs(times, one), tc.most)
			for _, s := range append(subs, pub) {
				s.leave()
			}
		})
	}
}

// A connection comes and goes with its session and events, and subscribes. Most of
// that is the server's, whose packets are maps and copies; the bounds keep it from
// growing.
func TestAllocPerConnection(t *testing.T) {
	b := start(t, nil)
	life := func(i int) { dial(t, b, connect(wire.V311, "c", i, true)).leave() }
	mallocs(100, life)
	atMost(t, "connect and leave", mallocs(500, life), 110)
	brokertest.WaitFor(t, "all to be gone", func() bool { return b.Stats().Sessions.Connected == 0 })
	c := dial(t, b, connect(wire.V311, "d", 0, true))
	again := func(i int) { c.subscribe(1, fmt.Sprintf("plant/line/%d", i)) }
	mallocs(100, again)
	atMost(t, "subscribe", mallocs(500, again), 50)
	same := func(int) { c.subscribe(1, "plant/line/1") }
	atMost(t, "subscribe again", mallocs(500, same), 47)
	ping := wire.AppendPing(nil, wire.PINGREQ)
	atMost(t, "ping", mallocs(times, func(int) { c.write(ping); c.expect(wire.PINGRESP) }), 0)
}

// What a durable message adds to the disk: its record and that of its settling,
// each batch with its mark, and nothing else. A client alone has a batch for each
// message, which is the most there can be.
func TestBytesWrittenPerMessage(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Storage.Directory = t.TempDir() })
	sub := dial(t, b, connect(wire.V311, "sub", 0, false))
	sub.subscribe(1, "plant/line/1")
	sub.leave() // what comes now waits on the disk
	brokertest.WaitFor(t, "it to be gone", func() bool { return b.Stats().Sessions.Connected == 0 })
	pub := dial(t, b, connect(wire.V311, "pub", 0, true))
	frame := wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: 1, Topic: []byte("plant/line/1"), Payload: make([]byte, 64)}, 1)
	before := b.Stats().Storage.WrittenBytes
	const n = 200
	for range n {
		pub.write(frame)
		pub.expect(wire.PUBACK)
	}
	per := float64(b.Stats().Storage.WrittenBytes-before) / n
	t.Logf("%.1f bytes for a message of %d", per, len(frame))
	if per < 64 || per > 180 {
		t.Errorf("a message of %d bytes alone takes %.1f on the disk, want at most 180", len(frame), per)
	}
}
