package relay

import (
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// Wanted is what the session of a Port is to have subscribed to, and nothing
// else.
type Wanted struct {
	Port  *Port
	Subs  []Subscription
	Aside *Aside // nil: the session has what it gets itself
}

// Resubscribe makes the subscriptions of several sessions other ones at once: no
// message finds some of them as they were and others as they are to be. They are
// sessions of parts of the program, and none of them is shared. An Aside leads to
// one of them that has none; it lasts until the next Resubscribe of that session
// or this, and is not stored. It waits until the rest is. For each, SendRetained
// must follow with what is returned.
func (r *Relay) Resubscribe(list []Wanted) ([][]Granted, error) {
	for _, w := range list {
		if !validAside(w, list) {
			return nil, fmt.Errorf("session %q: what goes aside must go to another of these, and no further", w.Port.id)
		}
		for _, sub := range w.Subs {
			if err := wire.ValidFilter(sub.Filter); err != nil {
				return nil, fmt.Errorf("subscribe to %q: %w", sub.Filter, err)
			}
			if depth(sub.Filter) > r.conf().MaxTopicLevels {
				return nil, fmt.Errorf("subscribe to %q: it has more levels than topics may have", sub.Filter)
			}
		}
	}
	granted, over, err := r.resubscribe(list)
	if err != nil {
		return nil, err
	}
	for i, w := range list {
		for _, g := range granted[i] {
			r.reportSubscription(w.Port.id, g.Subscription)
		}
		for _, sub := range over[i] {
			r.reportUnsubscription(w.Port.id, sub.Filter)
		}
	}
	if r.store == nil {
		return granted, nil
	}
	done := make(Outcome, 1)
	r.store.Commit(r.store.Level(""), done)
	if err := <-done; err != nil {
		return nil, fmt.Errorf("store the subscriptions: %w", err)
	}
	return granted, nil
}

func (r *Relay) resubscribe(list []Wanted) ([][]Granted, [][]*subscription, error) {
	granted, over := make([][]Granted, len(list)), make([][]*subscription, len(list))
	for _, w := range list { // nobody else holds two
		w.Port.session.mu.Lock()
		defer w.Port.session.mu.Unlock()
	}
	for _, w := range list {
		if s := w.Port.session; s.ended.Load() || s.port != w.Port {
			return nil, nil, fmt.Errorf("session %q has gone to another", s.id)
		}
	}
	asides(list)
	t := &r.subs
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range list {
		s := w.Port.session
		w.Port.holding++ // see Subscribe
		s.queued0.Add(1)
		before := s.subs
		s.subs = make(map[string]*subscription)
		for _, want := range w.Subs {
			if s.subs[want.Filter] != nil {
				continue
			}
			sub, old := &subscription{Subscription: want, session: s}, before[want.Filter]
			if old == nil {
				s.filters += filterCost(want.Filter)
				r.shed.filters.Add(filterCost(want.Filter))
			}
			delete(before, want.Filter)
			s.subs[want.Filter] = sub
			s.recordLocked(Change{Kind: Subscribed, Filter: want})
			t.addLocked(sub, old)
			granted[i] = append(granted[i], Granted{Subscription: want, Existed: old != nil})
		}
		for filter, sub := range before {
			s.forgetOwedLocked(filter)
			s.filters -= filterCost(filter)
			r.shed.filters.Add(-filterCost(filter))
			s.recordLocked(Change{Kind: Unsubscribed, Filter: sub.Subscription})
			t.removeLocked(sub)
			over[i] = append(over[i], sub)
		}
	}
	return granted, over, nil
}
