package relay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSketch holds a sketch against exact counts.
func TestSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		s := newSketch(size)
		exact, other := map[string]uint64{}, map[string]uint64{}
		var sum uint64
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "name"))
			n, o := rapid.Uint64Range(0, 50).Draw(t, "n"), rapid.Uint64Range(0, 50).Draw(t, "other")
			s.add(name, n, o)
			exact[name] += n
			other[name] += o
			sum += n
		}
		found, before := map[string]bool{}, ^uint64(0)
		for _, e := range s.top(100) {
			found[e.name] = true
			if e.count < exact[e.name] || e.count-e.error > exact[e.name] {
				t.Fatalf("%s: %d, at most %d too high; it is %d", e.name, e.count, e.error, exact[e.name])
			}
			if e.other > other[e.name] || e.error == 0 && len(exact) <= size && e.other != other[e.name] {
				t.Fatalf("%s: beside it at least %d; it is %d", e.name, e.other, other[e.name])
			}
			if e.error > sum/uint64(size) {
				t.Fatalf("%s: the error is %d of %d with room for %d", e.name, e.error, sum, size)
			}
			if e.count > before {
				t.Fatalf("%d comes after %d", e.count, before)
			}
			before = e.count
		}
		for name, n := range exact {
			if n > sum/uint64(size) && !found[name] {
				t.Fatalf("%s, with %d of %d, is not among %d", name, n, sum, size)
			}
		}
		if len(s.heap) > size || len(s.byName) != len(s.heap) {
			t.Fatalf("%d names, %d in the heap, there is room for %d", len(s.byName), len(s.heap), size)
		}
	})
}

func TestFirstLevels(t *testing.T) {
	long := strings.Repeat("x", maxCachedTopic+1)
	for _, c := range []struct {
		topic string
		n     int
		want  string
		ok    bool
	}{
		{"a/b/c", 0, "a/b/c", true}, {"a/b/c", 1, "a", true}, {"a/b/c", 2, "a/b", true}, {"a/b/c", 3, "a/b/c", true}, {"a/b/c", 4, "a/b/c", true},
		{"/", 1, "", true}, {"/", 2, "/", true}, {long, 0, long, false}, {long, 1, long, false}, {"a/" + long, 1, "a", true}, {"a/" + long, 0, "a/" + long, false},
	} {
		if got, ok := firstLevels(c.topic, c.n); got != c.want || ok != c.ok {
			t.Errorf("the first %d of %.20q are %.20q, %v; want %.20q, %v", c.n, c.topic, got, ok, c.want, c.ok)
		}
	}
}

func TestRecencyIsBounded(t *testing.T) {
	r := recency{limit: 10, bytes: 10 * recencyBytes}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		topic := strings.Repeat("t", 1+rng.IntN(1200)) + fmt.Sprint(i%17)
		by := Publication{Source: Source{Client: strings.Repeat("c", 1+rng.IntN(256))}, Size: i}
		r.add(topic, by)
		if len(topic) > maxCachedTopic {
			continue
		}
		p := r.order.Front().Value.(*publishedOn)
		if p.topic != topic || p.by[0] != by || len(p.by) > noted {
			t.Fatalf("the latest is %.20s by %v", p.topic, p.by)
		}
		used := 0
		for e := r.order.Front(); e != nil; e = e.Next() {
			used += e.Value.(*publishedOn).size()
		}
		if r.order.Len() != len(r.byName) || r.order.Len() > 10 || used != r.used || used > 10*recencyBytes && r.order.Len() > 1 {
			t.Fatalf("%d topics, %d bytes, reckoned as %d", r.order.Len(), used, r.used)
		}
	}
}

func TestRecencyKeepsSourcesApart(t *testing.T) {
	r := recency{limit: 10, bytes: 1 << 20}
	for i, c := range []string{"a", "b", "a", "c", "d", "e", "b"} {
		r.add("t", Publication{Source: Source{Client: c}, Size: i})
	}
	got := ""
	for _, p := range r.byName["t"].Value.(*publishedOn).by {
		got += fmt.Sprint(p.Client, p.Size, " ")
	}
	if got != "b6 e5 d4 c3 " {
		t.Errorf("got %s", got)
	}
}
