package bench

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// stream is one publisher's messages at one subscriber.
type stream struct {
	hearing
	at       *position
	sequence sequence // of those of its numbers that are heard
	moved    bool     // since the position was last advanced
}

// expects is how many of a publisher's first sent messages belong to the stream.
func (st *stream) expects(sent uint64) uint64 {
	if sent <= st.offset {
		return 0
	}
	return (sent-st.offset-1)/st.stride + 1
}

// subscriber receives, checks and acknowledges. Its goroutine owns all but
// received and what rec holds; the run reads the rest after that goroutine has ended.
type subscriber struct {
	conn     *conn         // nil if paho is not
	paho     *pahoReceiver // nil if conn is not
	run      *run
	streams  []stream // by publisher index, or the one of its publisher
	foreign  bool     // messages are others': they are counted, not checked
	moved    []*stream
	rec      *recorder
	out      []byte // acknowledgements to be sent
	received atomic.Uint64
}

// receive runs until the connection expires or fails.
func (s *subscriber) receive() error {
	if s.paho != nil {
		return s.receivePaho()
	}
	now := time.Duration(0)
	count := uint64(0)
	for {
		n, err := s.drain(now)
		if err != nil {
			return err
		}
		// Positions move before acks leave: a publisher may go on while
		// this end writes.
		count += n
		s.received.Store(count) // before a position says that it is the last
		s.advance()
		if len(s.out) > 0 {
			if err := s.conn.write(s.out); err != nil {
				return quiet(err)
			}
			s.out = s.out[:0]
		}
		if err := s.conn.fill(); err != nil {
			return quiet(err)
		}
		now = time.Since(s.run.base)
	}
}

// drain takes all frames that one read has brought, and returns how many
// messages were among them.
func (s *subscriber) drain(now time.Duration) (count uint64, err error) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	for {
		f, ok, err := s.conn.next()
		if err != nil || !ok {
			return count, err
		}
		switch f.Type {
		case wire.PUBLISH:
			m, err := s.take(f, now)
			if err != nil {
				return count, err
			}
			count++
			switch m.qos {
			case 1:
				s.out = wire.AppendAck(s.out, wire.PUBACK, s.conn.version, m.packetID, wire.Success)
			case 2:
				s.out = wire.AppendAck(s.out, wire.PUBREC, s.conn.version, m.packetID, wire.Success)
			}
		case wire.PUBREL:
			id, _, err := wire.DecodeAck(f, s.conn.version)
			if err != nil {
				return count, fmt.Errorf("%s: release: %w", s.conn.name, err)
			}
			s.out = wire.AppendAck(s.out, wire.PUBCOMP, s.conn.version, id, wire.Success)
		case wire.SUBACK:
			if err := s.granted(f); err != nil {
				return count, err
			}
		default:
			return count, s.conn.unexpected(f)
		}
	}
}

// granted checks the answer to the subscription of a foreign filter, which
// retained messages may overtake.
func (s *subscriber) granted(f wire.Frame) error {
	if !s.foreign {
		return s.conn.unexpected(f)
	}
	_, codes, err := wire.DecodeSuback(f, s.conn.version)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", s.conn.name, err)
	}
	if len(codes) != 1 || codes[0] > 2 {
		return fmt.Errorf("subscribe %s: broker answered %v for %q; is it allowed to this user, and within the limits of the broker?", s.conn.name, codes, s.run.opts.Topic)
	}
	return nil
}

// take checks one message and records its latency.
func (s *subscriber) take(f wire.Frame, now time.Duration) (message, error) {
	m, ok := parseMessage(f, s.conn.version)
	if s.foreign {
		if !m.whole {
			return m, fmt.Errorf("%s: broker sent a malformed message", s.conn.name)
		}
		return m, nil
	}
	return m, s.check(m, ok, now)
}

// check is take of a message that has been parsed; ok is false if it has no
// header.
func (s *subscriber) check(m message, ok bool, now time.Duration) error {
	if !ok || m.size != s.run.opts.Payload {
		return fmt.Errorf("%s: broker delivered a message that nobody sent (qos %d, %d bytes)", s.name(), m.qos, m.size)
	}
	st := s.stream(m.publisher)
	if st == nil || uint64(m.seq)%st.stride != st.offset {
		return fmt.Errorf("%s: broker delivered message %d of publisher %d, which this filter does not match", s.name(), m.seq, m.publisher)
	}
	switch {
	case m.qos != st.qos:
		return fmt.Errorf("%s: broker delivered a message at qos %d, which was published at qos %d", s.name(), m.qos, st.qos)
	case m.props < s.run.props:
		return fmt.Errorf("%s: broker delivered %d bytes of properties instead of %d; user properties are missing", s.name(), m.props, s.run.props)
	}
	n := uint64(m.seq)
	if st.stride > 1 {
		n /= st.stride
	}
	st.sequence.see(n)
	if !st.moved {
		st.moved = true
		s.moved = append(s.moved, st)
	}
	if m.at >= s.run.recordAt.Load() {
		s.rec.latency.record(now - time.Duration(m.at))
	}
	return nil
}

// end is the connection.
func (s *subscriber) end() end {
	if s.paho != nil {
		return s.paho
	}
	return s.conn
}

func (s *subscriber) name() string {
	if s.paho != nil {
		return s.paho.pahoClient.name
	}
	return s.conn.name
}

func (s *subscriber) stream(publisher uint32) *stream {
	i := int(publisher)
	if len(s.streams) == 1 {
		i = 0
	}
	if i >= len(s.streams) || s.streams[i].publisher != publisher {
		return nil
	}
	return &s.streams[i]
}

// advance publishes the positions that moved.
func (s *subscriber) advance() {
	for _, st := range s.moved {
		st.moved = false
		st.at.advance(st.sequence.next*st.stride + st.offset)
	}
	s.moved = s.moved[:0]
}
