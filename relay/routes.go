package relay

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// routes remembers the routes of recent topics. When there are more topics than
// there is room for, those stay which come again soon: a topic that is new gets the
// place of another only if it has been asked for not long before, and then not each
// time, so that ten thousand topics in turn do not drive each other out, each before it
// comes again. Nobody waits for another: a route that cannot be looked up at once is
// made anew, which takes about as long.
type routes struct {
	subs  *subscriptions
	flows *flows

	limit       int // routes
	targetLimit int // of all of them
	byteLimit   int // of their topics

	asked [][askedWays]atomic.Uint32 // hashes of topics that have been asked for in vain, by some of their bits

	mu      sync.RWMutex // guards what follows
	byName  map[string]*route
	targets int    // of the routes in byName
	bytes   int    // of their topics
	epoch   uint64 // of all subscriptions; when what is stale was last forgotten
}

// What there is room for, for each of the topics that newRoutes is told: one that is
// long and has many targets, or several as there are more of, with fewer.
const (
	targetsPerRoute = 32
	shortRoutes     = 4
	mostRoutes      = 4096 // above that, what is remembered is slower to find than to make
)

// maxCachedTopic is the length in bytes beyond which a topic's route is
// computed each time, so that long topics cannot fill memory.
const maxCachedTopic = 1 << 10

// sparing is of how many topics that have been asked for one gets the place of another:
// to remember costs three times what it does to make a route and forget it.
const sparing = 8

// letIn is one of how many topics is remembered though it has not been asked for
// before: what is stale goes then, too.
const letIn = 256

// askedWays is how many topics are noted in one place: two that keep asking there do
// not make each other forgotten.
const askedWays = 4

var hashSeed = maphash.MakeSeed()

// newRoutes remembers the routes of so many topics, with so many targets and bytes as
// these may have.
func newRoutes(subs *subscriptions, flows *flows, topics int) *routes {
	limit := max(topics, min(mostRoutes, topics*shortRoutes))
	return &routes{subs: subs, flows: flows, limit: limit, targetLimit: topics * targetsPerRoute, byteLimit: topics * maxCachedTopic,
		byName: make(map[string]*route), asked: make([][askedWays]atomic.Uint32, max(1, limit/askedWays))}
}

// lookup returns the route of topic, which may alias a read buffer, and remembers it.
func (c *routes) lookup(topic []byte) *route {
	if rt, _ := c.known(topic); rt != nil {
		return rt
	}
	if len(topic) <= maxCachedTopic {
		if rt := c.remember(topic); rt != nil {
			return rt
		}
	}
	rt := &route{}
	c.resolveOnce(rt, topic)
	return rt
}

// known returns the route of topic if it is remembered and not stale. Else keep
// says that it is worth remembering.
func (c *routes) known(topic []byte) (_ *route, keep bool) {
	if !c.mu.TryRLock() {
		return nil, false
	}
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
			return nil, rand.Uint32()%sparing == 0
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

// remember is nil if somebody else is looking at what is remembered.
func (c *routes) remember(topic []byte) *route {
	if !c.mu.TryLock() {
		return nil
	}
	defer c.mu.Unlock()
	rt := c.subs.resolve(topic)
	c.storeLocked(rt)
	return rt
}

// storeLocked remembers rt, and forgets others if there are too many. One that has
// more targets than there is room for is not remembered.
func (c *routes) storeLocked(rt *route) {
	old := c.byName[rt.topic]
	if len(rt.targets) > c.targetLimit {
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
		c.bytes += len(rt.topic)
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
	return len(c.byName) >= c.limit || c.targets >= c.targetLimit || c.bytes >= c.byteLimit
}

func (c *routes) overLocked() bool {
	return len(c.byName) > c.limit || c.targets > c.targetLimit || c.bytes > c.byteLimit
}

func (c *routes) forgetLocked(topic string, r *route) {
	delete(c.byName, topic)
	c.targets -= len(r.targets)
	c.bytes -= len(topic)
	r.flow.gone.Store(true)
	c.flows.collectGone(topic, r.flow)
}
