package relay_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// by writes who has published on what matches filter.
func (b *broker) by(filter string) string {
	b.Helper()
	list, _ := b.Publishers(filter, 0)
	var out []string
	for _, i := range list {
		line := i.Topic + ":"
		for _, p := range i.By {
			line += fmt.Sprintf(" %s/%s@%s %dB QoS %d", p.Client, p.Username, p.Remote, p.Size, p.QoS)
		}
		if i.Retained != nil {
			line += fmt.Sprintf(" (retained %q of %s)", i.Retained.Payload, i.Retained.Publisher)
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func remote(r string) option { return func(c *relay.Connect) { c.Remote, c.Username = r, "u" } }

func TestPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		begun := time.Now()
		one, two := b.connect("one", remote("1.1.1.1:1")), b.connect("two")
		if got := b.by("#"); got != "" {
			t.Errorf("an empty relay knows %s", got)
		}
		time.Sleep(1500 * time.Millisecond)
		one.pub(0, "plant/1/temp=21", "plant/1/temp=21.5")
		two.pub(1, "plant/1/temp=7")
		two.publish(message{topic: "plant/2/temp", payload: "kept", qos: 1, retain: true})
		one.pub(2, "elsewhere=x")
		if got, want := b.by("plant/+/temp"), `plant/1/temp: two/@ 1B QoS 1 one/u@1.1.1.1:1 2B QoS 0; plant/2/temp: two/@ 4B QoS 1 (retained "kept" of two)`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		list, total := b.Publishers("#", 1)
		if len(list) != 1 || total != 3 || list[0].By[0].Time.Sub(begun) != 1500*time.Millisecond {
			t.Errorf("the first of %d is %+v", total, list)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		one.pub(0, "plant/1/temp=22.25") // busy or not: a second later it is noted again
		if got, want := b.by("plant/1/#"), `plant/1/temp: one/u@1.1.1.1:1 5B QoS 0 two/@ 1B QoS 1`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		b.connect("ghost", remote("2.2.2.2:2"), lastWill(wire.Will{Topic: "wills", Payload: []byte("gone")})).end()
		if err := b.Publish(relay.Outgoing{Topic: "own", Payload: []byte("1")}, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := b.by("wills")+"; "+b.by("own"), `wills: ghost/u@ 4B QoS 0; own: /@ 1B QoS 0`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		two.publish(message{topic: "a/b/c/d/e/f/g/" + strings.Repeat("x", 2000)})
		if got := b.by("a/#"); got != "" {
			t.Errorf("a topic of 2000 bytes is remembered: %s", got)
		}
	})
}

// TestForgetTopics: nothing is remembered but what is retained.
func TestForgetTopics(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.ForgetTopics = true })
	p := b.connect("p")
	p.pub(1, "t=1")
	p.publish(message{topic: "kept", payload: "x", retain: true})
	if got, want := b.by("#"), `kept: p/@ 1B QoS 0 (retained "x" of p)`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	if l, err := b.Busiest(0, false, 0); err != nil || l.Messages != 0 || len(l.Busiest) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestPublishersAreFew: a client cannot make itself known under a name that
// fills the memory, nor push out more than there is room for.
func TestPublishersAreFew(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.RouteCacheEntries = 16 })
	c := b.connect(strings.Repeat("c", 60_000))
	for i := range 100 {
		c.pub(0, fmt.Sprint("t/", i, "=x"))
	}
	list, _ := b.Publishers("#", 0)
	if len(list) < 10 || len(list) > 16 || len(list[0].By[0].Client) != 256 {
		t.Errorf("%d topics, by a name of %d bytes", len(list), len(list[0].By[0].Client))
	}
}

func TestRetainedIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, st := newStored(t)
		m := relay.Stored("old", []byte("x"), nil, "before", 1, true, 0, relay.Sync, 1)
		b.Restore(relay.Recovered{Retained: []*relay.Message{m}})
		p := b.connect("p")
		p.publish(message{topic: "new", payload: "yy", qos: 1, retain: true, expiry: 60}, message{topic: "new/er", payload: "z", retain: true})
		time.Sleep(3 * time.Second)
		list, total := b.Retained("#", 2)
		if total != 3 || len(list) != 2 || list[0].Topic != "new" || list[0].Publisher != "p" || time.Since(list[0].Since).Round(time.Millisecond) != 3*time.Second || list[0].Expires != 57*time.Second {
			t.Errorf("%d: %+v", total, list)
		}
		if list, _ := b.Retained("old", 0); len(list) != 1 || !list[0].Since.IsZero() || list[0].Publisher != "before" || list[0].Expires != 0 {
			t.Errorf("what the store brought is %+v", list)
		}
		if got, want := b.by("old"), `old: before/@ 1B QoS 1 (retained "x" of before)`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		st.recorded()
		st.hold = true
		var done result
		if n := b.ClearRetained("new/#", &done); n != 2 || done.n != 0 {
			t.Errorf("%d are cleared, and that is stored %d times before the store says so", n, done.n)
		}
		st.release(nil)
		if got, want := st.recorded(), "retained new false, retained new/er false"; done.n != 1 || !strings.Contains(got, want) {
			t.Errorf("told %d times; recorded %s", done.n, got)
		}
		if _, total := b.Retained("#", 0); total != 1 {
			t.Errorf("%d are left", total)
		}
		b.connect("s").sub(1, "new/#")
		if n := b.ClearRetained("new/#", &done); n != 0 || done.n != 2 {
			t.Errorf("cleared %d again, told %d times", n, done.n)
		}
	})
}

// TestBusiest: numbers are exact as long as there are few topics, whatever else
// goes on.
func TestBusiest(t *testing.T) {
	b := newBroker(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			p, churn := b.connect(fmt.Sprint("p", i)), b.connect(fmt.Sprint("churn", i))
			for k := range 100 {
				churn.sub(0, "x") // makes all routes anew
				p.pub(byte(k%2), "plant/1/a=12345", fmt.Sprintf("plant/%d/b=1", i))
				if k%10 == 0 {
					p.pub(0, "plant/1/a=12345")
				}
			}
		})
	}
	wg.Wait()
	show := func(depth int, bytes bool) string {
		l, err := b.Busiest(depth, bytes, 2)
		if err != nil {
			t.Fatal(err)
		}
		out := fmt.Sprint(l.Messages, " ", l.Bytes, " ", l.Missed)
		for _, e := range l.Busiest {
			out += fmt.Sprintf("; %s %d %d %d", e.Topic, e.Messages, e.Bytes, e.Error)
		}
		return out
	}
	for _, c := range []struct {
		depth int
		bytes bool
		want  string
	}{
		{0, false, "840 2600 0; plant/1/a 440 2200 0; plant/0/b 100 100 0"},
		{0, true, "840 2600 0; plant/1/a 440 2200 0; plant/0/b 100 100 0"},
		{1, false, "840 2600 0; plant 840 2600 0"},
		{2, true, "840 2600 0; plant/1 540 2300 0; plant/0 100 100 0"},
	} {
		if got := show(c.depth, c.bytes); got != c.want {
			t.Errorf("depth %d: got %s; want %s", c.depth, got, c.want)
		}
	}
	for _, depth := range []int{-1, relay.MaxTopicDepth + 1} {
		if _, err := b.Busiest(depth, false, 1); err == nil {
			t.Errorf("depth %d is counted", depth)
		}
	}
}

// TestBusiestOfTooMany: with far more topics than there is room for, the heavy
// ones are found, errors are bounded, and what is not told apart is said.
func TestBusiestOfTooMany(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.RouteCacheEntries = 256 })
	p := b.connect("p")
	const rounds = 8000
	for i := range rounds {
		p.pub(0, fmt.Sprint("many/", i, "=x"), "heavy/1=x")
	}
	l, err := b.Busiest(0, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	if l.Messages != 2*rounds {
		t.Errorf("%d messages are known; want %d", l.Messages, 2*rounds)
	}
	h := l.Busiest[0]
	if h.Topic != "heavy/1" || h.Messages+l.Missed < rounds || h.Messages > rounds+h.Error {
		t.Errorf("the heaviest is %+v, missed %d; it has %d", h, l.Missed, rounds)
	}
	if len(l.Busiest) != 32 {
		t.Errorf("%d are remembered; there is room for 32", len(l.Busiest))
	}
}
