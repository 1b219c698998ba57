package store_test

import (
	"math"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// TestStoreRests: a store to which nothing comes wakes up once a minute, and what
// comes to one that has long rested, and nobody waits for, is written within a second.
func TestStoreRests(t *testing.T) {
	var shared *rest.Rest
	lives(t, func(_ *relay.Config, o *store.Options) {
		shared = rest.New() // in the bubble
		o.Rest = shared
	}, func(w *world) {
		sub, pub := w.client(kept("sub", math.MaxUint32)), w.client(kept("pub", math.MaxUint32))
		sub.subscribe(relay.Subscription{Filter: "t", QoS: 1})
		for id := uint16(1); id < 4; id++ {
			pub.publish("t", "a", 1, id)
			pass(time.Minute)
			wakes := shared.Wakes()
			pass(time.Hour)
			if n := shared.Wakes() - wakes; n > 61 {
				t.Errorf("%d wake-ups in an hour of rest", n)
			}
			if n := w.store.Journal().Backlog(); n > 0 {
				t.Errorf("%d bytes wait after an hour", n)
			}
			sub.ack(wire.PUBACK, id+1) // the first number of a session is 2
			if w.store.Journal().Backlog() == 0 {
				t.Error("the record of an acknowledgement was written at once: it says nothing")
			}
			pass(time.Second + 500*time.Millisecond) // the second, and what Flush may take
			if n := w.store.Journal().Backlog(); n > 0 {
				t.Errorf("%d bytes wait after a second", n)
			}
		}
	})
}
