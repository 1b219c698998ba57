package relay

import (
	"hash/maphash"
	"math/rand/v2"
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

	asked [][askedWays]atomic.Uint32 // hashes of topics that have been asked for in vain, by some of their bits

	mu      sync.RWMutex // guards what follows
	byName  map[string]*route
	targets int    // of the routes in byName
	epoch   uint64 // of all subscriptions; when what is stale was last forgotten
}

const targetsPerRoute = 32

// maxCachedTopic is the length in bytes beyond which a topic's route is
// computed each time, so that long topics cannot fill memory.
const maxCachedTopic = 1 << 10

// letIn is one of how many topics is remembered though it has not been asked for
// before: what is stale goes then, too.
const letIn = 256

// askedWays is how many topics are noted in one place: two that keep asking there do
// not make each other forgotten.
const askedWays = 4

var hashSeed = maphash.MakeSeed()

// newRoutes remembers up to limit routes.
func newRoutes(subs *subscriptions, flows *flows, limit int) *routes {
	return &routes{subs: subs, flows: flows, limit: limit, byName: make(map[string]*route), asked: make([][askedWays]atomic.Uint32, max(1, limit/askedWays))}
}

// lookup returns the route of topic, which may alias a read buffer, and remembers it.
func (c *routes) lookup(topic []byte) *route {
	if rt, _ := c.known(topic); rt != nil {
		return rt
	}
	if len(topic) > maxCachedTopic {
		rt := &route{}
		c.resolveOnce(rt, topic)
		return rt
	}
	return c.remember(topic)
}

// known returns the route of topic if it is remembered and not stale. Else keep
// says that it is worth remembering.
func (c *routes) known(topic []byte) (_ *route, keep bool) {
	c.mu.RLock()
	rt := c.byName[string(topic)]
	room := !c.fullLocked()
	c.mu.RUnlock()
	switch {
	case rt != nil && !c.subs.stale(rt):
		return rt, true
	case rt != nil, room && len(topic) <= maxCachedTopic:
		return nil, true
	case len(topic) > maxCachedTopic:
		return nil, false
	}
	h := maphash.Bytes(hashSeed, topic)
	place, mark := &c.asked[h%uint64(len(c.asked))], uint32(h>>32)
	for i := range place {
		if place[i].Load() == mark {
			return nil, true
		}
	}
	place[rand.Uint32()%askedWays].Store(mark)
	return nil, mark%letIn == 0
}

// resolveOnce makes rt the route of topic, which nobody remembers.
func (c *routes) resolveOnce(rt *route, topic []byte) {
	c.subs.resolveInto(rt, topic)
	if rt.flow == nil {
		rt.flow = goneFlow()
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

// storeLocked remembers rt, and forgets others if there are too many. One that has
// more targets than there is room for is not remembered.
func (c *routes) storeLocked(rt *route) {
	old := c.byName[rt.topic]
	if len(rt.targets) > c.limit*targetsPerRoute {
		if old != nil {
			c.forgetLocked(rt.topic, old)
		}
		rt.flow = goneFlow()
		return
	}
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
		if r != rt {
			c.forgetLocked(topic, r)
		}
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
