package relay

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// flow notes what passes on one topic: how much, and who has published it. The
// routes that a topic has one after the other share it. Publishers add to it at
// the ends of their turns; from time to time it is collected.
type flow struct {
	load atomic.Uint64          // messages and bytes of payload since it was collected; see pack
	left atomic.Int32           // so many publishers are still noted until then
	last atomic.Pointer[Source] // the one noted last
	gone atomic.Bool            // not collected any more: who has added to it must do it
}

// noted is how many changes of publishers are noted of a topic each second, and how
// many publishers are remembered of it.
const noted = 4

const (
	// noteInterval is how exact the time of a publication is on a topic that is
	// busy.
	noteInterval = time.Second
	// collectEvery so many of these flows are collected.
	collectEvery = 5
	// unforeseen is how often in a noteInterval something is written down beside
	// that: publishers, and what passed on topics that have no room any more among
	// the routes that are remembered. There may be a million of those a second;
	// what is beyond is not told apart.
	unforeseen = 2000
)

func newFlow() *flow {
	f := &flow{}
	f.left.Store(noted)
	return f
}

// goneFlow is the flow of a route that is not remembered.
func goneFlow() *flow {
	f := newFlow()
	f.gone.Store(true)
	return f
}

// pack makes one number of messages, up to 2^24, and bytes, up to 2^40: more
// than what comes between two collections.
func pack(messages, bytes int) uint64 { return uint64(messages)<<40 | uint64(bytes) }

func unpack(load uint64) (messages, bytes uint64) { return load >> 40, load & (1<<40 - 1) }

// Source is who has published something.
type Source struct {
	Client   string // "" for the broker; like the others, cut after 256 bytes
	Username string
	Remote   string // address, "" if it is not known or was none
}

func newSource(client, username, remote string) *Source {
	const most = 256 // a client may call itself by 65,535
	short := func(s string) string {
		if len(s) > most {
			return strings.Clone(s[:most])
		}
		return s
	}
	return &Source{short(client), short(username), short(remote)}
}

// flowed notes a run of n messages that have been accepted.
func (p *publisher) flowed(rt *route, qos byte, n, bytes int) {
	f := rt.flow
	if c := &p.recent[rt.slot&3]; c.rt == rt {
		c.load += pack(n, bytes)
	} else {
		p.relay.flows.load(rt, pack(n, bytes))
	}
	if left := f.left.Load(); left > 0 && (left == noted || f.last.Load() != p.source) {
		p.note(rt, qos, bytes/n)
	}
}

// unload adds what was gathered for a route to its flow.
func (p *publisher) unload(c *recent) {
	if c.load > 0 {
		p.relay.flows.load(c.rt, c.load)
		c.load = 0
	}
}

// unloadAll does so for all routes, at the end of a turn.
func (p *publisher) unloadAll() {
	for i := range p.recent {
		p.unload(&p.recent[i])
	}
}

// load adds to the flow of a route.
func (f *flows) load(rt *route, load uint64) {
	rt.flow.load.Add(load)
	if rt.flow.gone.Load() {
		f.collectGone(rt.topic, rt.flow)
	}
}

// note writes down who publishes on a topic.
func (p *publisher) note(rt *route, qos byte, size int) {
	f := rt.flow
	if !p.relay.flows.may() {
		return
	}
	left := f.left.Add(-1)
	if left < 0 {
		return
	}
	f.last.Store(p.source)
	p.relay.flows.note(rt.topic, f, left == noted-1, Publication{Source: *p.source, Time: time.Now(), Size: size, QoS: qos})
}

// Publication is what is known of a message on a topic.
type Publication struct {
	Source
	Time time.Time // zero if it was before the relay was made
	Size int       // bytes of payload; of several that came at once, on average
	QoS  byte
}

// flows is what has been collected: the latest publishers of topics, and which
// topics are the busiest. Both are bounded.
type flows struct {
	unforeseen atomic.Int32  // how much may be written down until the next second begins
	missed     atomic.Uint64 // messages that no topic was given

	mu         sync.Mutex // guards everything that follows
	noted      []*flow    // since the second began
	publishers recency
	busiest    [topicDepths]ranking // of the first so many levels; of whole topics at 0
	messages   uint64               // of all topics
	bytes      uint64
}

func newFlows(topics int) *flows {
	f := &flows{publishers: recency{limit: topics, bytes: topics * recencyBytes}}
	f.unforeseen.Store(unforeseen)
	for i := range f.busiest {
		f.busiest[i] = newRanking(max(16, min(maxRanked, topics/8)))
	}
	return f
}

func (f *flows) note(topic string, of *flow, first bool, by Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publishers.add(topic, by)
	if first {
		f.noted = append(f.noted, of)
	}
}

// renew lets what has been noted be noted again.
func (f *flows) renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unforeseen.Store(unforeseen)
	for i, of := range f.noted {
		of.left.Store(noted)
		f.noted[i] = nil
	}
	f.noted = f.noted[:0]
}

// may reports whether something may be written down that is no part of a
// collection.
func (f *flows) may() bool { return f.unforeseen.Load() > 0 && f.unforeseen.Add(-1) >= 0 }

// collectGone is collect for a flow that is not there any more. If there are
// too many of these, their messages are not counted.
func (f *flows) collectGone(topic string, from *flow) {
	if from.load.Load() == 0 {
		return
	}
	if f.may() {
		f.collect(topic, from)
		return
	}
	messages, _ := unpack(from.load.Swap(0))
	f.missed.Add(messages)
}

// collect takes over what a flow has added up.
func (f *flows) collect(topic string, from *flow) {
	if from.load.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	messages, bytes := unpack(from.load.Swap(0)) // under the lock, so that Busiest sees it here or there
	f.messages += messages
	f.bytes += bytes
	for depth := range f.busiest {
		if part, ok := firstLevels(topic, depth); ok {
			f.busiest[depth].add(part, messages, bytes)
		}
	}
}

// firstLevels is the first n levels of a topic, all of it if n is 0. ok is false
// if it has no more than n: the branch is the topic itself, or if it is too long
// to be remembered.
func firstLevels(topic string, n int) (part string, ok bool) {
	at := len(topic)
	if n > 0 {
		at = 0
		for ; n > 0; n-- {
			i := strings.IndexByte(topic[at:], '/')
			if i < 0 {
				return topic, len(topic) <= maxCachedTopic
			}
			at += i + 1
		}
		at--
	}
	return topic[:at], at <= maxCachedTopic
}

// ticker ticks once every noteInterval while messages come, and not otherwise: an
// idle broker is to sleep.
type ticker struct {
	active atomic.Bool // a turn has begun since the last tick

	mu    sync.Mutex // guards everything that follows
	timer *time.Timer
	runs  bool
	over  bool
	ticks int
}

// wake sees to it that it ticks. Call it before a turn begins.
func (r *Relay) wake() {
	r.rest.Stir()
	t := &r.ticker
	if t.active.Load() || !t.active.CompareAndSwap(false, true) {
		return
	}
	r.coarse.Store(r.seconds())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.runs || t.over {
		return
	}
	t.runs = true
	if t.timer == nil {
		t.timer = time.AfterFunc(r.rest.Until(noteInterval), r.tick)
	} else {
		t.timer.Reset(r.rest.Until(noteInterval))
	}
}

// tick lets publishers be noted again and, when it is time, collects all flows.
func (r *Relay) tick() {
	t := &r.ticker
	again := t.active.Swap(false)
	r.coarse.Store(r.seconds())
	r.flows.renew()
	t.mu.Lock()
	t.ticks++
	collect := !again || t.ticks%collectEvery == 0
	t.runs = again && !t.over
	if t.active.Load() && !t.over { // whoever has woken it meanwhile has found it running
		t.runs = true
	}
	if t.runs {
		t.timer.Reset(r.rest.Until(noteInterval))
	}
	t.mu.Unlock()
	if collect {
		r.routes.collect()
	}
}

// stop ends the ticking for good.
func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// collect collects all flows. It holds no lock meanwhile that publishers need
// often.
func (c *routes) collect() {
	type named struct {
		topic string
		flow  *flow
	}
	c.mu.RLock()
	busy := make([]named, 0, len(c.byName))
	for topic, rt := range c.byName {
		if rt.flow.load.Load() > 0 {
			busy = append(busy, named{topic, rt.flow})
		}
	}
	c.mu.RUnlock()
	for _, b := range busy {
		c.flows.collect(b.topic, b.flow)
	}
}
