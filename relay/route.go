package relay

import (
	"slices"
	"sync"
)

// route is where messages on one topic go. It is computed once from the
// subscriptions and never changes; it is stale when the epoch of its branch has
// moved on.
type route struct {
	topic   string
	name    []byte // topic
	levels  int    // of topic
	slot    int    // where publishers remember it
	level   Level  // what the store promises for it
	branch  int    // of the subscriptions
	epoch   uint64 // of that branch
	targets []target
	groups  []*group
	flow    *flow // of the topic; set when the route is remembered
}

// target is one session that gets the messages of a topic, with what all of
// its matching subscriptions together ask for: one copy at the highest QoS,
// with every subscription identifier. [MQTT-3.3.4-2] [MQTT-3.3.4-3]
type target struct {
	session *Session
	qos     byte
	retain  bool // some matching subscription has Retain As Published
	noLocal bool // some matching subscription has No Local
	plain   bool // nothing but the QoS matters: frames can be shared
	ids     []uint32
	drain   *Drain          // how messages wait; nil: as ever
	subs    []*subscription // all that match; kept only if noLocal
}

func (t *target) merge(s *subscription) {
	t.qos = max(t.qos, s.QoS)
	t.retain = t.retain || s.RetainAsPublished
	if s.ID != 0 {
		t.ids = append(t.ids, s.ID)
	}
	t.drainBy(s)
	t.plain = !t.retain && !t.noLocal && t.ids == nil && t.drain == nil
}

// forPublisher returns what t asks for of a message that client has published:
// if that is its own client, or its kin, the subscriptions with No Local do not count. ok
// is false when none is left. [MQTT-3.8.3-3]
func (t *target) forPublisher(client string) (_ target, ok bool) {
	if !t.noLocal || !kin(t.session.id, client) {
		return *t, true
	}
	own := target{session: t.session}
	for _, s := range t.subs {
		if !s.NoLocal {
			own.merge(s)
			ok = true
		}
	}
	return own, ok && !own.never()
}

// resolve computes the route of topic.
func (t *subscriptions) resolve(topic string) *route {
	rt := &route{topic: topic, name: []byte(topic), levels: levels(topic), slot: slot(topic), branch: max(0, branch(topic))}
	if t.level != nil {
		rt.level = t.level(topic)
	}
	var index map[*Session]int // only when there are many targets
	find := func(s *Session) int {
		if index != nil {
			if i, ok := index[s]; ok {
				return i
			}
			return -1
		}
		for i := range rt.targets {
			if rt.targets[i].session == s {
				return i
			}
		}
		return -1
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	rt.epoch = t.branches[rt.branch].Load()
	t.matchLocked(topic, func(s *subscription) {
		i := find(s.session)
		if i < 0 {
			i = len(rt.targets)
			rt.targets = append(rt.targets, target{session: s.session})
			if index != nil {
				index[s.session] = i
			} else if i == 16 {
				index = make(map[*Session]int)
				for j := range rt.targets {
					index[rt.targets[j].session] = j
				}
			}
		}
		tg := &rt.targets[i]
		tg.noLocal = tg.noLocal || s.NoLocal
		tg.subs = append(tg.subs, s)
		tg.merge(s)
	}, func(g *group) {
		rt.groups = append(rt.groups, g)
	})
	rt.targets = slices.DeleteFunc(rt.targets, func(tg target) bool { return !tg.session.mayReceive(topic) || tg.never() })
	for i := range rt.targets {
		if !rt.targets[i].noLocal {
			rt.targets[i].subs = nil
		}
	}
	return rt
}

// routes remembers the routes of recent topics, at most limit of them, with at
// most limit*targetsPerRoute targets in all.
type routes struct {
	subs  *subscriptions
	flows *flows
	limit int

	mu      sync.RWMutex // guards what follows
	byName  map[string]*route
	targets int    // of the routes in byName
	epoch   uint64 // of all subscriptions; when what is stale was last forgotten
}

const targetsPerRoute = 32

// maxCachedTopic is the length in bytes beyond which a topic's route is
// computed each time, so that long topics cannot fill memory.
const maxCachedTopic = 1 << 10

// lookup returns the route of topic, which may alias a read buffer.
func (c *routes) lookup(topic []byte) *route {
	if len(topic) > maxCachedTopic {
		rt := c.subs.resolve(string(topic))
		rt.flow = newFlow()
		rt.flow.gone.Store(true)
		return rt
	}
	c.mu.RLock()
	rt := c.byName[string(topic)]
	c.mu.RUnlock()
	if rt != nil && !c.subs.stale(rt) {
		return rt
	}
	if rt != nil {
		rt = c.subs.resolve(rt.topic)
	} else {
		rt = c.subs.resolve(string(topic))
	}
	c.mu.Lock()
	c.storeLocked(rt)
	c.mu.Unlock()
	return rt
}

func (c *routes) storeLocked(rt *route) {
	old := c.byName[rt.topic]
	if old != nil {
		c.targets += len(rt.targets) - len(old.targets)
		rt.flow = old.flow
	} else {
		rt.flow = newFlow()
		c.targets += len(rt.targets)
	}
	c.byName[rt.topic] = rt
	if !c.overLocked() {
		return
	}
	if now := c.subs.epoch.Load(); c.epoch != now { // what is stale keeps sessions that have ended from being freed
		for topic, r := range c.byName {
			if c.subs.stale(r) {
				c.forgetLocked(topic, r)
			}
		}
		c.epoch = now
	}
	for topic, r := range c.byName { // map order: as good as random
		if !c.overLocked() {
			return
		}
		c.forgetLocked(topic, r)
	}
}

func (c *routes) overLocked() bool {
	return len(c.byName) > c.limit || c.targets > c.limit*targetsPerRoute
}

func (c *routes) forgetLocked(topic string, r *route) {
	delete(c.byName, topic)
	c.targets -= len(r.targets)
	r.flow.gone.Store(true)
	c.flows.collectGone(topic, r.flow)
}
