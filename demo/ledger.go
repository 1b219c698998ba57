package demo

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// ledger knows every message that devices have published: on each topic they
// are numbered from 1 on.
type ledger struct {
	mu      sync.Mutex
	streams map[string]stream
}

// stream is what was published on one topic.
type stream struct {
	count uint64
	qos   byte
}

func (l *ledger) published(topic string, n uint64, qos byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = make(map[string]stream)
	}
	l.streams[topic] = stream{n, qos}
}

// matching is the streams that a client with these filters is to get.
func (l *ledger) matching(filters []wire.Filter) map[string]stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := maps.Clone(l.streams)
	maps.DeleteFunc(out, func(topic string, _ stream) bool {
		return !slices.ContainsFunc(filters, func(f wire.Filter) bool { return wire.MatchTopic(f.Filter, topic) })
	})
	return out
}

// receipts is what one reader has got.
type receipts struct {
	prefix string // of topics where it reads, before what they are called at the gateway

	mu    sync.Mutex
	got   map[string]*got
	delay []time.Duration
}

// got is what has come of one stream.
type got struct {
	seen     []bool // by number, from 1 on
	last     uint64
	distinct uint64
	twice    uint64
	disorder uint64 // came for the first time behind a later one
}

// take enters a message. One without a number is not of a stream.
func (r *receipts) take(topic string, payload []byte) {
	n, ok := field(payload, "n")
	if !ok || len(topic) < len(r.prefix) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got == nil {
		r.got = make(map[string]*got)
	}
	g := r.got[topic[len(r.prefix):]]
	if g == nil {
		g = &got{}
		r.got[topic[len(r.prefix):]] = g
	}
	for uint64(len(g.seen)) <= n {
		g.seen = append(g.seen, false)
	}
	switch {
	case g.seen[n]:
		g.twice++
		return
	case n < g.last:
		g.disorder++
	}
	g.seen[n] = true
	g.last = max(g.last, n)
	g.distinct++
	if sent, ok := field(payload, "ts"); ok {
		r.delay = append(r.delay, time.Duration(time.Now().UnixMicro()-int64(sent))*time.Microsecond)
	}
}

// delays is how long the messages since its last call have taken, in order.
func (r *receipts) delays() (median, most time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.delay
	r.delay = nil
	if len(list) == 0 {
		return 0, 0
	}
	slices.Sort(list)
	return max(list[len(list)/2], 0), max(list[len(list)-1], 0)
}

// account is what a reader was to get, and what it got.
type account struct {
	meant, got, missing uint64
	twice1, twice2      uint64 // came again, at QoS 0 and 1 or at 2
	disorder            uint64
}

// compare compares the receipts with the streams that were meant for them.
func (r *receipts) compare(streams map[string]stream) (a account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, s := range streams {
		a.meant += s.count
		g := r.got[topic]
		if g == nil {
			a.missing += s.count
			continue
		}
		a.got += g.distinct
		a.missing += s.count - min(g.distinct, s.count)
		a.disorder += g.disorder
		if s.qos == 2 {
			a.twice2 += g.twice
		} else {
			a.twice1 += g.twice
		}
	}
	return a
}

// field is the whole number that stands behind a name in a payload of ours.
func field(payload []byte, name string) (uint64, bool) {
	_, rest, found := bytes.Cut(payload[:min(len(payload), 120)], []byte(`"`+name+`":`))
	if !found {
		return 0, false
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseUint(string(rest[:end]), 10, 64)
	return n, err == nil && n < 1<<53
}
