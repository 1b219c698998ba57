package relay

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// A publish looks at as many nodes as the levels of its topic and the wildcards on
// the way to them allow, however many subscriptions there are.
func TestMatchLooksAtFewNodes(t *testing.T) {
	var trie subscriptions
	s := &Session{id: "s"}
	most, n, largest := 0, 0, 100_000
	if testing.Short() {
		largest = 10_000
	}
	for size := 10; size <= largest; size *= 10 {
		for ; n < size; n++ {
			filter := fmt.Sprintf("site%d/line%d/pump%d/t", n%97, n%1009, n)
			switch n % 4 {
			case 0:
				filter = fmt.Sprintf("site%d/+/pump%d/t", n%97, n)
			case 1:
				filter = fmt.Sprintf("+/line%d/#", n)
			}
			trie.add(&subscription{Subscription: Subscription{Filter: filter}, session: s}, nil)
		}
		for i := range 500 {
			topic := fmt.Sprintf("site%d/line%d/pump%d/t", i%97, i%1009, i)
			visited := trie.matchLocked(topic, func(*subscription) {}, func(*group) {})
			// Each of three levels is either literal or +.
			if most = max(most, visited); visited > 1+2+4+8+16 {
				t.Fatalf("%d subscriptions: looked at %d nodes for %s", size, visited, topic)
			}
		}
	}
	if most < 5 {
		t.Errorf("looked at %d nodes at most; the topics match nothing", most)
	}
}

// A wildcard subscription looks at the retained topics that it matches, and what is
// on the way there, not at all.
func TestRetainedLooksAtFewNodes(t *testing.T) {
	const n = 20_000
	r := retained{maxCount: n, maxBytes: math.MaxInt64, now: func() time.Duration { return 0 }}
	for i := range n {
		r.set(&Message{Topic: fmt.Sprintf("site%d/pump%d/v", i/10, i), Payload: []byte("x")}, nil)
	}
	for filter, most := range map[string]int{
		"site7/pump71/v": 4, "site7/+/v": 2 + 2*10, "site7/#": 3 + 2*10, "#": 2 + n/10 + 2*n, "+/pump71/v": 1 + n/10 + 2,
	} {
		found := 0
		if visited := r.match(filter, func(*Message) { found++ }); visited > most || found == 0 {
			t.Errorf("%s: %d nodes for %d messages, want at most %d", filter, visited, found, most)
		}
	}
}

// Whoever shares a filter with many others leaves it without a look at them: each is
// where it says it is, whatever came and went.
func TestPlacesInLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*subscription
		model := map[*subscription]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				s := &subscription{}
				list, model[s] = replace(list, nil, s), true
			},
			"replace": func(t *rapid.T) {
				if len(list) > 0 {
					old, s := rapid.SampledFrom(list).Draw(t, "old"), &subscription{}
					list, model[s] = replace(list, old, s), true
					delete(model, old)
				}
			},
			"remove": func(t *rapid.T) {
				if len(list) > 0 {
					old := rapid.SampledFrom(list).Draw(t, "old")
					list = replace(list, old, nil)
					delete(model, old)
					if list = replace(list, old, nil); len(list) != len(model) {
						t.Fatal("what has gone goes again")
					}
				}
			},
			"": func(t *rapid.T) {
				if len(list) != len(model) {
					t.Fatalf("%d in the list, want %d", len(list), len(model))
				}
				for i, s := range list {
					if s.at != i || !model[s] {
						t.Fatalf("%d of %d is at %d", i, len(list), s.at)
					}
				}
			},
		})
	})
}

// A route goes stale with each change of a subscription that its topic matches.
func TestRoutesGoStale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trie subscriptions
		s := &Session{id: "s"}
		topics := []string{"a", "a/b", "b", "/", "/a", "$SYS/x", "b/a/c", "A"}
		for range 20 {
			filter := filterGen().Draw(t, "filter")
			if wire.ValidFilter(filter) != nil {
				continue
			}
			sub := &subscription{Subscription: Subscription{Filter: rapid.SampledFrom([]string{"", "$share/g/"}).Draw(t, "group") + filter}, session: s}
			for _, change := range []func(){func() { trie.add(sub, nil) }, func() { trie.remove(sub) }} {
				var routes []*route
				for _, topic := range topics {
					routes = append(routes, trie.resolve([]byte(topic)))
				}
				change()
				for i, topic := range topics {
					if wire.MatchTopic(filter, topic) && !trie.stale(routes[i]) {
						t.Fatalf("the route of %s is not stale after a change of %s", topic, sub.Filter)
					}
				}
			}
		}
	})
}

// A client that subscribes elsewhere leaves most routes as they are.
func TestRoutesStayFresh(t *testing.T) {
	var trie subscriptions
	var routes []*route
	for i := range 1000 {
		routes = append(routes, trie.resolve(fmt.Appendf(nil, "site%d/x", i)))
	}
	trie.add(&subscription{Subscription: Subscription{Filter: "other/+/x"}, session: &Session{id: "s"}}, nil)
	stale := 0
	for _, rt := range routes {
		if trie.stale(rt) {
			stale++
		}
	}
	if stale > 3*len(routes)/branches {
		t.Errorf("%d of %d are stale", stale, len(routes))
	}
	trie.moved()
	for _, rt := range routes {
		if !trie.stale(rt) {
			t.Fatal("not all are stale")
		}
	}
}
