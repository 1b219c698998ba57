package appliance

import (
	"math"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/bridge"
)

// line is an uplink, or a lane of one: a session and a connection.
type line struct {
	BridgeConfig
	lane string // empty: it is the uplink
	rank int    // among the lanes; the uplink itself comes last
}

// title is what the line is called.
func (l line) title() string {
	if l.lane == "" {
		return l.Name
	}
	return l.Name + "/" + l.lane
}

// lines are the uplink and its lanes, by rank from the second on, and then those
// that are not lanes any more and have something left to send.
func (c BridgeConfig) lines(leftovers []string) []line {
	list := []line{{c, "", len(c.Lanes) + len(leftovers)}}
	for i, l := range c.Lanes {
		list = append(list, line{c, l.Name, i})
	}
	for i, name := range leftovers {
		list = append(list, line{c, name, len(c.Lanes) + i})
	}
	return list
}

// settings is l as package bridge takes it.
func (l line) settings(node, epoch string, most ByteSize) bridge.Config {
	s := l.BridgeConfig.settings(node, epoch, most)
	for i, t := range l.Topics {
		s.Rules[i].Elsewhere = t.Lane != l.lane
	}
	if l.lane == "" {
		return s
	}
	for i := range s.Rules {
		s.Rules[i].Direction &^= bridge.In
	}
	s.SendRate, s.SendBytes = 0, 0
	s.Name, s.Of, s.Gateway, s.ClientID = l.title(), l.Name, s.ClientID, s.ClientID+"-"+l.lane
	if i := slices.IndexFunc(l.Lanes, func(b BridgeLane) bool { return b.Name == l.lane }); i >= 0 {
		s.SendRate, s.SendBytes = l.Lanes[i].SendRate, int(min(l.Lanes[i].SendBytes, math.MaxInt32))
	}
	return s
}

// leftovers are the lanes of the uplink that the broker has sessions of and that
// are not in the configuration any more.
func (b *Broker) leftovers(c BridgeConfig) (names []string) {
	for _, s := range b.relay.Sessions() {
		name, ok := strings.CutPrefix(s.ClientID, bridge.SessionPrefix+c.Name+"/")
		if !ok || slices.Contains(reservedLanes, name) || slices.ContainsFunc(c.Lanes, func(l BridgeLane) bool { return l.Name == name }) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// withoutDrained forgets those lanes of an uplink that are not in the
// configuration any more, and for which nothing waits any more.
func (b *Broker) withoutDrained(list []*uplink) (left []*uplink) {
	for _, u := range list {
		known := u.lane == "" || slices.ContainsFunc(u.Lanes, func(l BridgeLane) bool { return l.Name == u.lane })
		if st := u.Status(); known || st.Queued+st.InFlight > 0 {
			left = append(left, u)
			continue
		}
		u.Stop()
		b.relay.Discard(bridge.SessionPrefix + u.title())
	}
	return left
}
