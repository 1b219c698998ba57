package trace_test

import (
	"testing"

	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/wire"
)

// BenchmarkReceived is what a PUBLISH costs that is shown, one that nobody takes
// any more, and one on another topic than the trace is about.
func BenchmarkReceived(b *testing.B) {
	f := frame(b, publish(wire.V5, "plant/line1/temp", 0, 0, 0, "21.5"))
	for name, bench := range map[string]struct {
		q    trace.Query
		take bool
	}{
		"shown":       {trace.Query{Clients: []string{"c"}}, true},
		"missed":      {trace.Query{Clients: []string{"c"}}, false},
		"other topic": {trace.Query{Topics: []string{"x/#"}}, false},
	} {
		b.Run(name, func(b *testing.B) {
			tr := start(b, bench.q)
			tap := tr.Join(trace.Party{Client: "c", Version: wire.V5})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				tap.Received(f)
				if bench.take && i%256 == 0 {
					tr.Take()
				}
			}
		})
	}
}
