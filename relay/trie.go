package relay

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/synthetism/edgebroker/wire"
)

// Subscription is what a client asked for in one filter of a SUBSCRIBE.
type Subscription struct {
	Filter            string // as sent, with $share/{group}/ if shared
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	ID                uint32 // subscription identifier, 0 for none
	Drain             *Drain // nil is the zero one; it must not change
}

// subscription is a Subscription held by a session. It is replaced as a whole
// when the client subscribes again, never changed.
type subscription struct {
	Subscription
	session *Session
	topic   string // the filter without $share/{group}/
	group   *group // nil if not shared
}

// subscriptions is the set of all subscriptions, indexed by filter level.
// epoch changes with every change of the set, so that a route computed
// earlier is known to be stale.
type subscriptions struct {
	epoch atomic.Uint64
	level func(topic string) Level // what the store promises; nil without one

	mu     sync.RWMutex // guards everything that follows
	root   node
	count  int
	shared int
}

type node struct {
	children map[string]*node // by literal level
	plus     *node            // "+"
	subs     []*subscription  // filters that end here, not shared
	hash     []*subscription  // filters that end here with "/#"
	groups   map[string]*group
	hashGrps map[string]*group
}

func (n *node) empty() bool {
	return len(n.children) == 0 && n.plus == nil && len(n.subs) == 0 && len(n.hash) == 0 &&
		len(n.groups) == 0 && len(n.hashGrps) == 0
}

// add inserts sub and takes old, the session's earlier subscription to the
// same filter, out. A member of a shared subscription gets its group.
func (t *subscriptions) add(sub, old *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(sub, old)
}

func (t *subscriptions) addLocked(sub, old *subscription) {
	name, topic, shared := wire.SplitShare(sub.Filter)
	sub.topic = topic
	n, hash := &t.root, false
	for level := range strings.SplitSeq(topic, "/") {
		switch level {
		case "#":
			hash = true
		case "+":
			if n.plus == nil {
				n.plus = &node{}
			}
			n = n.plus
		default:
			c := n.children[level]
			if c == nil {
				if n.children == nil {
					n.children = make(map[string]*node)
				}
				c = &node{}
				n.children[strings.Clone(level)] = c
			}
			n = c
		}
	}
	if shared {
		grps := &n.groups
		if hash {
			grps = &n.hashGrps
		}
		g := (*grps)[name]
		if g == nil {
			g = &group{name: name, filter: topic}
			if *grps == nil {
				*grps = make(map[string]*group)
			}
			(*grps)[name] = g
		}
		sub.group = g
		g.add(sub, old)
	} else {
		list := &n.subs
		if hash {
			list = &n.hash
		}
		*list = replace(*list, old, sub)
	}
	if old == nil {
		t.count++
		if shared {
			t.shared++
		}
	}
	t.epoch.Add(1)
}

// remove takes sub out of the set.
func (t *subscriptions) remove(sub *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(sub)
}

func (t *subscriptions) removeLocked(sub *subscription) {
	if t.removeAt(&t.root, sub, sub.topic, true) {
		t.count--
		if sub.group != nil {
			t.shared--
		}
		t.epoch.Add(1)
	}
}

// removeAt removes sub from the branch that rest leads to below n, and prunes
// what is empty afterwards. more is false when the filter ends at n.
func (t *subscriptions) removeAt(n *node, sub *subscription, rest string, more bool) bool {
	level, tail, deeper := strings.Cut(rest, "/")
	if !more {
		return n.drop(sub, &n.subs, n.groups)
	}
	switch level {
	case "#":
		return n.drop(sub, &n.hash, n.hashGrps)
	case "+":
		if n.plus == nil || !t.removeAt(n.plus, sub, tail, deeper) {
			return false
		}
		if n.plus.empty() {
			n.plus = nil
		}
		return true
	default:
		c := n.children[level]
		if c == nil || !t.removeAt(c, sub, tail, deeper) {
			return false
		}
		if c.empty() {
			delete(n.children, level)
		}
		return true
	}
}

func (n *node) drop(sub *subscription, list *[]*subscription, groups map[string]*group) bool {
	if g := sub.group; g != nil {
		if groups[g.name] != g || !g.remove(sub) {
			return false
		}
		if g.size() == 0 {
			delete(groups, g.name)
		}
		return true
	}
	before := len(*list)
	*list = replace(*list, sub, nil)
	return len(*list) != before
}

// replace changes old to sub in list, appends sub if old is nil, and removes
// old if sub is nil. It reuses the backing array.
func replace(list []*subscription, old, sub *subscription) []*subscription {
	at := -1
	if old != nil {
		at = slices.Index(list, old)
	}
	switch {
	case at >= 0 && sub != nil:
		list[at] = sub
	case at >= 0:
		list = slices.Delete(list, at, at+1)
	case sub != nil:
		list = append(list, sub)
	}
	return list
}

// matchLocked calls found for each subscription and each shared group whose filter
// matches topic. A wildcard in the first level does not match a topic that
// starts with $. [MQTT-4.7.2-1] The caller holds mu for reading.
func (t *subscriptions) matchLocked(topic string, found func(*subscription), foundGroup func(*group)) {
	t.matchNode(&t.root, topic, true, strings.HasPrefix(topic, "$"), found, foundGroup)
}

func (t *subscriptions) matchNode(n *node, rest string, more, system bool, found func(*subscription), foundGroup func(*group)) {
	if !system { // "#" also matches the parent level
		for _, s := range n.hash {
			found(s)
		}
		for _, g := range n.hashGrps {
			foundGroup(g)
		}
	}
	if !more {
		for _, s := range n.subs {
			found(s)
		}
		for _, g := range n.groups {
			foundGroup(g)
		}
		return
	}
	level, tail, deeper := strings.Cut(rest, "/")
	if c := n.children[level]; c != nil {
		t.matchNode(c, tail, deeper, false, found, foundGroup)
	}
	if n.plus != nil && !system {
		t.matchNode(n.plus, tail, deeper, false, found, foundGroup)
	}
}

// counts returns how many subscriptions there are, and how many are shared.
func (t *subscriptions) counts() (all, shared int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count, t.shared
}
