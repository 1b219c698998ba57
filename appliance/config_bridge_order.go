package appliance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/synthetism/edgebroker/bridge"
)

// BridgeOrder is what goes first of the messages for an uplink, or for a lane.
type BridgeOrder string

// The orders.
const (
	OldestFirst BridgeOrder = "oldest" // all in the order in which they came
	NewestFirst BridgeOrder = "newest" // live ones before what has waited
)

// liveLane is what sessions for live messages end in, and their clients on the
// far side.
const liveLane = "live"

// What may wait for a connection for live messages, at most: so much as goes in
// liveWait, or less.
const (
	liveWait     = 10 // seconds
	liveMessages = 1000
	liveBytes    = 256 * KiB
	leastLive    = 10
)

// order is that of a lane, "" being what goes without one.
func (c BridgeConfig) order(lane string) BridgeOrder {
	own := BridgeOrder("")
	if i := c.laneIndex(lane); i >= 0 {
		own = c.Lanes[i].Order
	}
	return cmp.Or(own, c.Order, OldestFirst)
}

// sends reports whether something goes out by lane.
func (c BridgeConfig) sends(lane string) bool {
	return slices.ContainsFunc(c.Topics, func(t BridgeTopic) bool { return t.Lane == lane && t.Direction != BridgeIn })
}

// laneIndex is where lane stands in Lanes, less than 0 if it does not.
func (c BridgeConfig) laneIndex(lane string) int {
	return slices.IndexFunc(c.Lanes, func(l BridgeLane) bool { return l.Name == lane })
}

// liveOf is what the session for the live messages of a lane is called among the
// lanes.
func liveOf(lane string) string {
	if lane == "" {
		return liveLane
	}
	return lane + "/" + liveLane
}

// newest reports whether the uplink or one of its lanes has two sessions.
func (c BridgeConfig) newest() bool {
	return slices.ContainsFunc(c.lines(nil), func(l line) bool { return l.live })
}

// live is what may wait for the live messages of a lane with rates of its own, as
// package bridge takes it; of is the name of what they belong to.
func (c BridgeConfig) live(of string, lane BridgeLane) *bridge.Live {
	l := &bridge.Live{Of: of, Messages: liveMessages, Bytes: int64(liveBytes)}
	for _, rate := range []int{c.SendRate, lane.SendRate} {
		if rate > 0 {
			l.Messages = min(l.Messages, max(leastLive, liveWait*rate))
		}
	}
	for _, rate := range []ByteSize{c.SendBytes, lane.SendBytes} {
		if rate > 0 {
			l.Bytes = min(l.Bytes, int64(min(rate, liveBytes)*liveWait))
		}
	}
	return l
}

// orderFindings looks at orders, and at what does not go with them.
func (c BridgeConfig) orderFindings(item string) (out []finding) {
	if c.Order != "" {
		out = append(out, oneOf(item+".order", c.Order, OldestFirst, NewestFirst)...)
	}
	for i, l := range c.Lanes {
		at := fmt.Sprintf("%s.lanes[%d]", item, i)
		if l.Order != "" {
			out = append(out, oneOf(at+".order", l.Order, OldestFirst, NewestFirst)...)
		}
		for _, of := range append([]string{""}, c.laneNames()...) {
			if c.order(of) != NewestFirst {
				continue
			}
			if taken := clientSuffix(liveOf(of)); clientSuffix(l.Name) == taken {
				out = append(out, finding{path: at + ".name", what: quoteShort(l.Name) + " would have the connection of live messages, with order: newest", mend: "pick another"})
			}
		}
	}
	for i, t := range c.Topics {
		if t.Keep == KeepLatest && t.Direction != BridgeIn && c.order(t.Lane) == NewestFirst {
			out = append(out, finding{path: fmt.Sprintf("%s.topics[%d].keep", item, i), what: "the latest would go before, and older ones after it, with order: newest",
				mend: "give it a lane with order: oldest, in which little waits"})
		}
	}
	if !c.newest() {
		return out
	}
	if c.NATS.OnlyWriter && len(c.Lanes) == 0 {
		out = append(out, finding{path: item + ".nats.only_writer", what: "the stream has several writers with", other: item + ".order", mend: "remove this, or that"})
	}
	if len(c.Lanes) == 0 && c.guardless() {
		out = append(out, finding{path: item + ".loop_guard", what: "live messages could come in again; it must be on with", other: item + ".order", mend: "remove it, or take in by another uplink"})
	}
	return out
}

// guardless reports whether something comes in, and nothing tells what has gone
// out.
func (c BridgeConfig) guardless() bool {
	return c.LoopGuard != nil && !*c.LoopGuard && slices.ContainsFunc(c.Topics, func(t BridgeTopic) bool { return t.Direction == BridgeIn || t.Direction == BridgeBoth })
}

func (c BridgeConfig) laneNames() (names []string) {
	for _, l := range c.Lanes {
		names = append(names, l.Name)
	}
	return names
}
