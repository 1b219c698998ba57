package relay

import (
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// Granted is a subscription that Subscribe has made, and whether the session
// had one with the same filter before.
type Granted struct {
	Subscription
	Existed bool
}

// Subscribe adds subs to the session and returns a reason code for each.
// [MQTT-3.9.3-1] Filters that are invalid are refused; permission is the
// caller's affair. Retained messages are sent by SendRetained, which must be
// called once after each Subscribe, when the SUBACK has been written. For a
// kept session done is told when the subscriptions are stored; without a
// store, or if nothing is to be stored, before Subscribe returns.
func (p *Port) Subscribe(subs []Subscription, done Done) ([]wire.Reason, []Granted) {
	s, r := p.session, p.relay
	codes, granted := make([]wire.Reason, len(subs)), make([]Granted, 0, len(subs))
	// Until SendRetained live QoS 0 goes through the queue as well, so that what
	// comes while retained messages are being sent comes after them.
	p.holding++
	s.queued0.Add(1)
	for i, want := range subs {
		if wire.ValidFilter(want.Filter) != nil || depth(want.Filter) > r.conf().MaxTopicLevels {
			codes[i] = wire.TopicFilterInvalid
			continue
		}
		existed, reason := s.subscribe(want)
		if reason != wire.Success {
			codes[i] = reason
			continue
		}
		codes[i] = wire.Reason(want.QoS)
		granted = append(granted, Granted{Subscription: want, Existed: existed})
		r.reportSubscription(s.id, want)
	}
	p.commitSubscriptions(done)
	return codes, granted
}

// depth is the number of levels a topic has at least that filter matches.
func depth(filter string) int {
	_, topic, _ := wire.SplitShare(filter)
	return levels(strings.TrimSuffix(topic, "/#"))
}

// subscribe adds one subscription, replacing the session's earlier one with
// the same filter. [MQTT-3.8.4-3]
func (s *Session) subscribe(want Subscription) (existed bool, _ wire.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return false, wire.UnspecifiedError
	}
	if s.subs == nil {
		s.subs = make(map[string]*subscription)
	}
	sub, old := &subscription{Subscription: want, session: s}, s.subs[want.Filter]
	if old == nil {
		cost, conf := filterCost(want.Filter), s.relay.conf()
		if s.filters+cost > conf.MaxFilterBytes || conf.MaxSubscriptions > 0 && len(s.subs) >= conf.MaxSubscriptions || !s.relay.claimFilter(cost) {
			return false, wire.QuotaExceeded
		}
		s.filters += cost
	}
	s.subs[want.Filter] = sub
	s.recordLocked(Change{Kind: Subscribed, Filter: want})
	s.relay.subs.add(sub, old)
	return old != nil, wire.Success
}

// filterCost is about what a subscription costs in bytes, none of its levels
// being shared with others.
func filterCost(filter string) int64 {
	return int64(2*len(filter)+levels(filter)*nodeOverhead) + 300
}

// Unsubscribe removes filters from the session and returns a reason code for
// each. done is as for Subscribe.
func (p *Port) Unsubscribe(filters []string, done Done) []wire.Reason {
	s := p.session
	codes := make([]wire.Reason, len(filters))
	for i, f := range filters {
		s.mu.Lock()
		sub := s.subs[f]
		if sub != nil {
			delete(s.subs, f)
			s.forgetOwedLocked(f)
			s.filters -= filterCost(f)
			s.relay.claimFilter(-filterCost(f))
			s.recordLocked(Change{Kind: Unsubscribed, Filter: sub.Subscription})
		}
		s.mu.Unlock()
		if sub == nil {
			codes[i] = wire.NoSubscriptionExisted
			continue
		}
		s.relay.subs.remove(sub)
		s.relay.reportUnsubscription(s.id, f)
	}
	p.commitSubscriptions(done)
	return codes
}

// commitSubscriptions tells done when the subscriptions are as safe as the
// session is.
func (p *Port) commitSubscriptions(done Done) {
	if p.session.recorded.Load() == 0 {
		done.Committed(nil)
		return
	}
	p.relay.store.Commit(p.relay.store.Level(""), done)
}

// What one SUBSCRIBE may cost: its first filters always get their retained
// messages, further ones as long as fewer levels of topics than this have been
// looked through for them.
const (
	retainedFilters = 8
	retainedVisits  = 1 << 20
)

// SendRetained sends the retained messages that the granted subscriptions
// ask for. [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] A client whose
// SUBSCRIBE would have them looked through again and again is disconnected.
// The session is locked for one filter at a time, so that those who publish to
// it need not wait for all.
func (p *Port) SendRetained(granted []Granted) {
	s, holding := p.session, p.holding
	p.holding = 0
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.port == p && !s.ended.Load() { // queued0 starts anew with each Port
			s.queued0.Add(-holding)
		}
	}()
	visited := 0
	for i := range granted {
		g := &granted[i]
		if _, _, shared := wire.SplitShare(g.Filter); shared { // section 4.8.2: they get nothing retained
			continue
		}
		if g.RetainHandling == 2 || g.RetainHandling == 1 && g.Existed {
			continue
		}
		if i >= retainedFilters && visited > retainedVisits {
			p.link.Kick(wire.QuotaExceeded, "protocol_error")
			return
		}
		n, ok := p.sendRetained(&g.Subscription)
		s.commitEntered()
		s.commitChunks()
		if !ok {
			return
		}
		visited += n
	}
}

// sendRetained sends what is retained for one subscription. It returns how
// many levels of topics it has looked at, and whether p still has the session.
func (p *Port) sendRetained(sub *Subscription) (visited int, owned bool) {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port != p || s.ended.Load() {
		return 0, false
	}
	s.forgetOwedLocked(sub.Filter)
	o, ids := owed{filter: sub.Filter}, idsOf(sub)
	send := func(m *Message) {
		switch {
		case !s.mayReceive(m.Topic):
		case (len(o.topics) > 0 || !s.roomyLocked(m)) && s.oweLocked(&o, m.Topic):
		default:
			s.giveRetainedLocked(m, sub, ids)
		}
	}
	visited = p.relay.retained.match(sub.Filter, send)
	if strings.HasPrefix(sub.Filter, SystemRoot) {
		visited += p.relay.system.match(sub.Filter, send)
	}
	if len(o.topics) > 0 {
		s.owed = append(s.owed, o)
	}
	s.pumpLocked()
	return visited, true
}

func (r *Relay) reportSubscription(client string, sub Subscription) {
	if !r.bus.Wants(events.Subscription) {
		return
	}
	group, filter, _ := wire.SplitShare(sub.Filter)
	r.bus.Publish(events.New(events.Subscription, client, events.SubscriptionData{
		ClientID: client, Filter: filter, QoS: sub.QoS, Shared: group}))
}

func (r *Relay) reportUnsubscription(client, filter string) {
	if r.bus.Wants(events.Unsubscription) {
		r.bus.Publish(events.New(events.Unsubscription, client, events.UnsubscriptionData{ClientID: client, Filter: filter}))
	}
}
