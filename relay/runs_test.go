package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// changing is what a client may publish; the test changes it.
type changing struct{ denied string }

func (a *changing) CanPublish(topic string) bool { return topic != a.denied }
func (a *changing) CanReceive(string) bool       { return true }
func (a *changing) Same(other relay.Access) bool { return a == other }

// Whatever topics follow each other in a batch, by name or by alias, and whatever
// changes in its midst, each message arrives once, on its topic, in the order of its
// topic and QoS, and all of them are accounted for.
func TestRuns(t *testing.T) {
	long := strings.Repeat("long/", 250)
	topics := []string{"a", "b", "a/b", "b/b", "x/ab", "/", "/a", "//", "+", long + "1", long + "2", "ä"}
	topics[8] = "$a" // which nobody may publish
	rapid.Check(t, func(rt *rapid.T) {
		may := &changing{}
		remembered := rapid.SampledFrom([]int{1, 3, 4096}).Draw(rt, "routes remembered")
		b := openBroker(rt, func(c *relay.Config) { c.MaxTopicLevels, c.RouteCacheEntries = 1000, remembered }, nil)
		defer b.finish()
		v := rapid.SampledFrom([]wire.Version{wire.V311, wire.V5}).Draw(rt, "version")
		pub := b.connect("pub", version(v), access(may))
		sub := b.connect("sub", version(rapid.SampledFrom([]wire.Version{wire.V311, wire.V5}).Draw(rt, "other version")),
			receiveMaximum(uint16(rapid.IntRange(1, 30).Draw(rt, "receive maximum"))))
		sub.sub(2, "#", "+/b")
		third := b.connect("third")
		aliased := make(map[uint16]string)
		want := make(map[string][]string)
		pending := 0
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 19).Draw(rt, "step") {
			case 0:
				third.sub(byte(rapid.IntRange(0, 2).Draw(rt, "qos")), rapid.SampledFrom([]string{"a", "+/b", "#", "/#", "$share/g/a", "$share/g/+/b", "/a", "ä/#"}).Draw(rt, "filter"))
			case 1:
				third.unsub("a", "+/b", "#", "/#", "$share/g/a", "$share/g/+/b", "/a", "ä/#")
			case 2:
				may.denied = rapid.SampledFrom(topics).Draw(rt, "denied")
				b.AccessChanged()
			case 3:
				pub.port.Flush()
				third.settle()
			default:
				topic := rapid.SampledFrom(topics).Draw(rt, "topic")
				for range rapid.IntRange(1, 4).Draw(rt, "times") {
					pending++
					m := message{topic: topic, qos: byte(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(rt, "qos")), payload: fmt.Sprintf("%d.%d", i, pending)}
					if v == wire.V5 {
						m.alias = uint16(rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "alias"))
						if m.alias > 0 && aliased[m.alias] == topic && rapid.Bool().Draw(rt, "by alias alone") {
							m.topic = ""
						} else if m.alias > 0 {
							aliased[m.alias] = topic
						}
					}
					if err := pub.feed(pub.frame(m)); err != nil {
						rt.Fatalf("%+v: %v", m, err)
					}
					if topic != may.denied && topic[0] != '$' {
						key := fmt.Sprint(topic, " at ", m.qos)
						want[key] = append(want[key], m.payload)
					}
				}
			}
		}
		pub.port.Flush()
		pub.settleOut()
		got := make(map[string][]string)
		for _, p := range sub.settle() {
			key := fmt.Sprint(p.topic, " at ", p.qos)
			got[key] = append(got[key], p.payload)
		}
		for key := range want {
			if g, w := strings.Join(got[key], " "), strings.Join(want[key], " "); g != w {
				rt.Errorf("%.40s: got %s, want %s", key, g, w)
			}
			delete(got, key)
		}
		if len(got) > 0 {
			rt.Errorf("nobody may have published %v", got)
		}
		third.settle()
		b.balanced()
	})
}

// settleOut releases what the client has published at QoS 2.
func (c *client) settleOut() {
	c.Helper()
	for _, p := range c.take() {
		if p.kind == wire.PUBREC {
			c.send(c.ack(wire.PUBREL, p.id, 0))
		}
	}
}
