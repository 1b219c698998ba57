package appliance_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/wire"
)

// What has happened is in History at once: who has listened since before misses
// nothing between the two.
func TestHistoryIsComplete(t *testing.T) {
	b := start(t, config(t))
	errFound := errors.New("found")
	for i := range 200 {
		id := fmt.Sprint("c", i)
		// The event of its connection has been published when CONNACK is there.
		c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, id))
		err := b.History(t.Context(), recorder.Query{}, events.Filter{Client: id, Types: []events.Type{events.Connection}}, func(events.Event) error { return errFound })
		if !errors.Is(err, errFound) {
			t.Fatalf("%s: the event is not there, %v", id, err)
		}
		c.Disconnect()
	}
}
