package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func TestEvents(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued = 1 })
	var mu sync.Mutex
	var got []string
	b.bus.Subscribe("test", events.Filter{}, 1000, func(e events.Event) {
		mu.Lock()
		defer mu.Unlock()
		s := fmt.Sprintf("%s %s %+v", e.Type, e.Source, e.Data)
		if m, ok := e.Data.(events.MessageData); ok {
			s = fmt.Sprintf("%s %s %s=%s q%d retain %v dup %v size %d", e.Type, e.Source, m.Topic, m.Payload, m.QoS, m.Retain, m.Dup, m.Size)
		}
		got = append(got, s)
	})
	c, pub := b.connect("c", kept), b.connect("pub")
	c.sub(1, "t", "$share/g/t")
	c.unsub("$share/g/t", "nothing")
	c.end()
	pub.publish(message{topic: "t", payload: "0"}, message{topic: "t", payload: "1", qos: 1, retain: true}, message{topic: "t", payload: "2", qos: 1})
	pub.publish(message{topic: "u", payload: "3"}, message{topic: "$SYS/x", payload: "4", qos: 2})
	if err := b.Publish(relay.Outgoing{Topic: "$SYS/y", Payload: []byte("5")}, nil); err != nil {
		t.Fatal(err)
	}
	pub.rejected(pub.frame(message{alias: 9}))
	b.Discard("c")
	if err := b.bus.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"subscription c {ClientID:c Filter:t QoS:1 Shared:}",
		"subscription c {ClientID:c Filter:t QoS:1 Shared:g}",
		"unsubscription c {ClientID:c Filter:$share/g/t}",
		"message pub t=0 q0 retain false dup false size 1",
		"message pub t=1 q1 retain true dup false size 1",
		"message pub t=2 q1 retain false dup false size 1",
		"drop c {ClientID:c Publisher:pub Topic:t QoS:0 Reason:qos0_msg Count:1}",
		"drop c {ClientID:c Publisher:pub Topic:t QoS:1 Reason:queue_full Count:1}",
		"message pub u=3 q0 retain false dup false size 1",
		"refusal pub {ClientID:pub Remote: What:publish Topic:$SYS/x Reason:not authorized}",
		"drop edgebroker {ClientID: Publisher:pub Topic:u QoS:0 Reason:no_subscribers Count:1}",
		"message edgebroker $SYS/y=5 q0 retain false dup false size 1",
		"drop edgebroker {ClientID: Publisher: Topic:$SYS/y QoS:0 Reason:no_subscribers Count:1}",
		"drop c {ClientID:c Publisher:pub Topic:t QoS:1 Reason:discarded Count:1}",
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got) // finer order than per run is not promised
	slices.Sort(want)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", indent(g), indent(w))
	}
}

// A payload in an event is the listener's to keep.
func TestEventOwnsItsPayload(t *testing.T) {
	b := newBroker(t, nil)
	kept := make(chan []byte, 3)
	sub := b.bus.Subscribe("test", events.Filter{Types: []events.Type{events.Message}}, 10, func(e events.Event) {
		kept <- e.Data.(events.MessageData).Payload
	})
	defer sub.Close()
	b.connect("pub").pub(0, "t=1", "t=2", "t=3") // feed overwrites its buffers
	for _, want := range []string{"1", "2", "3"} {
		if got := string(<-kept); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}

// Duplicates of QoS 2 are no messages of their own.
func TestOneEventPerMessage(t *testing.T) {
	b := newBroker(t, nil)
	n := 0
	b.bus.Subscribe("test", events.Filter{Types: []events.Type{events.Message}}, 10, func(events.Event) { n++ })
	m := message{topic: "t", qos: 2, id: 3}
	b.connect("pub").publish(m, m)
	c := b.connect("c", lastWill(wire.Will{Topic: "w"}))
	c.end()
	if err := b.bus.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n != 2 {
		t.Errorf("%d events; want one for the message and one for the will", n)
	}
}
