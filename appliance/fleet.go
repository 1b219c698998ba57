package appliance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/statsd"
)

// Bounds on what other gateways are believed.
const (
	fleetMost    = 4096 // gateways that are remembered
	fleetText    = 256  // bytes of a name
	fleetUplinks = 64   // uplinks of one gateway
)

// fleet remembers the gateways that have answered.
type fleet struct {
	mu   sync.Mutex // guards seen
	seen map[fleetKey]statsd.FleetGateway
}

type fleetKey struct{ name, client string }

// fleetReport is this gateway as others see it by an uplink.
func (b *Broker) fleetReport(client string) statsd.FleetGateway {
	st := b.Stats()
	g := statsd.FleetGateway{Name: b.conf().Sys.NodeName(), ID: b.epoch(), ClientID: client, Version: st.Version, Uptime: st.Uptime, Clients: st.ClientCount,
		Received: st.Rates.Received.Min1, Sent: st.Rates.Sent.Min1, Dropped: st.Dropped.Total, Uplinks: []statsd.FleetUplink{}}
	for _, u := range st.Bridges[:min(len(st.Bridges), fleetUplinks)] {
		g.Uplinks = append(g.Uplinks, statsd.FleetUplink{Name: u.Name, State: u.State, Queued: u.Queued.Messages, Unanswered: u.Unanswered})
	}
	return g
}

// reporter is bridge.NATS.Report of an uplink; nil if it is in no fleet.
func (b *Broker) reporter(c BridgeConfig) func() ([]byte, error) {
	if !c.NATS.Fleet {
		return nil
	}
	return func() ([]byte, error) { return json.Marshal(b.fleetReport(c.ClientName())) }
}

// Fleet asks the gateways on the NATS systems that uplinks with nats.fleet lead to
// how they are, for as long as wait, and tells of those, too, that have answered
// earlier.
func (b *Broker) Fleet(ctx context.Context, wait time.Duration) statsd.Fleet {
	type answer struct {
		uplink, client string
		reports        [][]byte
		err            error
	}
	var asked []*uplink
	for _, u := range b.links() {
		if u.InFleet() {
			asked = append(asked, u)
		}
	}
	answers := make([]answer, len(asked))
	var all sync.WaitGroup
	for i, u := range asked {
		all.Go(func() {
			reports, err := u.AskFleet(ctx, wait)
			answers[i] = answer{u.BridgeConfig.Name, u.ClientName(), reports, err}
		})
	}
	all.Wait()
	now := time.Now()
	out := statsd.Fleet{Gateways: []statsd.FleetGateway{}, Unasked: []string{}, Cut: []string{}}
	if len(asked) == 0 {
		return out
	}
	own := b.fleetReport(answers[0].client)
	own.Here, own.Answers, own.LastSeen = true, true, now
	fresh := map[fleetKey]statsd.FleetGateway{{own.Name, own.ClientID}: own}
	known := map[string]bool{own.ID: true}
	for _, a := range answers {
		switch {
		case errors.Is(a.err, bridge.ErrLargeFleet):
			out.Cut = append(out.Cut, a.uplink)
		case a.err != nil:
			out.Unasked = append(out.Unasked, a.uplink)
			continue
		}
		for _, report := range a.reports {
			g, ok := readGateway(report)
			if !ok || known[g.ID] {
				continue // it has answered by another uplink
			}
			known[g.ID] = true
			g.Via, g.Answers, g.LastSeen = a.uplink, true, now
			fresh[fleetKey{g.Name, g.ClientID}] = g
		}
	}
	out.Gateways = b.fleet.remember(fresh)
	return out
}

// remember adds those that have answered now, and returns all in order.
func (f *fleet) remember(fresh map[fleetKey]statsd.FleetGateway) []statsd.FleetGateway {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = make(map[fleetKey]statsd.FleetGateway)
	}
	for key, g := range f.seen {
		g.Answers = false
		f.seen[key] = g
	}
	for key, g := range fresh {
		f.seen[key] = g
	}
	list := make([]statsd.FleetGateway, 0, len(f.seen))
	for _, g := range f.seen {
		list = append(list, g)
	}
	if len(list) > fleetMost {
		slices.SortFunc(list, func(a, b statsd.FleetGateway) int {
			return cmp.Or(distance(&a)-distance(&b), b.LastSeen.Compare(a.LastSeen))
		})
		for _, g := range list[fleetMost:] {
			delete(f.seen, fleetKey{g.Name, g.ClientID})
		}
		list = list[:fleetMost]
	}
	slices.SortFunc(list, func(a, b statsd.FleetGateway) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ClientID, b.ClientID))
	})
	return list
}

// distance is by what those are forgotten first that are too many.
func distance(g *statsd.FleetGateway) int {
	switch {
	case g.Here:
		return 0
	case g.Answers:
		return 1
	}
	return 2
}

// readGateway reads what another gateway says of itself, which may be anything.
func readGateway(report []byte) (g statsd.FleetGateway, ok bool) {
	if json.Unmarshal(report, &g) != nil {
		return g, false
	}
	for _, text := range []*string{&g.Name, &g.ID, &g.ClientID, &g.Version} {
		*text = plainText(*text)
	}
	if g.Name == "" || g.ID == "" {
		return g, false
	}
	g.Here, g.Uptime, g.Received, g.Sent = false, max(0, g.Uptime), max(0, g.Received), max(0, g.Sent)
	g.Uplinks = g.Uplinks[:min(len(g.Uplinks), fleetUplinks)]
	for i := range g.Uplinks {
		u := &g.Uplinks[i]
		u.Name, u.State = plainText(u.Name), plainText(u.State)
	}
	if g.Uplinks == nil {
		g.Uplinks = []statsd.FleetUplink{}
	}
	return g, true
}

// plainText is the beginning of s without what a terminal would obey.
func plainText(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), fleetText)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func (k backend) Fleet(ctx context.Context, wait time.Duration) statsd.Fleet {
	return k.b.Fleet(ctx, wait)
}
