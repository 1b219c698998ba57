package acl

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The index must say what the list says, also with many children of a node.
func TestIndexIsTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.Custom(func(t *rapid.T) string {
			return rapid.OneOf(rapid.SampledFrom([]string{"+", "%u", "x%c", "%%u", "%u%c", ""}), rapid.Map(rapid.IntRange(0, 14), func(i int) string { return fmt.Sprint("l", i) })).Draw(t, "level")
		})
		list := entries{}
		rules := rapid.IntRange(0, 120).Draw(t, "rules")
		for i := range rules {
			text := strings.Join(rapid.SliceOfN(level, 1, 3).Draw(t, "levels"), "/")
			if rapid.Bool().Draw(t, "hash") {
				text += "/#"
			}
			if i%40 == 39 {
				text = "#"
			}
			f, err := compileFilter(text)
			if err != nil {
				continue // a level of no characters alone
			}
			deny := rapid.Bool().Draw(t, "deny")
			if f = f.reduce(!deny, fit, fitness(rapid.IntRange(int(unfit), int(fit)).Draw(t, "client"))); f != nil {
				list.add(f, int32(i), !deny)
			}
		}
		index := entries{list: list.list}
		index.finish()
		if (index.index != nil) != (len(list.list) >= indexed) {
			t.Fatal("no index, or one too early")
		}
		n := names{"l3", "7"}
		for range 50 {
			topic := strings.Join(rapid.SliceOfN(rapid.OneOf(level, rapid.SampledFrom([]string{"x7", "l37", "$x"})), 1, 4).Draw(t, "topic"), "/")
			best := int32(rapid.SampledFrom([]int{never, 3, 30}).Draw(t, "best"))
			if a, b := list.first(topic, &n, best), index.first(topic, &n, best); a != b {
				t.Fatalf("%q: the list says %d, the index %d", topic, a, b)
			}
		}
	})
}

// What no subject uses any more is given back.
func TestSharedIsForgotten(t *testing.T) {
	var rules []Rule
	for i := range 100 {
		rules = append(rules, Rule{Allow: true, Group: fmt.Sprint(i), Action: All, Filters: []string{"x"}})
	}
	p, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.shared)
	}
	kept := p.Resolve(Subject{Groups: []string{"1", "2"}})
	for i := range 100 {
		p.Resolve(Subject{Groups: []string{fmt.Sprint(i)}})
	}
	for left := 1000; size() > 1; left-- {
		if left == 0 {
			t.Fatalf("%d extracts are kept, for one subject", size())
		}
		runtime.GC()
	}
	if again := p.Resolve(Subject{Groups: []string{"2", "1", "2"}}); again.parts != kept.parts || size() != 1 {
		t.Error("two subjects of the same groups do not share")
	}
	runtime.KeepAlive(kept)
}

// covers is exact: with levels for every literal and one that no filter has,
// a filter covers another just when it covers all topics of the other.
func TestCovers(t *testing.T) {
	var topics []string
	last := []string{""}
	for range 4 {
		var next []string
		for _, t := range last {
			for _, l := range []string{"a", "u", "$s", "z"} {
				next = append(next, strings.TrimPrefix(t+"/"+l, "/"))
			}
		}
		last = next
		topics = append(topics, next...)
	}
	n := names{"u", "c"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) *filter {
			levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "+", "%u", "$s"}), 0, 3).Draw(t, what)
			if len(levels) == 0 || rapid.Bool().Draw(t, "hash") {
				levels = append(levels, "#")
			}
			f, err := compileFilter(strings.Join(levels, "/"))
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		for range 30 {
			f, g := draw("f"), draw("g")
			want := true
			for _, topic := range topics {
				want = want && (!g.matches(topic, &n) || f.matches(topic, &n))
			}
			if f.covers(g) != want {
				t.Fatalf("%+v covers %+v: %v", f, g, !want)
			}
		}
	})
}

func TestPatterns(t *testing.T) {
	compile := func(text string) pattern {
		p, err := compilePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "aa", false}, {"a", "", false}, {"*", "x", true}, {"*", "", false},
		{"a*", "a", true}, {"a*", "ab", true}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"*ab*", "xxabxx", true}, {"*ab*b", "ab", false}, {"*ab*b", "abb", true}, {"a**b", "ab", true}, {`a\*`, "a*", true}, {`a\*`, "ab", false},
		{`\\`, `\`, true}, {`\\*`, `\x`, true}, {"ä*", "äö", true}, {"a*b*a", "aba", true}, {"ab*ba", "aba", false}, {"*", star, true}, {"a", "a" + star, false},
	} {
		if p := compile(c.pattern); p.fits(c.name) != c.want {
			t.Errorf("%q fits %q: %v", c.pattern, c.name, !c.want)
		}
	}
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"*", "a", true}, {"a*", "a*", true}, {"a*", "ab*", true}, {"ab*", "a*", false}, {"a", `a`, true},
		{"a*c", "a*b*c", true}, {"a*b*c", "a*c", false}, {"*a*", "*ba", true}, {"*a*", "*b", false}, {`\*`, "*", false}, {"*", `\*`, true}, {"**", "*", true},
		{"*", "**", true}, {"a", "a*", false}, {"*x*", "*", false}, {"\ufffd", "a", false}, {"*", "\ufffd", true},
	} {
		p, q := compile(c.p), compile(c.q)
		if p.covers(&q) != c.want {
			t.Errorf("%q covers %q: %v", c.p, c.q, !c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.SampledFrom([]rune("ab*")), 1, 5, -1)
		p, q := compile(word.Draw(t, "p")), compile(word.Draw(t, "q"))
		// A name for which * has been put in as something no pattern has is
		// the hardest one to fit; and it is not fitted by chance.
		hard := strings.Join(q.pieces, "z")
		if p.covers(&q) != p.fits(hard) {
			t.Fatalf("covers: %v, fits %q: %v", p.covers(&q), hard, p.fits(hard))
		}
		for range 20 {
			name := rapid.StringOfN(rapid.SampledFrom([]rune("ab")), 1, 6, -1).Draw(t, "name")
			if p.covers(&q) && q.fits(name) && !p.fits(name) {
				t.Fatalf("%q fits the narrower pattern only", name)
			}
		}
	})
}
