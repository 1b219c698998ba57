package e2e_test

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// processorTime is what this process, client and broker, has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCostIsLinear compares what a byte of hostile input costs in small and in
// large amounts. Where anything is done again for all that came before, a byte
// costs as many times more as there is more of them: 16 times here. What is
// compared is processor time, which does not depend on what else runs.
func TestCostIsLinear(t *testing.T) {
	if raceEnabled {
		t.Skip("what the race detector costs is not to be measured")
	}
	const times = 16
	b := start(t, func(c *appliance.Config) { c.Sessions.MaxQueuedBytes = 64 << 20 })
	y := newBystander(t, b)
	filters := func(n int, name func(i int) string) []byte {
		s := wire.Subscribe{PacketID: 1}
		for i := range n {
			s.Filters = append(s.Filters, wire.Filter{Filter: name(i)})
		}
		return wire.AppendSubscribe(nil, wire.V311, &s)
	}
	publish := func(v wire.Version, topic string, props []byte) []byte {
		return wire.AppendPublish(nil, &wire.Out{Version: v, Topic: []byte(topic), Props: props}, 0)
	}
	for name, tc := range map[string]struct {
		v     wire.Version
		n     int                // the small amount
		input func(n int) []byte // that of an accepted client
		chunk int                // bytes a write; 0: all
	}{
		"user properties": {v: wire.V5, n: 10_000, input: func(n int) []byte {
			return publish(wire.V5, "t", bytes.Repeat([]byte("\x26\x00\x00\x00\x00"), n))
		}},
		"filters": {v: wire.V311, n: 2_000, input: func(n int) []byte {
			return filters(n, func(i int) string { return fmt.Sprint("f/", i) })
		}},
		"one filter again and again": {v: wire.V311, n: 4_000, input: func(n int) []byte {
			return filters(n, func(int) string { return "f/+" })
		}},
		"filters of one share": {v: wire.V311, n: 2_000, input: func(n int) []byte {
			return filters(n, func(i int) string { return fmt.Sprint("$share/g/f/", i) })
		}},
		"filters that are not there": {v: wire.V311, n: 4_000, input: func(n int) []byte {
			u := wire.Unsubscribe{PacketID: 1}
			for i := range n {
				u.Filters = append(u.Filters, fmt.Sprint("f/", i))
			}
			return wire.AppendUnsubscribe(nil, wire.V311, &u)
		}},
		"levels": {v: wire.V311, n: 4_000, input: func(n int) []byte {
			return bytes.Repeat(publish(wire.V311, strings.Repeat("/", n), nil), 20)
		}},
		"topics": {v: wire.V311, n: 2_000, input: func(n int) (all []byte) {
			for i := range n {
				all = append(all, publish(wire.V311, fmt.Sprint("t/", i), nil)...)
			}
			return all
		}},
		"acknowledgements of nothing": {v: wire.V311, n: 10_000, input: func(n int) (all []byte) {
			for i := range n {
				all = wire.AppendAck(all, []wire.Type{wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP}[i%4], wire.V311, uint16(i%65535+1), 0)
			}
			return all
		}},
		"QoS 2 that is never released": {v: wire.V311, n: 4_000, input: func(n int) (all []byte) {
			for i := range n {
				all = wire.AppendPublish(all, &wire.Out{Version: wire.V311, QoS: 2, Topic: []byte("t")}, uint16(i+1))
			}
			return all
		}},
		"a large packet in pieces": {v: wire.V311, n: 60_000, chunk: 50, input: func(n int) []byte {
			return wire.AppendPublish(nil, &wire.Out{Version: wire.V311, Topic: []byte("t"), Payload: make([]byte, n)}, 0)
		}},
		"tiny packets": {v: wire.V311, n: 20_000, input: func(n int) []byte { return bytes.Repeat([]byte{0xC0, 0}, n) }},
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) time.Duration { // of one round, its input made beforehand
				in := tc.input(n)
				c := brokertest.Dial(t, b.addr, brokertest.Clean(tc.v, "c"))
				defer c.Disconnect()
				chunk := tc.chunk
				if chunk == 0 {
					chunk = len(in)
				}
				before := processorTime(t)
				var writing = make(chan error, 1)
				go func() {
					var err error
					for rest := append(in, 0xC0, 0); len(rest) > 0 && err == nil; rest = rest[min(chunk, len(rest)):] {
						_, err = c.Conn().Write(rest[:min(chunk, len(rest))])
					}
					writing <- err
				}()
				discardUntil(t, c, countPings(in)+1)
				used := processorTime(t) - before
				if err := <-writing; err != nil {
					t.Fatal(err)
				}
				return used
			}
			best := func(n, rounds int) time.Duration {
				least := cost(n)
				for range rounds - 1 {
					least = min(least, cost(n))
				}
				return max(least, 100*time.Microsecond)
			}
			var small, large time.Duration
			for range 3 { // the garbage collector may be at work in one of them
				small, large = best(tc.n, 5), best(times*tc.n, 2)
				if large < times/2*times*small {
					t.Logf("%v for %d, %v for %d: %.1f times as much each", small, tc.n, large, times*tc.n, float64(large)/float64(times*small))
					return
				}
			}
			t.Errorf("%v for %d, but %v for %d", small, tc.n, large, times*tc.n)
		})
		y.unharmed()
	}
}

// countPings is how many answers in asks for, if it consists of PINGREQ alone.
func countPings(in []byte) int {
	if len(in) > 1 && in[0] == 0xC0 {
		return len(in) / 2
	}
	return 0
}

// discardUntil reads up to and including the nth PINGRESP.
func discardUntil(t testing.TB, c *brokertest.Client, n int) {
	t.Helper()
	if err := c.Conn().SetReadDeadline(time.Now().Add(brokertest.Patience)); err != nil {
		t.Fatal(err)
	}
	buf, page := []byte(nil), make([]byte, 64<<10)
	for n > 0 {
		k, err := c.Conn().Read(page)
		if err != nil {
			t.Fatal(err)
		}
		buf = append(buf, page[:k]...)
		at := 0
		for {
			f, size, err := wire.Scan(buf[at:], 0)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				break
			}
			if f.Type == wire.PINGRESP {
				n--
			}
			at += size
		}
		buf = buf[:copy(buf, buf[at:])]
	}
}
