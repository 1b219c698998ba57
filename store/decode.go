package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

var errRecord = errors.New("record does not hold what its type says")

// reader takes a record's data apart. After the first thing that is not there
// it yields zeros, and failed is set.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

// below is a number of at most max.
func (r *reader) below(max uint64) uint64 {
	n := r.number()
	if n > max {
		r.failed = true
		return 0
	}
	return n
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// text aliases the record.
func (r *reader) text() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) string() string { return string(r.text()) }

// owned is a copy, nil if empty.
func (r *reader) owned() []byte { return append([]byte(nil), r.text()...) }

func (r *reader) clock() time.Duration {
	return time.Duration(r.below(math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// count is how many things of at least size bytes follow.
func (r *reader) count(size int) int {
	return int(r.below(uint64(len(r.b) / size)))
}

// qos is that of flags.
func (r *reader) qos(flags byte) byte {
	if flags&3 == 3 {
		r.failed = true
		return 0
	}
	return flags & 3
}

// decodeChange reads a record other than a Body. The Change may be kept.
func decodeChange(typ byte, data []byte) (relay.Change, error) {
	r := &reader{b: data}
	c := relay.Change{Kind: relay.ChangeKind(typ)}
	switch c.Kind {
	case relay.Retained:
		c.Ref, c.Topic = relay.Ref(r.number()), r.string()
	case relay.Moved:
		c.Ref, c.To = relay.Ref(r.number()), relay.Ref(r.number())
	case relay.Drops:
		c.Drops = r.drops()
	case relay.Whole:
		c.State = r.state()
		c.Session = c.State.ID
	default:
		c.Session = r.number()
		r.step(&c)
	}
	if r.failed || len(r.b) > 0 {
		return c, fmt.Errorf("type %d, %d bytes: %w", typ, len(data), errRecord)
	}
	return c, nil
}

// step reads what follows the number of the session.
func (r *reader) step(c *relay.Change) {
	switch c.Kind {
	case relay.Attached, relay.Ended, relay.WillGone:
	case relay.Opened:
		c.Terms = r.terms()
	case relay.Detached:
		c.Clock = r.clock()
	case relay.Subscribed:
		c.Filter = r.subscription()
	case relay.Unsubscribed:
		c.Filter.Filter = r.string()
	case relay.Enqueued:
		c.Entry = r.entry()
	case relay.Sent, relay.HalfAcked:
		c.Seq = r.number()
	case relay.Renumbered:
		c.Seq, c.PacketID = r.number(), uint16(r.below(math.MaxUint16))
	case relay.Settled:
		c.Seq = r.number()
		c.Last = c.Seq + r.below(math.MaxUint64-c.Seq)
	case relay.Received:
		c.PacketID, c.Ref = uint16(r.below(math.MaxUint16)), relay.Ref(r.number())
	case relay.Released:
		c.PacketID = uint16(r.below(math.MaxUint16))
	case relay.WillWaits:
		c.Clock, c.Will = r.clock(), r.will()
	case relay.Spilled:
		c.Chunk, c.Entries = r.chunk(), r.entries()
	default:
		r.failed = true
	}
}

// decodeBody reads a Body. The message owns its bytes.
func decodeBody(data []byte, level func(topic string) relay.Level, ref relay.Ref) (*relay.Message, error) {
	r := &reader{b: data}
	flags := r.byte()
	qos := r.qos(flags)
	var expires time.Duration
	if flags&(1<<3) != 0 {
		expires = max(1, r.clock())
	}
	topic, publisher, props := r.string(), r.string(), r.owned()
	if r.failed || topic == "" || flags>>4 != 0 {
		return nil, fmt.Errorf("message of %d bytes: %w", len(data), errRecord)
	}
	payload := append([]byte{}, r.b...)
	return relay.Stored(topic, payload, props, publisher, qos, flags&(1<<2) != 0, expires, level(topic), ref), nil
}

func (r *reader) terms() relay.Terms {
	return relay.Terms{Expiry: uint32(r.below(math.MaxUint32)), ClientID: r.string(), Username: r.string(), Owner: r.string(), Subject: r.string()}
}

func (r *reader) subscription() relay.Subscription {
	flags := r.byte()
	s := relay.Subscription{QoS: r.qos(flags), NoLocal: flags&(1<<2) != 0, RetainAsPublished: flags&(1<<3) != 0, RetainHandling: flags >> 4 & 3}
	r.failed = r.failed || flags>>7 != 0
	if flags&(1<<6) != 0 {
		more := r.byte()
		r.failed = r.failed || more>>2 != 0
		s.Drain = &relay.Drain{Never: more&1 != 0, Latest: more&2 != 0, Rank: int(r.below(math.MaxInt32)), TTL: r.clock()}
	}
	s.ID, s.Filter = uint32(r.below(math.MaxUint32)), r.string()
	return s
}

func (r *reader) entry() relay.Entry {
	flags := r.byte()
	e := relay.Entry{QoS: r.qos(flags), Retain: flags&(1<<2) != 0, Open: flags&(1<<3) != 0, HalfAcked: flags&(1<<4) != 0}
	e.Latest = flags&(1<<7) != 0
	e.Seq, e.Body = r.number(), relay.Ref(r.number())
	if flags&(1<<6) != 0 {
		e.Until = max(1, r.clock())
	}
	if flags&(1<<5) == 0 {
		return e
	}
	e.PacketID = uint16(r.below(math.MaxUint16))
	for range r.count(1) {
		e.IDs = append(e.IDs, uint32(r.below(math.MaxUint32)))
	}
	e.Share = r.string()
	return e
}

func (r *reader) entries() []relay.Entry {
	n := r.count(3)
	if n == 0 {
		return nil
	}
	list := make([]relay.Entry, n)
	for i := range list {
		list[i] = r.entry()
	}
	return list
}

func (r *reader) will() *wire.Will {
	flags := r.byte()
	w := &wire.Will{QoS: r.qos(flags), Retain: flags&(1<<2) != 0, HasExpiry: flags&(1<<3) != 0}
	w.Delay, w.Expiry = uint32(r.below(math.MaxUint32)), uint32(r.below(math.MaxUint32))
	w.Topic, w.Props, w.Payload = r.string(), r.owned(), r.owned()
	return w
}

func (r *reader) drops() map[string]uint64 {
	drops := make(map[string]uint64)
	for range r.count(2) {
		word := r.string()
		drops[word] = r.number()
	}
	return drops
}

func (r *reader) state() *relay.SessionState {
	s := &relay.SessionState{ID: r.number(), Terms: r.terms()}
	flags := r.byte()
	r.failed = r.failed || flags>>2 != 0
	s.Attached, s.Detached = flags&1 != 0, r.clock()
	s.NextSeq, s.Sent = r.number(), r.number()
	if flags&2 != 0 {
		s.WillDue, s.Will = r.clock(), r.will()
	}
	for range r.count(3) {
		s.Subs = append(s.Subs, r.subscription())
	}
	for range r.count(1) {
		s.Inbound = append(s.Inbound, uint16(r.below(math.MaxUint16)))
	}
	s.Front = r.entries()
	for range r.count(7) {
		s.Chunks = append(s.Chunks, r.chunk())
	}
	s.Tail = r.entries()
	return s
}

func (r *reader) chunk() relay.Chunk {
	c := relay.Chunk{Ref: relay.Ref(r.number()), First: r.number(), Last: r.number(),
		Entries: int(r.below(math.MaxInt32)), Bytes: int64(r.below(math.MaxInt64))}
	flags := r.below(7)
	c.Shared, c.Latest = flags&1 != 0, flags&4 != 0
	if flags&2 != 0 {
		c.Until = max(1, r.clock())
	}
	for range r.count(2) {
		c.Holds = append(c.Holds, relay.Hold{Ref: relay.Ref(r.number()), Bytes: int(r.below(math.MaxInt32))})
	}
	return c
}
