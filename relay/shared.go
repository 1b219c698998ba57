package relay

import "sync"

// group is one shared subscription: the sessions that subscribed with the
// same share name to the same filter. Each message goes to one of them.
type group struct {
	name   string
	filter string

	mu      sync.Mutex // guards everything that follows
	members []*subscription
	next    int
}

// shareName is the filter that its members have subscribed to.
func (g *group) shareName() string { return "$share/" + g.name + "/" + g.filter }

func (g *group) add(sub, old *subscription) {
	g.mu.Lock()
	g.members = replace(g.members, old, sub)
	g.mu.Unlock()
}

func (g *group) remove(sub *subscription) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := len(g.members)
	g.members = replace(g.members, sub, nil)
	return len(g.members) != before
}

func (g *group) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// pick returns the member that gets the next message: in turn among those
// that are connected and keep up, else among those that are connected, else,
// for QoS>0, a kept session that will read it later; nil when there is none.
// not is a session that must not be chosen, or nil; nor may one be that may not
// receive topic.
func (g *group) pick(topic string, qos byte, not *Session) *subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.members)
	var busy, kept *subscription
	busyAt, keptAt := 0, 0
	for i := range n {
		at := (g.next + i) % n
		m := g.members[at]
		if m.session == not || m.session.ended.Load() || !m.session.mayReceive(topic) {
			continue
		}
		l, stuffed := m.session.live.Load(), m.session.stuffed.Load()
		better := func(than *subscription) bool { return than == nil || !stuffed && than.session.stuffed.Load() }
		switch {
		case l != nil && !stuffed && !m.session.behind():
			g.next = at + 1
			return m
		case l != nil && better(busy):
			busy, busyAt = m, at
		case l == nil && qos > 0 && m.QoS > 0 && better(kept):
			kept, keptAt = m, at
		}
	}
	if busy != nil {
		g.next = busyAt + 1
		return busy
	}
	if kept != nil {
		g.next = keptAt + 1
	}
	return kept
}
