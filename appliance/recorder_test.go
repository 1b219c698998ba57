package appliance_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
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

// An event that cannot be kept is counted where others look.
func TestUnrecordedEvents(t *testing.T) {
	cfg := config(t)
	cfg.Limits.MaxConnectSize = 256 * appliance.KiB
	b := start(t, cfg)
	c := brokertest.Clean(wire.V5, strings.Repeat(`"`, 65_000)) // two bytes of JSON each, more than once
	c.HasUsername, c.Username = true, strings.Repeat(`"`, 65_000)
	brokertest.Dial(t, b.Addr("tcp"), c).Disconnect()
	brokertest.WaitFor(t, "an event that is too long", func() bool { return b.Stats().Events.Unrecorded > 0 })
	brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "short")).Disconnect()
	if n := b.Stats().Events.Unrecorded; n > 2 { // one that it came, one that it went
		t.Errorf("%d events are missing", n)
	}
}
