package relay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// store is a Store that commits at once, or, while hold is set, when the test
// says so.
type store struct {
	mu      sync.Mutex
	hold    bool
	room    relay.Room
	levels  map[string]relay.Level // by topic; others are Sync
	changes []string               // of all, as words
	names   map[uint64]string      // sessions
	last    relay.Ref
	held    map[relay.Ref]int
	refs    refs
	waiting []relay.Done
	bodies  map[relay.Ref]*relay.Message
	chunks  map[relay.Ref][]relay.Entry
	broken  map[relay.Ref]bool // bodies and chunks that cannot be read
	loads   int                // chunks that were read
	sparse  map[relay.Ref]bool // what Vacate is true of
}

func (s *store) Level(topic string) relay.Level {
	if l, ok := s.levels[topic]; ok {
		return l
	}
	return relay.Sync
}

func (s *store) Record(c relay.Change) relay.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Kind == relay.Opened {
		if s.names == nil {
			s.names = make(map[uint64]string)
		}
		s.names[c.Session] = c.Terms.ClientID
	}
	if w := s.words(&c); w != "" {
		s.changes = append(s.changes, w)
	}
	s.last++
	switch c.Kind {
	case relay.Body:
		s.bodies = put(s.bodies, s.last, c.Message)
	case relay.Spilled:
		s.chunks = put(s.chunks, s.last, slices.Clone(c.Entries))
	}
	s.refs.take(s.last, &c, func(at relay.Ref) []relay.Entry { return s.chunks[at] })
	return s.last
}

func put[V any](m map[relay.Ref]V, ref relay.Ref, v V) map[relay.Ref]V {
	if m == nil {
		m = make(map[relay.Ref]V)
	}
	m[ref] = v
	return m
}

// Load reads back what was recorded, as long as it is held.
func (s *store) Load(ref relay.Ref) ([]relay.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	list, there := s.chunks[ref]
	if !there || s.held[ref] == 0 || s.broken[ref] {
		return nil, fmt.Errorf("chunk %d is not there", ref)
	}
	var left []relay.Entry
	var err error
	for _, e := range list {
		if s.held[e.Body] == 0 || s.broken[e.Body] {
			err = fmt.Errorf("body %d is not there", e.Body)
			continue
		}
		m := s.bodies[e.Body]
		e.Message = relay.Stored(m.Topic, m.Payload, m.Props, m.Publisher, m.QoS, m.Retain, m.Expires(), s.Level(m.Topic), e.Body)
		left = append(left, e)
	}
	return left, err
}

func (s *store) Vacate(ref relay.Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sparse[ref]
}

func (s *store) holdLocked(ref relay.Ref, n int) {
	if s.held == nil {
		s.held = make(map[relay.Ref]int)
	}
	if s.held[ref] += n; s.held[ref] == 0 {
		delete(s.held, ref)
		if what := s.refs.needs(ref); what != "" {
			panic(fmt.Sprintf("%d is released, and needed by %s", ref, what))
		}
	}
}

func (s *store) Hold(ref relay.Ref, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdLocked(ref, 1)
}

func (s *store) Release(ref relay.Ref, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdLocked(ref, -1)
}

func (s *store) Near(a, b relay.Ref) bool { return a == b }
func (s *store) AwaitBacklog()            {}
func (s *store) Clock() time.Duration     { return 0 }

func (s *store) Room() relay.Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room
}

func (s *store) Commit(_ relay.Level, done relay.Done) {
	s.mu.Lock()
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

// recorded takes the changes seen since the last call.
func (s *store) recorded() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := strings.Join(s.changes, ", ")
	s.changes = nil
	return c
}

// words describes a change: "enqueued sub 2=x".
func (s *store) words(c *relay.Change) string {
	name := s.names[c.Session]
	switch c.Kind {
	case relay.Body:
		return "body " + c.Message.Topic + "=" + string(c.Message.Payload)
	case relay.Opened:
		return fmt.Sprintf("opened %s for %d s", name, c.Terms.Expiry)
	case relay.Ended:
		return "ended " + name
	case relay.Detached:
		return "detached " + name
	case relay.Subscribed:
		return "subscribed " + name + " " + c.Filter.Filter
	case relay.Unsubscribed:
		return "unsubscribed " + name + " " + c.Filter.Filter
	case relay.Enqueued:
		open := ""
		if c.Entry.Open {
			open = " open"
		}
		return fmt.Sprintf("enqueued %s %d %s=%s%s", name, c.Entry.Seq, c.Entry.Message.Topic, c.Entry.Message.Payload, open)
	case relay.Sent:
		return fmt.Sprintf("sent %s %d", name, c.Seq)
	case relay.HalfAcked:
		return fmt.Sprintf("half acked %s %d", name, c.Seq)
	case relay.Settled:
		return fmt.Sprintf("settled %s %d-%d", name, c.Seq, c.Last)
	case relay.Received:
		return fmt.Sprintf("received %s #%d", name, c.PacketID)
	case relay.Released:
		return fmt.Sprintf("released %s #%d", name, c.PacketID)
	case relay.Retained:
		return fmt.Sprintf("retained %s %v", c.Topic, c.Ref != 0)
	case relay.Moved:
		return fmt.Sprintf("moved %d to %d", c.Ref, c.To)
	case relay.WillWaits:
		return "will waits " + name + " " + c.Will.Topic
	case relay.WillGone:
		return "will gone " + name
	}
	return ""
}

func newStored(t *testing.T) (*broker, *store) {
	s := &store{}
	b := openBroker(t, nil, s)
	t.Cleanup(b.finish)
	return b, s
}

func TestChanges(t *testing.T) {
	b, s := newStored(t)
	step := func(want string) {
		t.Helper()
		if got := s.recorded(); got != want {
			t.Errorf("changes are %q; want %q", got, want)
		}
	}
	sub, brief, pub := b.connect("sub", kept), b.connect("brief"), b.connect("pub", kept)
	step("opened sub for 3600 s, opened pub for 3600 s")
	brief.sub(2, "t")
	step("")
	sub.sub(2, "t")
	step("subscribed sub t")
	pub.pub(0, "t=0")
	step("")
	pub.pub(1, "t=1")
	step("body t=1, enqueued sub 1 t=1, sent sub 1")
	pub.pub(2, "t=2")
	step("body t=2, enqueued sub 2 t=2 open, received pub #2, sent sub 2")
	pub.send(pub.ack(wire.PUBREL, 2, 0))
	step("released pub #2")
	sub.wants("PUBLISH q0 t=0", "PUBLISH q1 #2 t=1", "PUBLISH q2 #3 t=2")
	sub.send(sub.ack(wire.PUBACK, 2, 0), sub.ack(wire.PUBREC, 3, 0))
	step("half acked sub 2, settled sub 1-1")
	sub.send(sub.ack(wire.PUBCOMP, 3, 0))
	step("settled sub 2-2")
	pub.publish(message{topic: "r", payload: "x", retain: true}, message{topic: "r", retain: true, qos: 1})
	step("body r=x, retained r true, retained r false")
	sub.unsub("t", "nothing")
	step("unsubscribed sub t")
	pub.pub(1, "t=3")
	step("") // for brief alone, whose session ends with its connection
	c := b.connect("c", lastWill(wire.Will{Topic: "w", Retain: true, Payload: []byte("x")}))
	c.end()
	step("body w=x, retained w true")
	if len(s.held) != 1 {
		t.Errorf("%d bodies are held; want that of w", len(s.held))
	}
	pub.disconnect()
	step("detached pub")
	b.connect("pub", clean)
	step("ended pub")
	d := b.connect("d", kept, lastWill(wire.Will{Topic: "v", Delay: 60, Payload: []byte("x")}))
	d.end()
	step("opened d for 3600 s, detached d, will waits d v")
	b.connect("d", expiry(100))
	step("will gone d, opened d for 100 s")
	b.connect("d", expiry(0))
	step("ended d")
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
	sub.acknowledges(sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q0 t=0")) // delivery goes on where that may mean twice
	s.release(nil)
	pub.wants("PUBACK #1", "PUBREC #2", "PUBCOMP #2", "PUBACK #3 no matching subscribers")
	s.hold = true
	sub.acknowledges(sub.wants("PUBLISH q2 #3 t=2"))
	sub.wants() // PUBREL promises that the message is not sent again
	s.release(nil)
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
	s.recorded()
	first.end()
	if got := s.recorded(); got != "body t=x, enqueued second 1 t=x, sent second 1" {
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
	s.recorded()
	pub = b.connect("pub", kept)
	s.recorded()
	pub.publish(m)
	if got := s.recorded(); got != "body t=x, enqueued sub 2 t=x open, sent sub 2, received pub #9" {
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
