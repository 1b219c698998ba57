package appliance

import (
	"context"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
)

// A client is slow from the moment that the oldest message for it has waited, or
// that the network has taken nothing, for slowAfter. It has recovered when for
// as long nothing has waited longer than slowBelow.
const (
	slowInterval = 2 * time.Second
	slowAfter    = 5 * time.Second
	slowBelow    = 2 * time.Second
)

// slowWatch finds out which clients do not keep up.
type slowWatch struct {
	clients map[string]*slowClient
}

type slowClient struct {
	since time.Time // when it became slow
	good  time.Time // since when it keeps up again, zero while it does not
}

// lagging is a client for whom something waits.
type lagging struct {
	relay.Lag
	waited time.Duration // by its messages, or by the network
}

// look takes what there is now and returns what has changed. here tells whether
// a client is connected.
func (w *slowWatch) look(now time.Time, lags []lagging, here func(client string) bool) []events.SlowData {
	var out []events.SlowData
	waits := make(map[string]bool)
	for _, l := range lags {
		c := w.clients[l.ClientID]
		switch {
		case c == nil && l.waited >= slowAfter:
			if w.clients == nil {
				w.clients = make(map[string]*slowClient)
			}
			w.clients[l.ClientID] = &slowClient{since: now}
			waits[l.ClientID] = true
			out = append(out, events.SlowData{ClientID: l.ClientID, State: events.SlowBegins, Queued: l.Queued, Pending: l.Pending, Waited: l.waited.Seconds()})
		case c != nil && l.waited >= slowBelow:
			c.good = time.Time{}
			waits[l.ClientID] = true
		}
	}
	for id, c := range w.clients {
		switch {
		case !here(id):
			delete(w.clients, id)
		case waits[id]:
		case c.good.IsZero():
			c.good = now
		case now.Sub(c.good) >= slowAfter:
			delete(w.clients, id)
			out = append(out, events.SlowData{ClientID: id, State: events.SlowEnds, Lasted: c.good.Sub(c.since).Seconds()})
		}
	}
	return out
}

// watchSlow tells who does not keep up, until ctx ends.
func (b *Broker) watchSlow(ctx context.Context) {
	var w slowWatch
	job := b.rest.Job(slowInterval)
	defer job.End()
	for calm := time.Duration(0); job.Next(ctx, calm); {
		lags := b.lagging()
		changed := w.look(time.Now(), lags, func(id string) bool { return b.sessions.Conn(id) != nil })
		now := make(map[string]bool, len(w.clients))
		for id := range w.clients {
			now[id] = true
		}
		b.slow.Store(&now)
		if calm = 0; len(lags)+len(now) > 0 { // else nobody becomes slow before something is sent
			calm = slowInterval
		}
		for _, d := range changed {
			b.log.Debug("client keeps up, or does not", "client", d.ClientID, "state", d.State, "queued", d.Queued, "pending", d.Pending)
			b.bus.Publish(events.New(events.Slow, d.ClientID, d))
		}
	}
}

// isSlow reports whether a client does not keep up.
func (b *Broker) isSlow(client string) bool {
	now := b.slow.Load()
	return now != nil && (*now)[client]
}

// lagging are the clients for whom something waits.
func (b *Broker) lagging() []lagging {
	lags := b.relay.Lagging()
	out := make([]lagging, len(lags))
	for i, l := range lags {
		out[i] = lagging{l, max(l.Oldest, b.stalled(l.ClientID))}
	}
	return out
}

// stalled is how long the network has taken nothing for a client.
func (b *Broker) stalled(client string) time.Duration {
	if conn := b.sessions.Conn(client); conn != nil {
		if _, since := conn.Stalls(); !since.IsZero() {
			return time.Since(since)
		}
	}
	return 0
}
