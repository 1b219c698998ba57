package appliance

import (
	"math"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/bridge"
)

// line is an uplink, or a lane of one, or the live messages of either: a session
// and a connection.
type line struct {
	BridgeConfig
	lane string // empty: it is the uplink; NAME/live or live for live messages
	of   string // the lane that has its settings: itself, or the one whose live messages these are
	live bool
	rank int // among the lanes; the uplink itself comes last
}

// title is what the line is called.
func (l line) title() string {
	if l.lane == "" {
		return l.Name
	}
	return l.Name + "/" + l.lane
}

// clientSuffix is what the client identifier of a lane ends in, after a hyphen.
func clientSuffix(lane string) string { return strings.ReplaceAll(lane, "/", "-") }

// lines are the uplink and its lanes, by rank from the second on but for live
// messages, which are behind what they are of and have a lower rank, and then
// those that are not lanes any more and have something left to send.
func (c BridgeConfig) lines(leftovers []string) (list []line) {
	add := func(lane string, place int) {
		list = append(list, line{BridgeConfig: c, lane: lane, of: lane, rank: 2*place + 1})
		if c.order(lane) == NewestFirst && c.sends(lane) {
			list = append(list, line{BridgeConfig: c, lane: liveOf(lane), of: lane, live: true, rank: 2 * place})
		}
	}
	add("", len(c.Lanes)+len(leftovers))
	for i, l := range c.Lanes {
		add(l.Name, i)
	}
	for i, name := range leftovers {
		list = append(list, line{BridgeConfig: c, lane: name, of: name, rank: 2*(len(c.Lanes)+i) + 1})
	}
	return list
}

// settled is the entry of the configuration that has the settings of l, empty if
// those are the uplink's.
func (l line) settled() BridgeLane {
	if i := l.laneIndex(l.of); i >= 0 {
		return l.Lanes[i]
	}
	return BridgeLane{}
}

// settings is l as package bridge takes it.
func (l line) settings(node, epoch string, most ByteSize) bridge.Config {
	s := l.BridgeConfig.settings(node, epoch, most)
	for i, t := range l.Topics {
		s.Rules[i].Elsewhere = t.Lane != l.of
	}
	if l.lane == "" {
		return s
	}
	for i := range s.Rules {
		s.Rules[i].Direction &^= bridge.In
	}
	s.Name, s.Of, s.Gateway, s.ClientID = l.title(), l.Name, s.ClientID, s.ClientID+"-"+clientSuffix(l.lane)
	own := l.settled()
	s.SendRate, s.SendBytes = own.SendRate, int(min(own.SendBytes, math.MaxInt32))
	if l.live {
		s.Live = l.BridgeConfig.live(line{BridgeConfig: l.BridgeConfig, lane: l.of}.title(), own)
		if s.NATS != nil {
			s.NATS.Retained = "" // nothing retained goes this way
		}
	}
	return s
}

// leftovers are the lanes of the uplink that the broker has sessions of and that
// are not in the configuration any more.
func (b *Broker) leftovers(c BridgeConfig) (names []string) {
	for _, s := range b.relay.Sessions() {
		name, ok := strings.CutPrefix(s.ClientID, bridge.SessionPrefix+c.Name+"/")
		if !ok || slices.Contains(reservedLanes, name) || c.has(name) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// has reports whether lane is a lane of the uplink, or of live messages.
func (c BridgeConfig) has(lane string) bool {
	return slices.ContainsFunc(c.lines(nil), func(l line) bool { return l.lane == lane })
}

// withoutDrained forgets those lanes of an uplink that are not in the
// configuration any more, and for which nothing waits any more.
func (b *Broker) withoutDrained(list []*uplink) (left []*uplink) {
	for _, u := range list {
		if st := u.Status(); u.has(u.lane) || st.Queued+st.InFlight > 0 {
			left = append(left, u)
			continue
		}
		u.Stop()
		b.relay.Discard(bridge.SessionPrefix + u.title())
	}
	return left
}
