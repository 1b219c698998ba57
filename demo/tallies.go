package demo

import (
	"sync"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
)

// tallies adds up what brokers say of their clients when connections end.
type tallies struct {
	mu sync.Mutex
	by map[string]tally
}

// tally is what they say of one, by all of its connections.
type tally struct{ published, sent, refused uint64 }

// watch listens to what b says.
func (t *tallies) watch(b *appliance.Broker) {
	b.On(string(events.Disconnection), func(e events.Event) {
		d := e.Data.(events.DisconnectionData)
		t.change(d.ClientID, func(y *tally) {
			y.published += d.Received
			y.sent += d.Sent
		})
	})
	b.On(string(events.Refusal), func(e events.Event) {
		if d := e.Data.(events.RefusalData); d.What == "publish" {
			t.change(d.ClientID, func(y *tally) { y.refused++ })
		}
	})
}

func (t *tallies) change(client string, by func(*tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = make(map[string]tally)
	}
	y := t.by[client]
	by(&y)
	t.by[client] = y
}

func (t *tallies) of(client string) tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[client]
}
