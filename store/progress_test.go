package store_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
)

// Whoever waits for recovery sees that it gets on, segment by segment and while
// messages are read, never back and never beyond the end.
func TestRecoveryProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps, totals []int64
		w := newWorld(t, 1, func(_ *relay.Config, o *store.Options) {
			o.OnRecovery = func(done, total int64) { steps, totals = append(steps, done), append(totals, total) }
		})
		w.start()
		w.settle()
		away, pub := w.client(kept("away", 3600)), w.client(kept("pub", 3600))
		away.subscribe(relay.Subscription{Filter: "#", QoS: 1})
		away.leave()
		for i := range uint16(200) {
			pub.publish("t", strings.Repeat("x", 500), 1, i+1)
		}
		w.stop()
		steps, totals = nil, nil
		w.start()
		w.settle()
		w.stop()
		if len(steps) < 5 {
			t.Fatalf("several segments were read in steps %d of %d", steps, totals)
		}
		replayed := 0
		for i := range steps {
			if steps[i] > totals[i] || i > 0 && totals[i] == totals[i-1] && steps[i] < steps[i-1] {
				t.Errorf("step %d: %d of %d", i, steps[i], totals[i])
			}
			if steps[i] == totals[i] {
				replayed++
			}
		}
		if steps[0] != 0 || replayed < 2 {
			t.Errorf("the steps are %d of %d", steps, totals)
		}
	})
}
