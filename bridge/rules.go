package bridge

import (
	"strings"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Direction is where a Rule lets messages pass to.
type Direction byte

// Out is to the far side, In is from it.
const (
	Out Direction = 1 << iota
	In
	Both = Out | In
)

// Rule says which messages pass an uplink. A topic is its prefix on the one
// side or the other, and a rest that matches Filter and is the same on both.
type Rule struct {
	Direction    Direction
	Filter       string // of the rest of the topic; with a prefix it may be all of "#"
	QoS          byte   // at most
	LocalPrefix  string
	RemotePrefix string
	Retain       bool // pass retained messages as such; else as any other
	// Elsewhere leaves what it finds to another lane of the same uplink. What
	// waits here all the same, from earlier rules, goes out by it.
	Elsewhere bool
	Latest    bool          // of the messages on one topic that wait, at QoS 1 and 2, only the newest goes
	TTL       time.Duration // how long a message waits for the far side, to a second; 0: for ever
	Kept      bool          // retained messages that go out are all of interest, at QoS 0 as well
	Group     string        // of gateways, of which one gets each message that comes in from NATS; empty: each does
}

// local and remote are the filters that find what Rule lets pass.
func (r *Rule) local() string  { return r.LocalPrefix + r.Filter }
func (r *Rule) remote() string { return r.RemotePrefix + r.Filter }

// Rules are asked in order: the first that fits a topic counts.
type Rules []Rule

// out finds the rule for a topic of this broker, and what it is called on the
// far side. in is the same the other way.
func (rs Rules) out(topic string) (remote string, r *Rule) {
	for i := range rs {
		r := &rs[i]
		if rest, ok := strings.CutPrefix(topic, r.LocalPrefix); ok && r.Direction&Out != 0 && wire.MatchTopic(r.local(), topic) {
			return r.RemotePrefix + rest, r
		}
	}
	return "", nil
}

// beside reports whether topic is one that a subscription finds and no rule
// means: "#" also finds the level above it, which is not behind the prefix.
func (rs Rules) beside(topic string) bool {
	for i := range rs {
		if r := &rs[i]; r.Direction&Out != 0 && topic+"/" == r.LocalPrefix {
			return true
		}
	}
	return false
}

func (rs Rules) in(topic string) (local string, r *Rule) {
	for i := range rs {
		r := &rs[i]
		if rest, ok := strings.CutPrefix(topic, r.RemotePrefix); ok && r.Direction&In != 0 && wire.MatchTopic(r.remote(), topic) {
			return r.LocalPrefix + rest, r
		}
	}
	return "", nil
}

// subscriptions are what the session here subscribes to. No Local keeps back
// what has come in by the uplink. [MQTT-3.8.3-3]
func (rs Rules) subscriptions() []relay.Subscription {
	var list []relay.Subscription
	at := make(map[string]int)
	for i := range rs {
		r := &rs[i]
		if r.Direction&Out == 0 {
			continue
		}
		sub := relay.Subscription{Filter: r.local(), QoS: r.QoS, NoLocal: true, RetainAsPublished: r.Retain, RetainHandling: 2}
		if r.Retain {
			sub.RetainHandling = 1 // what is retained already goes up once, when the rule is new
		}
		if j, twice := at[sub.Filter]; twice {
			list[j].QoS = max(list[j].QoS, sub.QoS)
			continue
		}
		sub.Drain = rs.drain(i)
		at[sub.Filter] = len(list)
		list = append(list, sub)
	}
	return list
}
