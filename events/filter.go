package events

import "sync/atomic"

// Filter says which events a listener gets. The zero Filter is all of them.
// Conditions add up: an event must meet every one that is set.
type Filter struct {
	// Types lists the wanted types. Empty, or with Any in it, it means all,
	// custom ones included.
	Types []Type
	// Client, if set, keeps the events that this client caused or that are
	// about it (such as a delivery to it that was dropped).
	Client string
	// Topic, if set, is an MQTT topic filter. It keeps messages and drops with
	// a topic that matches; events of other types are left out.
	Topic string
	// Keep, if set, has the last word on an event that met the other
	// conditions. It runs on the goroutine that publishes, so it must be quick,
	// and safe for concurrent use.
	Keep func(*Event) bool
}

// Matcher returns what tells whether an event meets the filter. match says
// whether a topic filter matches a topic.
func (f Filter) Matcher(match func(filter, topic string) bool) func(*Event) bool {
	w := newWanted(f)
	return func(e *Event) bool { return w.matches(e, match) }
}

// EveryNth is a condition that is true of the first event it is asked about and,
// after that, of every nth; of each if n is below 2. It may be asked from any
// goroutine.
func EveryNth(n uint64) func(*Event) bool {
	var seen atomic.Uint64
	return func(*Event) bool { return n < 2 || (seen.Add(1)-1)%n == 0 }
}

// bits is a set of built-in types, plus one bit for all custom types.
type bits uint32

const (
	bitConnection bits = 1 << iota
	bitDisconnection
	bitMessage
	bitSubscription
	bitUnsubscription
	bitDrop
	bitRefusal
	bitBridge
	bitSlow
	bitSystem
	bitCustom
	bitsAll = bitCustom<<1 - 1
)

// bitOf returns the bit of t, which is bitCustom for types not built in.
func bitOf(t Type) bits {
	switch t {
	case Message:
		return bitMessage
	case Connection:
		return bitConnection
	case Disconnection:
		return bitDisconnection
	case Subscription:
		return bitSubscription
	case Unsubscription:
		return bitUnsubscription
	case Drop:
		return bitDrop
	case Refusal:
		return bitRefusal
	case Bridge:
		return bitBridge
	case Slow:
		return bitSlow
	case System:
		return bitSystem
	}
	return bitCustom
}

// wanted is a Filter made ready for matching.
type wanted struct {
	types     bits
	anyCustom bool              // every custom type, not just those in custom
	custom    map[Type]struct{} // custom types asked for by name
	client    string
	topic     string
	keep      func(*Event) bool
}

func newWanted(f Filter) wanted {
	w := wanted{client: f.Client, topic: f.Topic, keep: f.Keep}
	all := len(f.Types) == 0
	for _, t := range f.Types {
		switch bit := bitOf(t); {
		case t == Any:
			all = true
		case bit == bitCustom:
			if w.custom == nil {
				w.custom = make(map[Type]struct{})
			}
			w.custom[t] = struct{}{}
			w.types |= bitCustom
		default:
			w.types |= bit
		}
	}
	if all {
		w.types, w.anyCustom = bitsAll, true
	}
	if w.topic != "" {
		w.types &= bitMessage | bitDrop
	}
	return w
}

// wantsType reports whether events of type t can match.
func (w *wanted) wantsType(t Type) bool {
	bit := bitOf(t)
	if w.types&bit == 0 {
		return false
	}
	if bit != bitCustom || w.anyCustom {
		return true
	}
	_, ok := w.custom[t]
	return ok
}

// matches reports whether e meets every condition.
func (w *wanted) matches(e *Event, match func(filter, topic string) bool) bool {
	if !w.wantsType(e.Type) {
		return false
	}
	if w.client != "" && e.Source != w.client && clientOf(e.Data) != w.client {
		return false
	}
	if w.topic != "" {
		if topic, ok := topicOf(e.Data); !ok || !match(w.topic, topic) {
			return false
		}
	}
	return w.keep == nil || w.keep(e)
}
