package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// routes remembers the routes of recent topics, at most limit of them, with at
// most limit*targetsPerRoute targets in all. When there are more topics than
// that, those stay which come again soon: a topic that is new gets the place of
// another only if it has been asked for not long before, so that ten thousand topics in turn
// do not drive each other out, each before it comes again.
type routes struct {
	subs  *subscriptions
	flows *flows
	limit int

	asked   []atomic.Uint32 // hashes of topics that have been asked for in vain
	refused atomic.Uint32   // times that a topic was not let in

	mu      sync.RWMutex // guards what follows
	byName  map[string]*route
	targets int    // of the routes in byName
	epoch   uint64 // of all subscriptions; when what is stale was last forgotten
}

const targetsPerRoute = 32

// maxCachedTopic is the length in bytes beyond which a topic's route is
// computed each time, so that long topics cannot fill memory.
const maxCachedTopic = 1 << 10

// letIn is how often a topic is remembered that has not been asked for before:
// what is stale goes then, too.
const letIn = 256

var hashSeed = maphash.MakeSeed()

// newRoutes remembers up to limit routes.
func newRoutes(subs *subscriptions, flows *flows, limit int) *routes {
	return &routes{subs: subs, flows: flows, limit: limit, byName: make(map[string]*route), asked: make([]atomic.Uint32, max(1, limit))}
}

// lookup returns the route of topic, which may alias a read buffer, and remembers it.
func (c *routes) lookup(topic []byte) *route {
	if rt := c.known(topic); rt != nil {
		return rt
	}
	if len(topic) > maxCachedTopic {
		rt := &route{}
		c.resolveOnce(rt, topic)
		return rt
	}
	return c.remember(topic)
}

// find returns the route of topic, which is not known, for who needs it until the
// next find only. If it is not worth remembering it is made in once, in the memory
// of what that was before.
func (c *routes) find(topic []byte, once *route) *route {
	if len(topic) > maxCachedTopic || !c.worth(topic) {
		c.resolveOnce(once, topic)
		return once
	}
	return c.remember(topic)
}

// known returns the route of topic if it is remembered and not stale.
func (c *routes) known(topic []byte) *route {
	c.mu.RLock()
	rt := c.byName[string(topic)]
	c.mu.RUnlock()
	if rt != nil && !c.subs.stale(rt) {
		return rt
	}
	return nil
}

// worth reports whether topic shall be remembered.
func (c *routes) worth(topic []byte) bool {
	c.mu.RLock()
	room := !c.fullLocked() || c.byName[string(topic)] != nil
	c.mu.RUnlock()
	if room {
		return true
	}
	h := maphash.Bytes(hashSeed, topic)
	place, mark := &c.asked[h%uint64(len(c.asked))], uint32(h>>32)
	if place.Load() == mark {
		return true
	}
	place.Store(mark)
	return c.refused.Add(1)%letIn == 0
}

// resolveOnce makes rt the route of topic, which nobody remembers.
func (c *routes) resolveOnce(rt *route, topic []byte) {
	c.subs.resolveInto(rt, topic)
	if rt.flow == nil {
		rt.flow = newFlow()
		rt.flow.gone.Store(true)
	}
	rt.flow.last.Store(nil)
	rt.flow.left.Store(noted)
}

func (c *routes) remember(topic []byte) *route {
	rt := c.subs.resolve(topic)
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

func (c *routes) fullLocked() bool {
	return len(c.byName) >= c.limit || c.targets >= c.limit*targetsPerRoute
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
