package relay

import (
	"bytes"
	"slices"
	"unsafe"
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
func (t *subscriptions) resolve(topic []byte) *route {
	rt := &route{}
	t.resolveInto(rt, topic)
	return rt
}

// resolveInto makes rt the route of topic, in the memory of what it was before.
func (t *subscriptions) resolveInto(rt *route, topic []byte) {
	rt.name = bytes.Clone(topic)
	rt.topic = unsafe.String(unsafe.SliceData(rt.name), len(rt.name)) // nothing writes to it any more
	rt.levels, rt.slot, rt.branch = levels(rt.topic), slot(topic), max(0, branch(rt.topic))
	rt.level = Memory
	if t.level != nil {
		rt.level = t.level(rt.topic)
	}
	clear(rt.targets)
	rt.targets, rt.groups = rt.targets[:0], nil
	t.mu.RLock()
	defer t.mu.RUnlock()
	rt.epoch = t.branches[rt.branch].Load()
	m := matching{rt: rt}
	t.matchLocked(rt.topic, m.found, m.foundGroup)
	if m.noLocal {
		t.matchLocked(rt.topic, m.foundAgain, func(*group) {})
	}
	rt.targets = slices.DeleteFunc(rt.targets, func(tg target) bool { return !tg.session.mayReceive(rt.topic) || tg.never() })
}

// matching puts the subscriptions that match a topic together, by session.
type matching struct {
	rt      *route
	index   map[*Session]int // of the targets, only when there are many
	noLocal bool             // some subscription has No Local
}

func (m *matching) find(s *Session) int {
	if m.index != nil {
		if i, ok := m.index[s]; ok {
			return i
		}
		return -1
	}
	for i := range m.rt.targets {
		if m.rt.targets[i].session == s {
			return i
		}
	}
	return -1
}

func (m *matching) found(s *subscription) {
	rt, i := m.rt, m.find(s.session)
	if i < 0 {
		i = len(rt.targets)
		rt.targets = append(rt.targets, target{session: s.session})
		if m.index != nil {
			m.index[s.session] = i
		} else if i == 16 {
			m.index = make(map[*Session]int)
			for j := range rt.targets {
				m.index[rt.targets[j].session] = j
			}
		}
	}
	tg := &rt.targets[i]
	tg.noLocal = tg.noLocal || s.NoLocal
	m.noLocal = m.noLocal || s.NoLocal
	tg.merge(s)
}

// foundAgain notes what has matched for each target of which not everything counts
// for everyone who publishes.
func (m *matching) foundAgain(s *subscription) {
	if tg := &m.rt.targets[m.find(s.session)]; tg.noLocal {
		tg.subs = append(tg.subs, s)
	}
}

func (m *matching) foundGroup(g *group) { m.rt.groups = append(m.rt.groups, g) }
