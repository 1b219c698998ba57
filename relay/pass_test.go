package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// A client that owes acknowledgements for all that it may have gets no QoS>0,
// and goes on getting QoS 0 in its order, however that comes.
// [MQTT-4.9.0-2]
func TestQoS0PassesAFullWindow(t *testing.T) {
	for name, owed := range map[string][]message{
		"QoS 1": {{topic: "a", payload: "1", qos: 1}, {topic: "a", payload: "2", qos: 1}, {topic: "a", payload: "3", qos: 1}},
		"QoS 2": {{topic: "a", payload: "1", qos: 2}, {topic: "a", payload: "2", qos: 2}, {topic: "a", payload: "3", qos: 2}},
	} {
		for _, most := range []uint16{0, 4} {
			t.Run(fmt.Sprint(name, " with ", most, " aliases"), func(t *testing.T) {
				b := newBroker(t, nil)
				pub := b.connect("pub")
				pub.publish(message{topic: "r/0", payload: "kept", retain: true}, message{topic: "r/1", payload: "kept", qos: 1, retain: true})
				sub := b.connect("sub", kept, receiveMaximum(2), aliases(most))
				sub.sub(2, "a")
				sub.subscribe(relay.Subscription{Filter: "b", ID: 7}, relay.Subscription{Filter: "$SYS/x", ID: 8})
				pub.publish(owed...)
				if got := payloads(sub.take()); got != "1 2" {
					t.Fatalf("got %q", got)
				}
				sub.sub(0, "plain")
				sub.sub(1, "r/#")
				for i := range 3 {
					pub.publish(message{topic: "b", payload: fmt.Sprint("b", i)}, message{topic: "plain", payload: fmt.Sprint("p", i)},
						message{topic: "b", payload: fmt.Sprint("c", i), qos: 2})
					b.says(fmt.Sprint("$SYS/x=", i))
				}
				if got, want := payloads(sub.take()), "kept b0 p0 c0 0 b1 p1 c1 1 b2 p2 c2 2"; got != want {
					t.Errorf("got %q; want %q", got, want)
				}
				sub.end() // and QoS>0 is where it was
				sub = b.connect("sub", kept, receiveMaximum(1))
				pub.publish(message{topic: "b", payload: "again"})
				if got := payloads(sub.take()); got != "1 again" {
					t.Errorf("after reconnecting: %q; want \"1 again\"", got)
				}
				sub.end()
				sub = b.connect("sub", kept)
				if got := payloads(sub.settle()); got != "1 2 3 kept" {
					t.Errorf("at last: %q; want \"1 2 3 kept\"", got)
				}
				b.empty()
			})
		}
	}
}

// What waits for a line that is stuck is sent when the line goes on, QoS 0 past a
// full window, as much of it as the line takes.
func TestQoS0PassesAFullWindowOfASlowLine(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 64 << 10 })
	sub, pub := b.connect("sub", receiveMaximum(2)), b.connect("pub")
	sub.sub(1, "a")
	sub.subscribe(relay.Subscription{Filter: "b", ID: 7})
	sub.link.stall(0)
	big := strings.Repeat("x", 3000)
	var want []string
	for i := range 30 {
		pub.publish(message{topic: "b", payload: fmt.Sprint(i, big)}, message{topic: "a", payload: fmt.Sprint("q", i), qos: 1})
		want = append(want, fmt.Sprint(i, big))
	}
	sub.link.grant(-1)
	var zero, one []string
	for more := sub.take(); len(more) > 0; more = sub.take() {
		for _, p := range more {
			if p.kind == wire.PUBLISH && p.qos == 0 {
				zero = append(zero, p.payload)
			} else {
				one = append(one, p.payload)
			}
		}
	}
	dropped := len(want) - len(zero)
	if got := strings.Join(zero, " "); len(zero) < 10 || got != strings.Join(want[:len(zero)], " ") {
		t.Errorf("of QoS 0 got %d in another order than they were sent in", len(zero))
	}
	if got := strings.Join(one, " "); got != "q0 q1" {
		t.Errorf("of QoS 1 got %q; the window has room for two", got)
	}
	if dropped > 0 {
		b.drops(fmt.Sprint("slow_consumer ", dropped))
	}
}
