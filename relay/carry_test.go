package relay_test

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// TestModelMoves is TestModel with brokers that take each other's place: what
// clients get, and how often, is what they would have got from one.
func TestModelMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			rapid.Check(bubbled{t}, func(t *rapid.T) { modelled(t, true) })
		}
	})
}

// move has another broker go on with everything, under the same connections.
func (m *machine) move() {
	m.note("everything moves")
	m.broker = m.broker.moved(m.clients)
	for id, c := range m.clients {
		c.attach()
		m.look(id)
	}
}

// moved is another broker that goes on, with ports for clients, which are not
// attached yet.
func (b *broker) moved(clients map[string]*client) *broker {
	b.Helper()
	b.Close()
	carried, err := b.Carry(func() error { return nil })
	if err != nil {
		b.Fatalf("carry: %v", err)
	}
	cfg := b.cfg
	next := openBroker(b.tb, func(c *relay.Config) { *c = cfg }, nil)
	next.Resume(carried)
	for id, c := range clients {
		if c.port, err = next.Reopen(c.asked); err != nil {
			b.Fatalf("reopen %s: %v", id, err)
		}
		c.b = next
	}
	if len(clients) == 0 {
		return next
	}
	again, err := next.Carry(func() error { return nil })
	if err != nil {
		b.Fatalf("carry again: %v", err)
	}
	forgetTimes(carried)
	forgetTimes(again)
	if !reflect.DeepEqual(carried.Sessions, again.Sessions) {
		b.Fatalf("carried %+v\nthen %+v", carried.Sessions, again.Sessions)
	}
	return next
}

// forgetTimes makes what was carried comparable: time passes.
func forgetTimes(c *relay.Carried) {
	for i := range c.Sessions {
		s := &c.Sessions[i]
		s.Age, s.Away, s.WillIn = 0, 0, 0
		if s.Port != nil { // those that were sent are given to the connection when it is attached
			s.Port.SentAliases = nil
		}
	}
}

// A session whose connection has not been reopened is nobody else's to reopen,
// and its client may come anew.
func TestReopen(t *testing.T) {
	b := newBroker(t, nil)
	c := b.connect("c", kept)
	c.sub(1, "t")
	away := b.connect("away", kept)
	away.end()
	next := b.moved(map[string]*client{})
	t.Cleanup(next.Close)
	for _, id := range []string{"away", "nobody"} {
		if _, err := next.Reopen(relay.Connect{ClientID: id, Version: wire.V5}); !errors.Is(err, relay.ErrNotCarried) {
			t.Errorf("reopen %s: %v", id, err)
		}
		if terms := next.CarriedTerms(id); terms != (relay.Terms{}) {
			t.Errorf("terms of %s, who does not wait: %+v", id, terms)
		}
	}
	if terms := next.CarriedTerms("c"); terms.Expiry != 3600 || terms.ClientID != "c" {
		t.Errorf("terms %+v", terms)
	}
	anew := next.connect("c", kept)
	if !anew.port.SessionPresent() {
		t.Error("session is gone")
	}
	if _, err := next.Reopen(c.asked); !errors.Is(err, relay.ErrNotCarried) {
		t.Errorf("reopen one that has come anew: %v", err)
	}
	pub := next.connect("pub")
	pub.pub(1, "t=x")
	anew.wants("PUBLISH q1 #2 t=x")
}
