package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// store is a Store that commits at once, or, while hold is set, when the test
// says so.
type store struct {
	mu      sync.Mutex
	hold    bool
	changes []relay.Change // of all commits
	waiting []relay.Done
}

func (s *store) Commit(changes []relay.Change, done relay.Done) {
	s.mu.Lock()
	s.changes = append(s.changes, changes...)
	hold := s.hold
	if hold {
		s.waiting = append(s.waiting, done)
	}
	s.mu.Unlock()
	if !hold {
		done.Committed(nil)
	}
}

// release tells err to all who wait, in order, and holds nothing back any
// more.
func (s *store) release(err error) {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting, s.hold = nil, false
	s.mu.Unlock()
	for _, done := range waiting {
		done.Committed(err)
	}
}

// committed takes the changes seen since the last call.
func (s *store) committed() []relay.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.changes
	s.changes = nil
	return c
}

// words describes changes: "enqueued sub 2=x".
func words(changes []relay.Change) string {
	kinds := []string{"?", "enqueued", "received", "released", "acked", "retained", "subscribed", "unsubscribed"}
	var out []string
	for _, c := range changes {
		s := kinds[c.Kind]
		if c.Session != "" {
			s += " " + c.Session
		}
		if c.PacketID != 0 {
			s += fmt.Sprint(" #", c.PacketID)
		}
		if c.Message != nil {
			s += " " + c.Message.Topic + "=" + string(c.Message.Payload)
		}
		if c.Filter.Filter != "" {
			s += " " + c.Filter.Filter
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func newStored(t *testing.T) (*broker, *store) {
	s := &store{}
	b := openBroker(t, nil, s)
	t.Cleanup(b.Close)
	return b, s
}

func TestChanges(t *testing.T) {
	b, s := newStored(t)
	step := func(want string) {
		t.Helper()
		if got := words(s.committed()); got != want {
			t.Errorf("changes are %q; want %q", got, want)
		}
	}
	sub, brief, pub := b.connect("sub", kept), b.connect("brief"), b.connect("pub", kept)
	brief.sub(2, "t")
	step("")
	sub.sub(2, "t")
	step("subscribed sub t")
	pub.pub(0, "t=0")
	step("")
	pub.pub(1, "t=1")
	step("enqueued sub t=1")
	pub.pub(2, "t=2")
	step("received pub #2, enqueued sub t=2")
	pub.send(pub.ack(wire.PUBREL, 2, 0))
	step("released pub #2")
	sub.wants("PUBLISH q0 t=0", "PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2")
	sub.send(sub.ack(wire.PUBACK, 2, 0), sub.ack(wire.PUBREC, 3, 0))
	step("acked sub #2 t=1, acked sub #3 t=2")
	sub.send(sub.ack(wire.PUBCOMP, 3, 0))
	step("")
	pub.publish(message{topic: "r", payload: "x", retain: true}, message{topic: "r", retain: true, qos: 1})
	step("retained r=x, retained r=")
	sub.unsub("t", "nothing")
	step("unsubscribed sub t")
	pub.pub(1, "t=3")
	step("") // for brief alone, whose session ends with its connection
	c := b.connect("c", lastWill(wire.Will{Topic: "w", Retain: true, Payload: []byte("x")}))
	c.end()
	step("retained w=x")
}

func TestAcknowledgementsWaitForTheStore(t *testing.T) {
	b, s := newStored(t)
	sub, pub := b.connect("sub", kept), b.connect("pub")
	sub.sub(2, "t")
	s.hold = true
	pub.pub(1, "t=1")
	pub.pub(2, "t=2")
	pub.pub(0, "t=0")
	pub.send(pub.ack(wire.PUBREL, 2, 0))
	pub.pub(1, "nobody=3")
	pub.wants()
	got := sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2", "PUBLISH q0 t=0") // delivery goes on
	sub.acknowledges(got)
	sub.wants() // PUBREL promises that the message is not sent again
	s.release(nil)
	pub.wants("PUBACK #1", "PUBREC #2", "PUBCOMP #2", "PUBACK #3 no matching subscribers")
	sub.wants("PUBREL #3")
}

func TestStoreFails(t *testing.T) {
	b, s := newStored(t)
	sub, pub := b.connect("sub", kept), b.connect("pub")
	sub.sub(1, "t")
	s.hold = true
	pub.pub(1, "t=1")
	pub.pub(1, "t=2")
	s.release(errors.New("disk on fire"))
	pub.wants()
	if pub.link.kicked != wire.QuotaExceeded || pub.link.why != "internal_error" {
		t.Errorf("kicked with %v, %q", pub.link.kicked, pub.link.why)
	}
	if sub.link.kicks != 0 {
		t.Error("the subscriber was kicked")
	}
	pub.send(pub.ack(wire.PUBREL, 9, 0)) // what was on its way is not acknowledged either
	pub.wants()
}

func TestMovedMessagesAreStored(t *testing.T) {
	b, s := newStored(t)
	first, second, pub := b.connect("first"), b.connect("second", kept), b.connect("pub")
	first.sub(1, share)
	pub.pub(1, "t=x")
	second.sub(1, share)
	s.committed()
	first.end()
	if got := words(s.committed()); got != "enqueued second t=x" {
		t.Errorf("changes are %q", got)
	}
	second.wants("PUBLISH q1 #2 t=x")
}

// QoS 2 that was not stored must be stored when it is sent again: the answer
// to a duplicate would be a promise that nobody keeps.
func TestQoS2IsStoredAgain(t *testing.T) {
	b, s := newStored(t)
	sub, pub := b.connect("sub", kept), b.connect("pub", kept)
	sub.sub(1, "t")
	m := message{topic: "t", payload: "x", qos: 2, id: 9}
	s.hold = true
	pub.publish(m)
	s.release(errors.New("disk on fire"))
	pub.end()
	s.committed()
	pub = b.connect("pub", kept)
	pub.publish(m)
	if got := words(s.committed()); got != "received pub #9, enqueued sub t=x" {
		t.Errorf("changes are %q", got)
	}
	pub.wants("PUBREC #9")
}

func TestSubscribeWaitsForTheStore(t *testing.T) {
	b, s := newStored(t)
	c := b.connect("c", kept)
	s.hold = true
	var done, again result
	c.port.Subscribe([]relay.Subscription{{Filter: "t"}}, &done)
	if done.n != 0 {
		t.Error("told before the store was")
	}
	c.port.Unsubscribe([]string{"t"}, &again)
	failed := errors.New("no")
	s.release(failed)
	if done.n != 1 || done.err != failed || again.n != 1 {
		t.Errorf("told %d times, %v; unsubscribing %d times", done.n, done.err, again.n)
	}
	var told result
	if err := b.Publish(relay.Outgoing{Topic: "t", Retain: true, Payload: []byte("x")}, &told); err != nil || told.n != 1 {
		t.Errorf("publish: %v, told %d times", err, told.n)
	}
}
