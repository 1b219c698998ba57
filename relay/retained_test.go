package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

func newRetained(count int, bytes int64) *retained {
	return &retained{maxCount: count, maxBytes: bytes, now: func() time.Duration { return 0 }}
}

func (r *retained) topics(filter string) []string {
	var got []string
	r.match(filter, func(m *Message) { got = append(got, m.Topic) })
	slices.Sort(got)
	return got
}

var level = rapid.SampledFrom([]string{"a", "b", "", "c", "$SYS"})

func topicGen() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(level, 1, 4).Draw(t, "levels"), "/")
		if s == "" {
			return "a"
		}
		return s
	})
}

func filterGen() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(rapid.OneOf(level, rapid.Just("+")), 1, 4).Draw(t, "levels")
		if rapid.Bool().Draw(t, "hash") {
			levels = append(levels, "#")
		}
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			levels = []string{"#"}
		}
		s := strings.Join(levels, "/")
		if wire.ValidFilter(s) != nil {
			return "+"
		}
		return s
	})
}

func TestRetainedIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(0)
		r := newRetained(1000, 1<<30)
		r.now = func() time.Duration { return now }
		model := map[string]*Message{}
		alive := func(m *Message) bool { return m.expires == 0 || now < m.expires }
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				m := &Message{Topic: topicGen().Draw(t, "topic"), Payload: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "payload")}
				if rapid.Bool().Draw(t, "expires") {
					m.expires = now + time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds"))*time.Second
				}
				r.set(m, nil)
				if model[m.Topic] = m; len(m.Payload) == 0 {
					delete(model, m.Topic)
				}
			},
			"time": func(t *rapid.T) { now += time.Duration(rapid.IntRange(1, 3).Draw(t, "seconds")) * time.Second },
			"sweep": func(*rapid.T) {
				r.sweep()
				for topic, m := range model {
					if !alive(m) {
						delete(model, topic)
					}
				}
			},
			"match": func(t *rapid.T) {
				filter := filterGen().Draw(t, "filter")
				var want []string
				for topic, m := range model {
					if wire.MatchTopic(filter, topic) && alive(m) {
						want = append(want, topic)
					}
				}
				slices.Sort(want)
				if got := r.topics(filter); !slices.Equal(got, want) {
					t.Fatalf("%q matches %q; want %q", filter, got, want)
				}
			},
			"": func(t *rapid.T) {
				var bytes int64
				nodes := map[string]bool{}
				for topic, m := range model {
					bytes += m.size()
					levels := strings.Split(topic, "/")
					for i := range levels {
						nodes[fmt.Sprintf("%q", levels[:i+1])] = true
					}
				}
				if n, b := r.totals(); n != len(model) || b != bytes || r.nodes != len(nodes) {
					t.Fatalf("counts %d messages, %d bytes, %d nodes; want %d, %d, %d", n, b, r.nodes, len(model), bytes, len(nodes))
				}
			},
		})
		for topic := range model {
			r.set(&Message{Topic: topic}, nil)
		}
		if r.count != 0 || r.bytes != 0 || r.nodes != 0 || len(r.root.children) != 0 {
			t.Fatalf("%d messages, %d bytes, %d nodes are left", r.count, r.bytes, r.nodes)
		}
	})
}

func TestRetainedMatches(t *testing.T) {
	r := newRetained(100, 1<<20)
	for _, topic := range []string{"a", "a/b", "a/b/c", "/a", "zz", "$SYS/x"} {
		r.set(&Message{Topic: topic, Payload: []byte("x")}, nil)
	}
	cases := map[string]string{
		"#": "/a a a/b a/b/c zz", "a/#": "a a/b a/b/c", "+": "a zz", "+/#": "/a a a/b a/b/c zz",
		"+/b": "a/b", "/+": "/a", "a/b/c/#": "a/b/c", "$SYS/#": "$SYS/x", "$SYS/+": "$SYS/x", "+/x": "", "a/+": "a/b",
		"b": "", "a/b/c/d": "", "a/": "",
	}
	for filter, want := range cases {
		if got := strings.Join(r.topics(filter), " "); got != want {
			t.Errorf("%q matches %q; want %q", filter, got, want)
		}
	}
}

func TestRetainedRoom(t *testing.T) {
	pub := func(topic string, payload, props int) *wire.Publish {
		return &wire.Publish{Topic: []byte(topic), Payload: make([]byte, payload), Props: make([]byte, props), AliasAt: -1, ExpiryAt: -1}
	}
	fill := func(r *retained, n int) {
		for i := range n {
			r.set(&Message{Topic: fmt.Sprint(i), Payload: make([]byte, 100)}, nil)
		}
	}
	const one = 1 + 100 + messageOverhead + nodeOverhead // what each of fill costs
	cases := []struct {
		name  string
		count int
		bytes int64
		pub   *wire.Publish
		want  bool
	}{
		{"a new one, with room", 5, 5 * one, pub("4", 100, 0), true},
		{"a new one, too many", 4, 5 * one, pub("4", 100, 0), false},
		{"a new one, too large", 5, 5*one - 1, pub("4", 100, 0), false},
		{"a new one, too large with its properties", 5, 5 * one, pub("4", 100, 1), false},
		{"a new one, too deep", 5, 5 * one, pub("4/5", 98, 0), false},
		{"in place of another, too many", 4, 5 * one, pub("3", 150, 0), true},
		{"in place of another, full", 4, 4 * one, pub("3", 100, 0), true},
		{"in place of another, too large", 4, 4 * one, pub("3", 101, 0), false},
		{"in place of another, too large with its properties", 4, 4 * one, pub("3", 50, 51), false},
		{"in place of a larger one, over the limit", 4, 3 * one, pub("3", 99, 0), true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := newRetained(tc.count, tc.bytes)
			fill(r, 4)
			if got := r.room(tc.pub); got != tc.want {
				t.Errorf("room is %v; want %v", got, tc.want)
			}
		})
	}
}
