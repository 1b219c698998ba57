package relay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

// matches returns who gets topic, as "session:qos" and "group" words.
func (t *subscriptions) matches(topic string) []string {
	var got []string
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.matchLocked(topic, func(s *subscription) {
		got = append(got, fmt.Sprint(s.session.id, ":", s.Filter, ":", s.QoS))
	}, func(g *group) {
		for _, m := range g.members {
			got = append(got, fmt.Sprint(m.session.id, ":", m.Filter, ":", m.QoS))
		}
	})
	slices.Sort(got)
	return got
}

func TestTrieIsMatchTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trie subscriptions
		sessions := []*Session{{id: "1"}, {id: "2"}, {id: "3"}}
		type key struct {
			session *Session
			filter  string
		}
		model := map[key]*subscription{}
		draw := func(t *rapid.T) key {
			k := key{rapid.SampledFrom(sessions).Draw(t, "session"), filterGen().Draw(t, "filter")}
			if g := rapid.SampledFrom([]string{"", "", "$share/g/", "$share/h/"}).Draw(t, "group"); wire.ValidFilter(g+k.filter) == nil {
				k.filter = g + k.filter
			}
			return k
		}
		keys := func() []key {
			var ks []key
			for k := range model {
				ks = append(ks, k)
			}
			slices.SortFunc(ks, func(a, b key) int { return cmpStrings(a.session.id+a.filter, b.session.id+b.filter) })
			return ks
		}
		remove := func(t *rapid.T, k key) {
			before := trie.epoch.Load()
			trie.remove(model[k])
			delete(model, k)
			if trie.epoch.Load() == before {
				t.Fatal("routes computed before the removal do not become stale")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				k, before := draw(t), trie.epoch.Load()
				sub := &subscription{Subscription: Subscription{Filter: k.filter, QoS: rapid.ByteRange(0, 2).Draw(t, "qos")}, session: k.session}
				trie.add(sub, model[k])
				model[k] = sub
				if trie.epoch.Load() == before {
					t.Fatal("routes computed before the addition do not become stale")
				}
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("nothing to remove")
				}
				remove(t, rapid.SampledFrom(keys()).Draw(t, "which"))
			},
			"remove what is not there": func(t *rapid.T) {
				k, before := draw(t), trie.epoch.Load()
				_, topic, _ := wire.SplitShare(k.filter)
				sub := &subscription{Subscription: Subscription{Filter: k.filter}, session: k.session, topic: topic}
				if trie.remove(sub); trie.epoch.Load() != before {
					t.Fatal("removed what was not there")
				}
			},
			"match": func(t *rapid.T) {
				topic := topicGen().Draw(t, "topic")
				var want []string
				for k, sub := range model {
					if _, filter, _ := wire.SplitShare(k.filter); wire.MatchTopic(filter, topic) {
						want = append(want, fmt.Sprint(k.session.id, ":", k.filter, ":", sub.QoS))
					}
				}
				slices.Sort(want)
				if got := trie.matches(topic); !slices.Equal(got, want) {
					t.Fatalf("%q is matched by %q; want %q", topic, got, want)
				}
				rt := trie.resolve([]byte(topic))
				seen := map[*Session]bool{}
				for _, tg := range rt.targets {
					if seen[tg.session] {
						t.Fatalf("%q: a session is there twice", topic)
					}
					seen[tg.session] = true
				}
			},
			"": func(t *rapid.T) {
				shared := 0
				for k := range model {
					if _, _, s := wire.SplitShare(k.filter); s {
						shared++
					}
				}
				if n, s := trie.counts(); n != len(model) || s != shared {
					t.Fatalf("counts %d, %d shared; want %d, %d", n, s, len(model), shared)
				}
			},
		})
		for _, k := range keys() {
			remove(t, k)
		}
		if n, s := trie.counts(); n != 0 || s != 0 || !trie.root.empty() {
			t.Fatalf("%d subscriptions, %d shared are left; the root is empty: %v", n, s, trie.root.empty())
		}
	})
}

func cmpStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestRouteOfManyTargets(t *testing.T) {
	var trie subscriptions
	for i := range 100 {
		s := &Session{id: fmt.Sprint(i)}
		for _, f := range []string{"a/b", "a/+", "#"} {
			trie.add(&subscription{Subscription: Subscription{Filter: f, QoS: byte(i % 3), ID: 5}, session: s}, nil)
		}
	}
	rt := trie.resolve([]byte("a/b"))
	if len(rt.targets) != 100 {
		t.Fatalf("%d targets; want 100", len(rt.targets))
	}
	for _, tg := range rt.targets {
		if fmt.Sprint(tg.ids) != "[5 5 5]" || tg.plain {
			t.Fatalf("identifiers %v, plain %v; want each of three subscriptions", tg.ids, tg.plain)
		}
	}
}

func TestRouteCache(t *testing.T) {
	trie := &subscriptions{}
	c := newRoutes(trie, newFlows(10), 10)
	s := &Session{id: "s"}
	sub := &subscription{Subscription: Subscription{Filter: "#"}, session: s}
	if rt := c.lookup([]byte("t")); len(rt.targets) != 0 {
		t.Fatal("targets without subscriptions")
	}
	trie.add(sub, nil)
	rt := c.lookup([]byte("t"))
	if len(rt.targets) != 1 {
		t.Fatal("the route is stale")
	}
	if c.lookup([]byte("t")) != rt {
		t.Error("the route is computed again though nothing has changed")
	}
	for i := range 1000 {
		name := []byte(fmt.Sprint(i))
		rt := c.lookup(name)
		if copy(name, "####"); rt.topic != fmt.Sprint(i) || string(rt.name) != rt.topic {
			t.Fatal("the route refers to the caller's buffer")
		}
		if len(c.byName) > 10*shortRoutes {
			t.Fatalf("%d routes are remembered; want at most %d", len(c.byName), 10*shortRoutes)
		}
	}
	trie.remove(sub)
	if rt := c.lookup([]byte("999")); len(rt.targets) != 0 {
		t.Error("a session that has unsubscribed is still a target")
	}
	for i := range 10 {
		c.lookup(fmt.Append(nil, "new", i))
	}
	for topic, rt := range c.byName {
		if len(rt.targets) > 0 {
			t.Errorf("the stale route of %q keeps its sessions alive", topic)
		}
	}
	long := make([]byte, 60_000)
	for i := range long {
		long[i] = 'x'
	}
	c.lookup(long)
	if c.byName[string(long)] != nil {
		t.Errorf("the route of a very long topic is remembered")
	}
}

// TestRouteCacheKeepsWhatComesAgain: topics that come again and again stay, whatever
// else passes by; of more topics in turn than there is room for, those that are
// there find themselves again; and what is asked for many times in a row is let in.
func TestRouteCacheKeepsWhatComesAgain(t *testing.T) {
	const limit = 64
	c := newRoutes(&subscriptions{}, newFlows(limit), limit)
	ask := func(topic string) (hit bool) {
		rt, keep := c.known([]byte(topic))
		if rt == nil && keep {
			c.remember([]byte(topic))
		}
		return rt != nil
	}
	hits, turns := 0, 5*c.limit
	for range 200 {
		for i := range turns {
			if ask(fmt.Sprint("turn/", i)) {
				hits++
			}
		}
	}
	if share := float64(hits) / float64(200*turns); share < 0.1 {
		t.Errorf("%.2f of five times as many topics in turn as there is room for were remembered; want most of 0.2", share)
	}
	for n := 1; !ask("again"); n++ {
		if n == 50*sparing {
			t.Fatalf("what is asked for %d times in a row is not remembered", n)
		}
	}
	missed := 0
	for i := range 20_000 {
		if !ask(fmt.Sprint("hot/", i%8)) {
			missed++
		}
		ask(fmt.Sprint("once/", i))
	}
	if missed > 600 {
		t.Errorf("eight topics that come again and again were forgotten %d times of 20,000", missed)
	}
}

func TestRouteCacheIsBoundedInTargets(t *testing.T) {
	trie := &subscriptions{}
	c := newRoutes(trie, newFlows(100), 100)
	for i := range 1000 {
		trie.add(&subscription{Subscription: Subscription{Filter: "#"}, session: &Session{id: fmt.Sprint(i)}}, nil)
	}
	for i := range 1000 {
		c.lookup(fmt.Append(nil, i))
	}
	targets := 0
	for _, rt := range c.byName {
		targets += len(rt.targets)
	}
	if targets > 100*targetsPerRoute || len(c.byName) == 0 {
		t.Errorf("%d routes with %d targets are remembered; want at most %d targets", len(c.byName), targets, 100*targetsPerRoute)
	}
	if c.targets != targets {
		t.Errorf("counts %d targets of %d", c.targets, targets)
	}
}

// Long topics count: there are as many routes as there is room for their names.
func TestRouteCacheIsBoundedInBytes(t *testing.T) {
	c := newRoutes(&subscriptions{}, newFlows(100), 100)
	for i := range 1000 {
		c.lookup(fmt.Appendf(nil, "%01000d", i))
	}
	if n := len(c.byName); n != 100*maxCachedTopic/1000 || c.bytes != 1000*n {
		t.Errorf("%d routes of 1,000 bytes are remembered, counted as %d bytes", n, c.bytes)
	}
	for topic, rt := range c.byName {
		c.forgetLocked(topic, rt)
	}
	if c.bytes != 0 || c.targets != 0 {
		t.Errorf("%d bytes and %d targets of nothing", c.bytes, c.targets)
	}
}

// Whoever finds the routes being looked at makes one that nobody remembers, and goes on.
func TestRoutesDoNotWait(t *testing.T) {
	trie := &subscriptions{}
	trie.add(&subscription{Subscription: Subscription{Filter: "#"}, session: &Session{id: "s"}}, nil)
	c := newRoutes(trie, newFlows(100), 100)
	known := c.lookup([]byte("known"))
	for name, held := range map[string]struct{ lock, unlock func() }{"read": {c.mu.RLock, c.mu.RUnlock}, "changed": {c.mu.Lock, c.mu.Unlock}} {
		held.lock()
		for _, topic := range []string{"known", "new"} {
			rt := c.lookup([]byte(topic))
			if rt.topic != topic || len(rt.targets) != 1 {
				t.Errorf("%s while routes are %s: leads to %d sessions", topic, name, len(rt.targets))
			}
			if rt != known && !rt.flow.gone.Load() {
				t.Errorf("%s while routes are %s: is counted by nobody", topic, name)
			}
		}
		held.unlock()
	}
	if c.lookup([]byte("known")) != known {
		t.Error("what was known is so no more")
	}
}
