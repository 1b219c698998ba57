package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// subscriber has a kept session and goes on and off line at random. What it
// has received at QoS 2 and not seen released it remembers, as MQTT demands,
// across connections.
type subscriber struct {
	fleet   *fleet
	id      int
	name    string
	version wire.Version
	qos     byte
	rng     *rand.Rand
	lazy    bool // holds its acknowledgements back now and then

	subscribed [topics]bool
	late       time.Time          // when it subscribes to the last topic
	open       map[uint16]arrival // QoS 2 messages that were not released yet
}

// arrival is what a packet id stands for.
type arrival struct {
	stream stream
	n      uint64
}

func newSubscriber(f *fleet, i int) *subscriber {
	rng := f.rng(uint64(200 + i))
	return &subscriber{
		fleet: f, id: i, name: fmt.Sprintf("sub-%d", i), version: version(i / 2), qos: byte(1 + i%2), rng: rng,
		lazy: i%3 == 0, late: time.Now().Add(between(rng, 100*time.Millisecond, 20*time.Second)), open: map[uint16]arrival{},
	}
}

func (s *subscriber) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.fleet.away.Load() {
			_ = pause(ctx, 10*time.Millisecond) // ctx is checked above
			continue
		}
		c := kept(s.version, s.name)
		if s.version == wire.V5 {
			c.ReceiveMaximum = []uint16{0, 3, 20, 500}[s.rng.IntN(4)]
		}
		l, ack, err := link.Open(ctx, s.fleet.at(s.id, 1), &c, replyWait)
		if err != nil {
			_ = pause(ctx, between(s.rng, 2*time.Millisecond, 30*time.Millisecond))
			continue
		}
		s.fleet.books.connected(s.name, ack.SessionPresent)
		s.fleet.trace.note(s.name, "connected, session present %v", ack.SessionPresent)
		if !ack.SessionPresent {
			s.open = map[uint16]arrival{}
			s.subscribed = [topics]bool{}
		}
		s.fleet.online.Add(1)
		err = s.serve(ctx, l)
		s.fleet.online.Add(-1)
		s.fleet.trace.note(s.name, "connection ended: %v", err)
		if s.fleet.gathered.Load() || s.rng.IntN(3) > 0 {
			continue // back at once
		}
		_ = pause(ctx, between(s.rng, 5*time.Millisecond, 3*time.Second))
	}
}

// errLeft is the end of a connection that the subscriber has chosen.
var errLeft = errors.New("left")

// serve lives through one connection.
func (s *subscriber) serve(ctx context.Context, l *link.Link) error {
	defer l.Conn.Close()
	stop := context.AfterFunc(ctx, func() { l.Conn.Close() })
	defer stop()
	end := time.Now().Add(between(s.rng, 5*time.Millisecond, 10*time.Second))
	asked := map[uint16]int{} // by packet id: topic whose SUBACK is due
	var acks []byte
	for {
		for topic := range topics {
			due := topic < topics-1 || time.Now().After(s.late)
			if id := uint16(30000 + topic); due && !s.subscribed[topic] {
				if _, ok := asked[id]; !ok {
					asked[id] = topic
					sub := wire.Subscribe{PacketID: id, Filters: []wire.Filter{{Filter: topicFilter(topic), QoS: s.qos}}}
					if err := l.Write(wire.AppendSubscribe(nil, s.version, &sub)); err != nil {
						return err
					}
				}
			}
		}
		f, err := l.ReadWithin(50 * time.Millisecond)
		leave := s.fleet.away.Load() || time.Now().After(end) && !s.fleet.gathered.Load()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = nil
		case err == nil:
			acks, err = s.take(f, asked, acks)
		}
		if err != nil {
			return err
		}
		if leave {
			return s.leave(ctx, l)
		}
		if len(acks) == 0 || l.Waiting() && len(acks) < 1000 {
			continue
		}
		if s.lazy && !s.fleet.gathered.Load() && s.rng.IntN(10) == 0 {
			if err := pause(ctx, between(s.rng, time.Millisecond, 50*time.Millisecond)); err != nil {
				return err
			}
		}
		if err := l.Write(acks); err != nil {
			return err
		}
		acks = acks[:0]
	}
}

// leave ends a connection in one of the ways that clients have: without a
// word, what was received unacknowledged; with one; or by connecting again
// while the old connection still stands.
func (s *subscriber) leave(ctx context.Context, l *link.Link) error {
	switch s.rng.IntN(3) {
	case 0:
		l.Goodbye()
	case 1:
		if s.fleet.away.Load() {
			break
		}
		// What is read on the second connection would have to be entered; so
		// it only takes the session over, and ends before anything is read.
		c := kept(s.version, s.name)
		if conn, err := dial.Broker(ctx, s.fleet.at(s.id, 0), replyWait); err == nil {
			_ = link.New(conn, s.version, replyWait).Write(wire.AppendConnect(nil, &c)) // it may be gone
			conn.Close()
		}
	}
	return errLeft
}

// take enters a frame and appends the acknowledgement that it asks for.
func (s *subscriber) take(f wire.Frame, asked map[uint16]int, acks []byte) ([]byte, error) {
	switch f.Type {
	case wire.SUBACK:
		id, codes, err := wire.DecodeSuback(f, s.version)
		if err != nil {
			return acks, err
		}
		topic, ok := asked[id]
		if !ok || len(codes) != 1 || codes[0] != wire.Reason(s.qos) {
			return acks, fmt.Errorf("SUBACK %d with codes %v", id, codes)
		}
		s.fleet.trace.note(s.name, "subscribed to topic %d", topic)
		s.subscribed[topic] = true
		s.fleet.books.keeps(s.name)
		s.fleet.books.subscribed(s.name, topic)
	case wire.PUBLISH:
		return s.takeMessage(f, acks)
	case wire.PUBREL:
		id, _, err := wire.DecodeAck(f, s.version)
		if err != nil {
			return acks, err
		}
		s.fleet.trace.note(s.name, "got PUBREL %d", id)
		delete(s.open, id)
		return wire.AppendAck(acks, wire.PUBCOMP, s.version, id, wire.Success), nil
	case wire.DISCONNECT:
		d, err := wire.DecodeServerDisconnect(f, s.version)
		return acks, errors.Join(fmt.Errorf("DISCONNECT: %v", d.Reason), err)
	}
	return acks, nil
}

func (s *subscriber) takeMessage(f wire.Frame, acks []byte) ([]byte, error) {
	d, err := wire.DecodeDelivery(f, s.version)
	if err != nil {
		return acks, err
	}
	st, n, err := readStream(d.Payload)
	if err != nil || string(d.Topic) != streamTopic(st) || d.QoS != min(st.qos, s.qos) || d.Retain {
		s.fleet.books.breach(intact, []string{s.name}, "%s got %d bytes on %q at QoS %d, retain %v: not what was sent", s.name, len(d.Payload), d.Topic, d.QoS, d.Retain)
		return acks, errors.Join(errPayload, err)
	}
	s.fleet.trace.note(s.name, "got PUBLISH %d: message %d of %v", d.PacketID, n, st)
	if d.QoS < 2 {
		s.fleet.books.receive(s.name, st, n, d.QoS)
		return wire.AppendAck(acks, wire.PUBACK, s.version, d.PacketID, wire.Success), nil
	}
	now := arrival{st, n}
	if before, ok := s.open[d.PacketID]; !ok {
		s.open[d.PacketID] = now
		s.fleet.books.receive(s.name, st, n, d.QoS)
	} else if before != now {
		s.fleet.books.breach(once, []string{s.name, publisherName(st.publisher)},
			"%s got message %d of %v under packet id %d, which still stood for message %d of %v", s.name, n, st, d.PacketID, before.n, before.stream)
	}
	return wire.AppendAck(acks, wire.PUBREC, s.version, d.PacketID, wire.Success), nil
}
