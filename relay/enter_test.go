package relay_test

import (
	"errors"
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

// ask subscribes to r, the store being slow with what follows.
func ask(sub *client, s *store, qos byte) {
	_, granted := sub.port.Subscribe([]relay.Subscription{{Filter: "r", QoS: qos}}, &result{})
	s.hold = true
	sub.port.SendRetained(granted)
	sub.port.Flush()
}

// What a session is given without a publisher is recorded with it, and must
// not be sent at QoS 2 before that is stored: after a crash the broker would
// give the packet identifier to another message, which the client would take
// for the one that it has.
func TestEnteringWaitsForTheStore(t *testing.T) {
	retained := func(b *broker, s *store, qos byte) *client {
		pub := b.connect("pub")
		pub.send(pub.frame(message{topic: "r", payload: "x", qos: qos, retain: true}))
		sub := b.connect("sub", kept)
		ask(sub, s, qos)
		return sub
	}
	shared := func(b *broker, s *store, qos byte) *client {
		sub, other := b.connect("sub", kept), b.connect("other", kept)
		other.sub(qos, "$share/g/r")
		other.disconnect()
		b.connect("pub").pub(qos, "r=x")
		sub.sub(qos, "$share/g/r")
		s.hold = true
		b.Discard("other")
		return sub
	}
	for name, enter := range map[string]func(*broker, *store, byte) *client{"retained": retained, "shared": shared} {
		for qos := byte(1); qos <= 2; qos++ {
			s := &store{}
			b := openBroker(t, nil, s)
			sub := enter(b, s, qos)
			got := payloads(sub.take())
			if want := map[byte]string{1: "x", 2: ""}[qos]; got != want {
				t.Errorf("%s: before it is stored, QoS %d: got %q; want %q", name, qos, got, want)
			}
			s.release(nil)
			if got += payloads(sub.take()); got != "x" {
				t.Errorf("%s: QoS %d: got %q; want \"x\"", name, qos, got)
			}
			b.Close()
		}
	}
}

// When the store has failed, the client must come again, and gets it then.
func TestEnteringWhenTheStoreFails(t *testing.T) {
	s := &store{}
	b := openBroker(t, nil, s)
	defer b.Close()
	pub := b.connect("pub")
	pub.send(pub.frame(message{topic: "r", payload: "x", qos: 2, retain: true}))
	sub := b.connect("sub", kept)
	ask(sub, s, 2)
	s.release(errors.New("disk on fire"))
	if got := payloads(sub.take()); got != "" || !sub.link.Ended() {
		t.Fatalf("got %q, ended %v; want nothing and the end", got, sub.link.Ended())
	}
	sub.end()
	s.hold = false
	again := b.connect("sub", kept)
	if got := payloads(again.take()); got != "x" {
		t.Errorf("got %q after coming back; want \"x\"", got)
	}
}
