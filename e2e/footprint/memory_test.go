package footprint_test

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// alive is the bytes that are alive in the heap, and those of stacks.
func alive() int64 {
	for range 4 { // a stack is halved at most once in a collection
		runtime.GC()
	}
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() + s[1].Value.Uint64())
}

// each is how much more is alive than before, for each of n.
func each(before int64, n int) int64 { return (alive() - before) / int64(n) }

// within fails if bytes are more than most, or so few that nothing was measured.
func within(t *testing.T, what string, bytes, most int64) {
	t.Helper()
	t.Logf("%s: %d bytes", what, bytes)
	if bytes > most || bytes < most/4 {
		t.Errorf("%s takes %d bytes; at most %d and not under %d are expected", what, bytes, most, most/4)
	}
}

const crowd = 1000

// A connection that is idle is a goroutine with a stack of 4 KiB, and 6 KB of
// connection, session and books. The bound leaves room for a fifth more: two
// goroutines, a buffer that stays, or a stack that does not shrink are above.
func TestMemoryOfConnection(t *testing.T) {
	for name, stored := range map[string]bool{"in memory": false, "stored": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(c *appliance.Config) {
				if stored {
					c.Storage.Directory = t.TempDir()
				}
			})
			dial(t, b, connect(wire.V311, "first", 0, true)).subscribe(1, "first") // what is made once
			before := alive()
			list := make([]*client, crowd)
			for i := range list {
				list[i] = dial(t, b, connect(wire.V311, "c", i, !stored))
				list[i].subscribe(1, fmt.Sprintf("plant/line/%05d", i))
				list[i].buf = nil
			}
			within(t, "an idle connection with a subscription", each(before, crowd), 12_500)
			if !stored {
				return
			}
			for _, c := range list {
				c.leave()
			}
			brokertest.WaitFor(t, "all to be gone", func() bool { return b.Stats().Sessions.Connected == 1 })
			// The session, its timer, its rights, and what the runtime keeps of a goroutine.
			within(t, "a session offline with a subscription", each(before, crowd), 3300)
			runtime.KeepAlive(list)
		})
	}
}

// What retained messages and subscriptions take beside their own bytes.
func TestMemoryOfState(t *testing.T) {
	b := start(t, nil)
	c := dial(t, b, connect(wire.V311, "c", 0, true))
	c.subscribe(1, "first")
	before := alive()
	for i := range crowd {
		c.subscribe(1, fmt.Sprintf("plant/line/%05d", i))
	}
	within(t, "a subscription", each(before, crowd), 400)
	before = alive()
	for i := range crowd {
		c.write(wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: 1, Retain: true, Topic: fmt.Appendf(nil, "state/line/%05d", i), Payload: make([]byte, 64)}, 1))
		c.expect(wire.PUBACK)
	}
	within(t, "a retained message of 64 bytes", each(before, crowd), 1000)
}
