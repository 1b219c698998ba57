package main

import (
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// fault is a way in which a fakeBroker breaks its promises.
type fault string

const (
	honest     fault = "honest"
	loses      fault = "loses one delivery in a hundred"
	repeats    fault = "delivers one message in a hundred twice"
	reorders   fault = "delivers one message in a hundred after the next"
	rollsBack  fault = "acknowledges retained values that it does not keep"
	forgets    fault = "forgets sessions"
	openTwice  fault = "takes a QoS 2 message that is sent again for a new one"
	neverSays  fault = "does not acknowledge one message in a hundred"
	damages    fault = "flips a bit in one message in a hundred"
	reusesID   fault = "uses packet ids that are still in use"
	downgrades fault = "delivers at QoS 1 what is due at QoS 2"
)

// fakeBroker is the smallest broker that the fleet can talk to: QoS 1 and 2,
// kept sessions, retained messages, everything in memory, and one fault.
type fakeBroker struct {
	fault    fault
	listener net.Listener
	conns    sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*fakeSession
	retained map[string][]byte
	n        int // messages taken
}

type fakeSession struct {
	conn    net.Conn
	outbox  chan []byte
	version wire.Version
	filters map[string]byte
	open    map[uint16]bool // QoS 2 received and not released
	out     []fakeOut
	held    *wire.Out // kept back by reorders
	lastID  uint16
}

type fakeOut struct {
	id       uint16
	message  wire.Out
	received bool // PUBREC has come
}

func startFake(t *testing.T, f fault) *fakeBroker {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{fault: f, listener: l, sessions: map[string]*fakeSession{}, retained: map[string][]byte{}}
	b.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.conns.Go(func() { b.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for _, s := range b.sessions {
			s.conn.Close()
			close(s.outbox)
		}
		b.sessions = nil
		b.mu.Unlock()
		b.conns.Wait()
	})
	return b
}

func (b *fakeBroker) where(int) string { return "unix:" + b.listener.Addr().String() }

func (b *fakeBroker) serve(conn net.Conn) {
	defer conn.Close()
	l := link.New(conn, 0, replyWait)
	f, err := l.ReadWithin(replyWait)
	if err != nil || f.Type != wire.CONNECT {
		return
	}
	c, err := wire.DecodeConnect(f)
	if err != nil {
		return
	}
	s := b.connect(conn, &c)
	if s == nil {
		return
	}
	for err == nil {
		if f, err = l.ReadWithin(replyWait); err == nil {
			b.mu.Lock()
			if b.sessions[c.ClientID] != s || s.conn != conn {
				err = net.ErrClosed
			} else {
				b.frame(s, f)
			}
			b.mu.Unlock()
		}
	}
}

func (b *fakeBroker) connect(conn net.Conn, c *wire.Connect) *fakeSession {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions == nil {
		return nil // over
	}
	s := b.sessions[c.ClientID]
	if s != nil {
		s.conn.Close()
	}
	present := s != nil && !c.CleanStart && (b.fault != forgets || len(s.out)%3 != 0)
	if !present {
		if s != nil {
			close(s.outbox)
		}
		s = &fakeSession{filters: map[string]byte{}, open: map[uint16]bool{}}
		b.sessions[c.ClientID] = s
	}
	// As in a broker, writing to one client holds up nobody; what does not fit
	// ends the connection.
	outbox := make(chan []byte, 1<<16)
	b.conns.Go(func() {
		for frame := range outbox {
			if _, err := conn.Write(frame); err != nil {
				conn.Close()
			}
		}
	})
	if s.outbox != nil {
		close(s.outbox)
	}
	s.conn, s.version, s.outbox = conn, c.Version, outbox
	s.write(wire.AppendConnack(nil, c.Version, &wire.Connack{SessionPresent: present}))
	for _, o := range s.out {
		if o.received {
			s.write(wire.AppendAck(nil, wire.PUBREL, s.version, o.id, wire.Success))
		} else {
			o.message.Dup, o.message.Version = true, s.version
			s.write(wire.AppendPublish(nil, &o.message, o.id))
		}
	}
	return s
}

func (s *fakeSession) write(b []byte) {
	select {
	case s.outbox <- b:
	default:
		s.conn.Close()
	}
}

func (b *fakeBroker) frame(s *fakeSession, f wire.Frame) {
	switch f.Type {
	case wire.PINGREQ:
		s.write(wire.AppendPing(nil, wire.PINGRESP))
	case wire.SUBSCRIBE:
		sub, _ := wire.DecodeSubscribe(f, s.version)
		filter := sub.Filters[0]
		s.filters[filter.Filter] = filter.QoS
		s.write(wire.AppendSuback(nil, s.version, sub.PacketID, []wire.Reason{wire.Reason(filter.QoS)}))
		for topic, payload := range b.retained {
			if wire.MatchTopic(filter.Filter, topic) {
				s.deliver(wire.Out{QoS: 1, Retain: true, Topic: []byte(topic), Payload: payload}, b.fault)
			}
		}
	case wire.PUBLISH:
		p, _ := wire.DecodePublish(f, s.version)
		b.n++
		if b.fault == neverSays && b.n%100 == 0 {
			return
		}
		if p.QoS == 1 || !s.open[p.PacketID] || b.fault == openTwice {
			b.route(&p)
		}
		t := wire.PUBACK
		if p.QoS == 2 {
			t, s.open[p.PacketID] = wire.PUBREC, true
			if b.fault == openTwice && b.n%100 == 0 {
				s.conn.Close() // PUBREC is lost, so the message comes again
				return
			}
		}
		s.write(wire.AppendAck(nil, t, s.version, p.PacketID, wire.Success))
	case wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		id, _, _ := wire.DecodeAck(f, s.version)
		s.acknowledge(f.Type, id)
	}
}

func (s *fakeSession) acknowledge(t wire.Type, id uint16) {
	if t == wire.PUBREL {
		delete(s.open, id)
		s.write(wire.AppendAck(nil, wire.PUBCOMP, s.version, id, wire.Success))
		return
	}
	for i := range s.out {
		if s.out[i].id != id {
			continue
		}
		if t == wire.PUBREC {
			s.out[i].received = true
			s.write(wire.AppendAck(nil, wire.PUBREL, s.version, id, wire.Success))
		} else {
			s.out = append(s.out[:i], s.out[i+1:]...)
		}
		return
	}
}

func (b *fakeBroker) route(p *wire.Publish) {
	topic, payload := string(p.Topic), append([]byte(nil), p.Payload...)
	if p.Retain && (b.fault != rollsBack || b.n%3 > 0) {
		if b.retained[topic] = payload; len(payload) == 0 {
			delete(b.retained, topic)
		}
	}
	for _, s := range b.sessions {
		for filter, qos := range s.filters {
			if !wire.MatchTopic(filter, topic) || filter == cellFilter {
				continue
			}
			o := wire.Out{QoS: min(qos, p.QoS), Topic: []byte(topic), Payload: payload}
			nth := b.n%100 == 0
			if b.fault == loses && nth {
				continue
			}
			if b.fault == reorders && nth && s.held == nil {
				s.held = &o
				continue
			}
			if b.fault == damages && nth {
				o.Payload = append([]byte(nil), payload...)
				o.Payload[0] ^= 1
			}
			if b.fault == downgrades {
				o.QoS = 1
			}
			s.deliver(o, b.fault)
			if b.fault == repeats && nth {
				s.deliver(o, b.fault)
			}
			if s.held != nil && string(s.held.Topic) == topic && s.held.QoS == o.QoS {
				s.deliver(*s.held, b.fault)
				s.held = nil
			}
		}
	}
}

func (s *fakeSession) deliver(o wire.Out, f fault) {
	s.lastID = s.lastID%60000 + 1
	if f == reusesID {
		s.lastID = s.lastID%3 + 1
	}
	o.Version = s.version
	s.out = append(s.out, fakeOut{id: s.lastID, message: o})
	s.write(wire.AppendPublish(nil, &o, s.lastID))
}
