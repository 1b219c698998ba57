package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Carried is what a relay hands to the one that takes its place in another
// process, while connections go on: of what the store keeps it names only where
// it stands, all else is in it. Without a store that is everything.
type Carried struct {
	Messages []CarriedMessage // that others refer to by their place here
	Retained []int            // of Messages: retained ones that no store keeps
	Sessions []CarriedSession
}

// CarriedMessage is a message whose body no store keeps.
type CarriedMessage struct {
	Topic, Publisher string
	Payload, Props   []byte
	QoS              byte
	Retain           bool
	Left             time.Duration // until it expires; 0: never
	Age              time.Duration // since it came; 0: that is not known
}

// CarriedSession is one session, with its connection if that goes on.
type CarriedSession struct {
	Terms     Terms
	Age       time.Duration // since it was made
	Away      time.Duration // since it lost its connection; 0 if Port
	Seq, Seen uint64
	Subs      []Subscription
	Inbound   []CarriedID
	Window    []CarriedDelivery
	Current   int // of Window: those that were sent on the connection
	Queue     []CarriedDelivery
	Will      *wire.Will // waits for its delay
	WillIn    time.Duration
	Received  Traffic
	Sent      Traffic
	Dropped   uint64
	Port      *CarriedPort // nil: it has no connection
}

// CarriedID is a packet identifier received at QoS 2 and not released.
type CarriedID struct {
	ID  uint16
	Own bool // it came on the connection that goes on
}

// CarriedDelivery is a message in a session's window or queue.
type CarriedDelivery struct {
	Seq      uint64
	Stored   bool // the store has it, under Seq
	Message  int  // place in Carried.Messages; -1 if Stored, or if the client has it already
	State    byte // of the exchange; 0 in the queue
	PacketID uint16
	QoS      byte
	Retain   bool
	Latest   bool
	IDs      []uint32
	Share    string        // filter of the shared subscription it was chosen by
	Left     time.Duration // that it may still wait; 0: for ever
}

// CarriedPort is what belongs to the connection of a session.
type CarriedPort struct {
	ReceiveMaximum    uint16 // as CONNACK has said
	TopicAliasMaximum uint16
	Aliases           map[uint16]string // that the client has set
	SentAliases       map[string]uint16 // that the broker has set
}

var (
	// errUnstored keeps a relay from being carried whose store has not kept up.
	errUnstored = errors.New("a message waits to be stored")
	errSealed   = errors.New("the broker is being handed over")
)

// Seal has the relay take nothing more from the program itself: what is published
// without a connection afterwards is not.
func (r *Relay) Seal() {
	r.house.turns.Lock()
	defer r.house.turns.Unlock()
	r.house.sealed = true
}

// Carry returns what the next process needs. Call it after Close and Seal, when
// nobody uses a Port any more and all Commits have been told. along runs while
// nothing goes from one session to another: it is to look at connections, so that
// what it sees of them and what is returned is one state. What Carry returns
// refers to memory of the relay. An error means that something is not as it must
// be, or is along's; then clients are to be disconnected as when the broker stops.
func (r *Relay) Carry(along func() error) (*Carried, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	if err := along(); err != nil {
		return nil, err
	}
	c := &carrier{relay: r, places: make(map[*Message]int)}
	for _, m := range r.unstoredRetained() {
		c.out.Retained = append(c.out.Retained, c.place(m))
	}
	all := r.all()
	slices.SortFunc(all, func(a, b *Session) int { return strings.Compare(a.id, b.id) })
	for _, s := range all {
		if err := c.session(s); err != nil {
			return nil, fmt.Errorf("carry session %q: %w", s.id, err)
		}
	}
	return &c.out, nil
}

// unstoredRetained are the retained messages that no store keeps, by topic.
func (r *Relay) unstoredRetained() (list []*Message) {
	r.retained.mu.RLock()
	defer r.retained.mu.RUnlock()
	r.retained.root.each(func(m *Message) {
		if !m.retained.Load() {
			list = append(list, m)
		}
	})
	slices.SortFunc(list, func(a, b *Message) int { return strings.Compare(a.Topic, b.Topic) })
	return list
}

// carrier gathers a Carried.
type carrier struct {
	relay  *Relay
	out    Carried
	places map[*Message]int
}

// place is where m stands among the messages.
func (c *carrier) place(m *Message) int {
	if at, known := c.places[m]; known {
		return at
	}
	cm := CarriedMessage{Topic: m.Topic, Publisher: m.Publisher, Payload: m.Payload, Props: m.Props, QoS: m.QoS, Retain: m.Retain}
	if m.expires != 0 {
		cm.Left = max(1, m.expires-c.relay.now())
	}
	cm.Age, _ = c.relay.Age(m)
	at := len(c.out.Messages)
	c.places[m] = at
	c.out.Messages = append(c.out.Messages, cm)
	return at
}

func (c *carrier) session(s *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return nil
	}
	s.dropOwedLocked()
	r := c.relay
	cs := CarriedSession{Terms: s.termLocked(), Age: time.Since(s.created), Seq: s.seq, Seen: s.seen, Current: s.window.current,
		Dropped: s.dropped.Load(), Will: s.will}
	cs.Received.accumulate(&s.received)
	cs.Sent.accumulate(&s.sent)
	if s.will != nil {
		cs.WillIn = max(1, s.willDue-r.now())
	}
	if g := s.entry.gate; g != nil && !g.open.Load() || s.catching != nil && !s.catching.open.Load() {
		return errUnstored
	}
	foreign := false // something is not the store's
	for i := range s.window.n {
		e := s.window.at(i)
		d, err := c.delivery(&e.delivery)
		if err != nil {
			return err
		}
		d.State, d.PacketID = byte(e.state), e.id
		cs.Window = append(cs.Window, d)
		foreign = foreign || !d.Stored
	}
	for _, q := range []*queue{&s.queue, &s.spill.tail} {
		for i := range q.len() {
			d, err := c.delivery(q.at(i))
			if err != nil {
				return err
			}
			if d.Stored && q == &s.spill.tail {
				continue
			}
			cs.Queue = append(cs.Queue, d)
			foreign = foreign || !d.Stored
		}
	}
	if p := s.port; p != nil {
		cs.Port = p.carry(s)
	} else {
		cs.Away = max(1, r.now()-s.detached)
	}
	if s.recorded.Load() != 0 && cs.Port == nil && !foreign {
		return nil
	}
	for id, in := range s.inbound {
		own := s.port != nil && in.serial == s.port.serial
		cs.Inbound = append(cs.Inbound, CarriedID{id, own})
	}
	slices.SortFunc(cs.Inbound, func(a, b CarriedID) int { return int(a.ID) - int(b.ID) })
	for _, sub := range s.subs {
		cs.Subs = append(cs.Subs, sub.Subscription)
	}
	slices.SortFunc(cs.Subs, func(a, b Subscription) int { return strings.Compare(a.Filter, b.Filter) })
	c.out.Sessions = append(c.out.Sessions, cs)
	return nil
}

func (c *carrier) delivery(d *delivery) (CarriedDelivery, error) {
	cd := CarriedDelivery{Seq: d.seq, Stored: d.kept, Message: -1, QoS: d.qos, Retain: d.retain, Latest: d.marks&markLatest != 0, IDs: d.ids}
	if d.msg != nil {
		if g := d.msg.gate; g != nil && !g.open.Load() {
			return cd, errUnstored
		}
		if !d.kept {
			cd.Message = c.place(d.msg)
		}
	}
	if d.group != nil {
		cd.Share = d.group.shareName()
	}
	if d.until != 0 {
		cd.Left = max(1, untilTime(d.until)-c.relay.now())
	}
	return cd, nil
}

// carry is what belongs to the connection. The caller holds the lock of s.
func (p *Port) carry(s *Session) *CarriedPort {
	k := &CarriedPort{ReceiveMaximum: p.told.ReceiveMaximum, TopicAliasMaximum: p.told.MaxTopicAlias}
	for alias, topic := range p.aliases {
		if len(topic) > 0 {
			if k.Aliases == nil {
				k.Aliases = make(map[uint16]string)
			}
			k.Aliases[uint16(alias)] = string(topic)
		}
	}
	if l := s.live.Load(); l != nil && l.aliases != nil {
		k.SentAliases = l.aliases.ids
	}
	return k
}

// Part takes from a Port what it holds back: the frames that its client has sent
// and that nobody has taken on. It is theirs who carry the connection to hand
// them in again, before what the client sends next. Its reader must have stopped.
func (p *Port) Part() (frames []byte) {
	h := p.held
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.timer.Stop()
	for _, f := range h.frames {
		frames = append(frames, f...)
	}
	return frames
}

// Still has publishers not wait any more, for room or for their pace: what they
// bring is taken on, or held back whatever the bounds say. It is for the moment
// before Carry, and cannot be undone.
func (r *Relay) Still() { r.still.Store(true) }
