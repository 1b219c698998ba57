package relay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// RetainedInfo describes a retained message.
type RetainedInfo struct {
	Topic     string
	Publisher string // client identifier, "" for the broker
	Payload   []byte // it must not change
	QoS       byte
	Since     time.Time     // when it was published, zero if that was before the relay was made
	Expires   time.Duration // in how long it expires, 0 if it does not
}

// Retained describes the retained messages whose topics match filter, by topic,
// no more than most of them, if that is positive; total is how many there are.
func (r *Relay) Retained(filter string, most int) (list []RetainedInfo, total int) {
	now := r.now()
	r.retained.look(filter, func(n *kept) { list = append(list, describe(n, now)) })
	slices.SortFunc(list, func(a, b RetainedInfo) int { return strings.Compare(a.Topic, b.Topic) })
	total = len(list)
	if most > 0 && total > most {
		list = slices.Clone(list[:most])
	}
	return list, total
}

func describe(n *kept, now time.Duration) RetainedInfo {
	m := n.msg
	i := RetainedInfo{Topic: m.Topic, Publisher: m.Publisher, Payload: m.Payload, QoS: m.QoS}
	if n.since >= 0 {
		i.Since = time.Now().Add(n.since - now).Round(time.Millisecond)
	}
	if m.expires > 0 {
		i.Expires = m.expires - now
	}
	return i
}

// ClearRetained removes the retained messages whose topics match filter and
// returns how many there were. Clients are not told. done is told when that is
// stored, perhaps before ClearRetained returns.
func (r *Relay) ClearRetained(filter string, done Done) int {
	var old []*Message
	r.retained.look(filter, func(n *kept) { old = append(old, n.msg) })
	need, n := Memory, 0
	for _, m := range old {
		gone := &Message{Topic: m.Topic, level: m.level}
		if r.retained.unset(gone, m, r.setRetained) {
			n++
			need = max(need, m.level)
		}
	}
	if r.store != nil {
		r.store.Commit(need, done)
	} else {
		done.Committed(nil)
	}
	return n
}

// unset is set of gone, which has no payload, if its topic still has old.
func (r *retained) unset(gone, old *Message, record func(m, old *Message)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.getLocked(gone.Topic) != old {
		return false
	}
	if record != nil {
		record(gone, old)
	}
	r.removeLocked(&r.root, gone.Topic, true)
	return true
}

// TopicInfo is what is known of the latest messages on a topic.
type TopicInfo struct {
	Topic    string
	By       []Publication // the latest of each publisher, the latest first
	Retained *RetainedInfo // nil if there is none
}

// Publishers tells who has published last on the topics that match filter, by
// topic, no more than most; total is how many topics there are. It knows the
// topics that were published on last, and those that have a retained message.
// Of several messages within a second it may know the first.
func (r *Relay) Publishers(filter string, most int) (list []TopicInfo, total int) {
	byTopic := make(map[string]*TopicInfo)
	r.flows.mu.Lock()
	for e := r.flows.publishers.order.Front(); e != nil; e = e.Next() {
		p := e.Value.(*publishedOn)
		if wire.MatchTopic(filter, p.topic) {
			byTopic[p.topic] = &TopicInfo{Topic: p.topic, By: slices.Clone(p.by)}
		}
	}
	r.flows.mu.Unlock()
	kept, _ := r.Retained(filter, 0)
	for i := range kept {
		k := &kept[i]
		t := byTopic[k.Topic]
		if t == nil {
			t = &TopicInfo{Topic: k.Topic, By: []Publication{{Source: Source{Client: k.Publisher}, Time: k.Since, Size: len(k.Payload), QoS: k.QoS}}}
			byTopic[k.Topic] = t
		}
		t.Retained = k
	}
	for _, t := range byTopic {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b TopicInfo) int { return cmp.Compare(a.Topic, b.Topic) })
	total = len(list)
	if most > 0 && total > most {
		list = slices.Clone(list[:most])
	}
	return list, total
}

// Busy is a topic or a branch of topics, and what was published on it since the
// relay was made.
type Busy struct {
	Topic    string
	Messages uint64
	Bytes    uint64 // of payload
	// Error is by how much, at most, that number is too high by which the list is
	// ordered. If it is 0, both are exact, else the other one may be too low.
	Error uint64
}

// Load is how much was published since the relay was made.
type Load struct {
	Messages uint64
	Bytes    uint64 // of payload
	Missed   uint64 // messages that were published on more topics at once than can be told apart
	Busiest  []Busy
}

// ErrDepth is returned for a depth beyond MaxTopicDepth.
var ErrDepth = fmt.Errorf("branches of more than %d levels are not counted", MaxTopicDepth)

// MaxTopicDepth is how many levels branches have that are counted.
const MaxTopicDepth = topicDepths - 1

// Busiest are the topics with the most messages or bytes, the busiest first, or
// the branches of so many levels if depth is not 0.
func (r *Relay) Busiest(depth int, byBytes bool, most int) (Load, error) {
	if depth < 0 || depth > MaxTopicDepth {
		return Load{}, ErrDepth
	}
	r.routes.collect()
	f := r.flows
	f.mu.Lock()
	defer f.mu.Unlock()
	l := Load{Messages: f.messages + f.missed.Load(), Bytes: f.bytes, Missed: f.missed.Load()}
	s := &f.busiest[depth].messages
	if byBytes {
		s = &f.busiest[depth].bytes
	}
	if most <= 0 {
		most = maxRanked
	}
	for _, e := range s.top(most) {
		b := Busy{Topic: e.name, Messages: e.count, Bytes: e.other, Error: e.error}
		if byBytes {
			b.Messages, b.Bytes = e.other, e.count
		}
		l.Busiest = append(l.Busiest, b)
	}
	return l, nil
}
