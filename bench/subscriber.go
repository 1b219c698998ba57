package bench

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// stream is one publisher's messages at one subscriber.
type stream struct {
	publisher uint32
	at        *position
	sequence  sequence
	moved     bool // since the position was last advanced
}

// subscriber receives, checks and acknowledges. Its goroutine owns all but
// received; the run reads the rest after that goroutine has ended.
type subscriber struct {
	conn     *conn
	run      *run
	streams  []stream // by publisher index, or the one of its pair
	moved    []*stream
	latency  histogram
	received atomic.Uint64
}

// receive runs until the connection expires or fails.
func (s *subscriber) receive() error {
	var out []byte
	now := time.Duration(0)
	count := uint64(0)
	for {
		f, ok, err := s.conn.next()
		if err != nil {
			return err
		}
		if !ok {
			// Positions move before acks leave: a publisher may go on while
			// this end writes.
			s.received.Store(count) // before a position says that it is the last
			s.advance()
			if len(out) > 0 {
				if err := s.conn.write(out); err != nil {
					return quiet(err)
				}
				out = out[:0]
			}
			if err := s.conn.fill(); err != nil {
				return quiet(err)
			}
			now = time.Since(s.run.base)
			continue
		}
		switch f.Type {
		case wire.PUBLISH:
			m, err := s.take(f, now)
			if err != nil {
				return err
			}
			count++
			switch m.qos {
			case 1:
				out = wire.AppendAck(out, wire.PUBACK, s.conn.version, m.packetID, wire.Success)
			case 2:
				out = wire.AppendAck(out, wire.PUBREC, s.conn.version, m.packetID, wire.Success)
			}
		case wire.PUBREL:
			id, _, err := wire.DecodeAck(f, s.conn.version)
			if err != nil {
				return fmt.Errorf("%s: release: %w", s.conn.name, err)
			}
			out = wire.AppendAck(out, wire.PUBCOMP, s.conn.version, id, wire.Success)
		default:
			return s.conn.unexpected(f)
		}
	}
}

// take checks one message and records its latency.
func (s *subscriber) take(f wire.Frame, now time.Duration) (message, error) {
	m, ok := parseMessage(f, s.conn.version)
	if !ok || m.size != s.run.opts.Payload || m.qos != s.run.opts.QoS {
		return m, fmt.Errorf("%s: broker delivered a message that nobody sent (qos %d, %d bytes)", s.conn.name, m.qos, m.size)
	}
	st := s.stream(m.publisher)
	if st == nil {
		return m, fmt.Errorf("%s: broker delivered a message of publisher %d, which this filter does not match", s.conn.name, m.publisher)
	}
	st.sequence.see(uint64(m.seq))
	if !st.moved {
		st.moved = true
		s.moved = append(s.moved, st)
	}
	if m.at >= s.run.recordAt.Load() {
		s.latency.record(now - time.Duration(m.at))
	}
	return m, nil
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
		st.at.advance(st.sequence.next)
	}
	s.moved = s.moved[:0]
}
