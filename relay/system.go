package relay

// SystemRoot is the first level of the topics on which the broker speaks of
// itself.
const SystemRoot = "$SYS"

// Own is what the broker says of itself. Its topic begins with SystemRoot.
type Own struct {
	Topic   string
	Payload []byte // kept: it must not change
	Retain  bool   // whoever subscribes later gets it, too
}

// Tell sends what the broker says of itself, at QoS 0, to the clients that are
// connected: it never waits for one that is away, since the next value makes it
// worthless. It counts as sent to those who get it, but neither as published nor
// as dropped for want of subscribers, is no event, is not stored, and what is
// retained of it takes no room from clients. It does not last longer than the
// process. Call it for one topic from one goroutine at a time.
func (r *Relay) Tell(own []Own) {
	msgs := make([]*Message, len(own))
	for i, o := range own {
		msgs[i] = &Message{Topic: o.Topic, name: []byte(o.Topic), Payload: o.Payload, Retain: o.Retain}
		if o.Retain {
			r.system.set(msgs[i], nil)
		}
	}
	// A session that subscribes from here on finds them among the retained ones.
	if !r.Heard(SystemRoot) {
		return
	}
	p := publisher{relay: r}
	r.inHouse(&p, func() {
		for _, m := range msgs {
			p.tell(m)
		}
	})
	p.flush()
}

// Heard reports whether anybody has subscribed to anything below root, a first
// level that begins with $, so that what is not retained is worth making.
func (r *Relay) Heard(root string) bool {
	r.subs.mu.RLock()
	defer r.subs.mu.RUnlock()
	return r.subs.root.children[root] != nil
}

// tell gives m to the connected sessions that have subscribed to it. Routes are
// not remembered: some topics name clients, and would push out those of plants.
func (p *publisher) tell(m *Message) {
	rt := p.relay.subs.resolve([]byte(m.Topic))
	one := []*Message{m}
	for i := range rt.targets {
		if t := &rt.targets[i]; t.session.live.Load() != nil {
			p.deliver(t, one)
		}
	}
	for _, g := range rt.groups {
		for taken := false; !taken; {
			sub := g.pick(m.Topic, 0, nil)
			if sub == nil {
				break
			}
			taken = p.handShare(sub, m)
		}
	}
}
