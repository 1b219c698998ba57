package relay

import (
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
	at      int    // where it is in its list; guarded by subscriptions.mu
}

// subscriptions is the set of all subscriptions, indexed by filter level.
// epoch changes with every change of the set. Those of a branch, which is some of
// the topics, told apart by their first level, change with every change that may
// concern one of these topics, so that a route computed earlier is known to be
// stale, and most routes are not when others subscribe to something else.
type subscriptions struct {
	epoch    atomic.Uint64
	branches [branches]atomic.Uint64
	level    func(topic string) Level // what the store promises; nil without one

	mu     sync.RWMutex // guards everything that follows
	root   node
	count  int
	shared int
}

const branches = 64

// branch is where topic belongs, or where all topics do that the filter matches; -1
// if these may belong to any.
func branch(topicOrFilter string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(topicOrFilter) {
		c := topicOrFilter[i]
		if c == '/' {
			break
		}
		if i == 0 && (c == '#' || c == '+') {
			return -1
		}
		h = (h ^ uint32(c)) * 16777619
	}
	return int((h ^ h>>16) % branches)
}

// changed makes the routes stale that a subscription to filter, which is not
// $share/..., may be in.
func (t *subscriptions) changed(filter string) {
	t.epoch.Add(1)
	if b := branch(filter); b >= 0 {
		t.branches[b].Add(1)
		return
	}
	for b := range t.branches {
		t.branches[b].Add(1)
	}
}

// stale reports whether rt may be another if it is computed now.
func (t *subscriptions) stale(rt *route) bool { return rt.epoch != t.branches[rt.branch].Load() }

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
	t.changed(topic)
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
		t.changed(sub.topic)
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

// replace changes old to sub in list, appends sub if old is nil, and removes old if
// sub is nil, which moves the last one to its place: a filter that many have asked
// for costs each of them the same. It reuses the backing array.
func replace(list []*subscription, old, sub *subscription) []*subscription {
	known := old != nil && old.at < len(list) && list[old.at] == old
	switch {
	case known && sub != nil:
		sub.at = old.at
		list[sub.at] = sub
	case known:
		last := len(list) - 1
		list[old.at] = list[last]
		list[old.at].at = old.at
		list[last] = nil
		list = list[:last]
	case sub != nil:
		sub.at = len(list)
		list = append(list, sub)
	}
	return list
}

// matchLocked calls found for each subscription and each shared group whose filter
// matches topic. A wildcard in the first level does not match a topic that
// starts with $. [MQTT-4.7.2-1] The caller holds mu for reading. It returns how many
// nodes it has looked at, which their number does not decide.
func (t *subscriptions) matchLocked(topic string, found func(*subscription), foundGroup func(*group)) (visited int) {
	return t.matchNode(&t.root, topic, true, strings.HasPrefix(topic, "$"), found, foundGroup)
}

func (t *subscriptions) matchNode(n *node, rest string, more, system bool, found func(*subscription), foundGroup func(*group)) (visited int) {
	visited = 1
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
		return visited
	}
	level, tail, deeper := strings.Cut(rest, "/")
	if c := n.children[level]; c != nil {
		visited += t.matchNode(c, tail, deeper, false, found, foundGroup)
	}
	if n.plus != nil && !system {
		visited += t.matchNode(n.plus, tail, deeper, false, found, foundGroup)
	}
	return visited
}

// counts returns how many subscriptions there are, and how many are shared.
func (t *subscriptions) counts() (all, shared int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count, t.shared
}
