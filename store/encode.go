package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// The records of this Format. Numbers are as in encoding/binary's Uvarint, texts
// are preceded by their length, durations are in milliseconds, rounded up. The
// type of a record is its relay.ChangeKind.

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendClock(b []byte, d time.Duration) []byte {
	return binary.AppendUvarint(b, uint64((max(0, d)+time.Millisecond-1)/time.Millisecond))
}

// bit is 1<<n if set.
func bit(set bool, n int) byte {
	if set {
		return 1 << n
	}
	return 0
}

// appendChange appends the data of c's record.
func appendChange(b []byte, c *relay.Change) []byte {
	switch c.Kind {
	case relay.Body:
		return appendBody(b, c.Message)
	case relay.Retained:
		return appendText(binary.AppendUvarint(b, uint64(c.Ref)), c.Topic)
	case relay.Moved:
		return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Ref)), uint64(c.To))
	case relay.Drops:
		return appendDrops(b, c.Drops)
	case relay.Whole:
		return appendState(b, c.State)
	}
	b = binary.AppendUvarint(b, c.Session)
	switch c.Kind {
	case relay.Opened:
		return appendTerms(b, &c.Terms)
	case relay.Detached:
		return appendClock(b, c.Clock)
	case relay.Subscribed:
		return appendSubscription(b, &c.Filter)
	case relay.Unsubscribed:
		return appendText(b, c.Filter.Filter)
	case relay.Enqueued:
		return appendEntry(b, &c.Entry)
	case relay.Sent, relay.HalfAcked:
		return binary.AppendUvarint(b, c.Seq)
	case relay.Renumbered:
		return binary.AppendUvarint(binary.AppendUvarint(b, c.Seq), uint64(c.PacketID))
	case relay.Settled:
		return binary.AppendUvarint(binary.AppendUvarint(b, c.Seq), c.Last-c.Seq)
	case relay.Received:
		return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.PacketID)), uint64(c.Ref))
	case relay.Released:
		return binary.AppendUvarint(b, uint64(c.PacketID))
	case relay.WillWaits:
		return appendWill(appendClock(b, c.Clock), c.Will)
	case relay.Spilled:
		return appendEntries(appendChunk(b, &c.Chunk), c.Entries)
	}
	return b // Attached, Ended, WillGone: the session is all there is to say
}

func appendBody(b []byte, m *relay.Message) []byte {
	b = append(b, m.QoS|bit(m.Retain, 2)|bit(m.Expires() > 0, 3))
	if m.Expires() > 0 {
		b = appendClock(b, m.Expires())
	}
	b = appendText(b, m.Topic)
	b = appendText(b, m.Publisher)
	b = appendText(b, m.Props)
	return append(b, m.Payload...)
}

func appendTerms(b []byte, t *relay.Terms) []byte {
	b = binary.AppendUvarint(b, uint64(t.Expiry))
	for _, text := range []string{t.ClientID, t.Username, t.Owner, t.Subject} {
		b = appendText(b, text)
	}
	return b
}

func appendSubscription(b []byte, s *relay.Subscription) []byte {
	drained := s.Drain != nil
	b = append(b, s.QoS|bit(s.NoLocal, 2)|bit(s.RetainAsPublished, 3)|s.RetainHandling<<4|bit(drained, 6))
	if drained {
		b = append(b, bit(s.Drain.Never, 0)|bit(s.Drain.Latest, 1))
		b = binary.AppendUvarint(b, uint64(s.Drain.Rank))
		b = appendClock(b, s.Drain.TTL)
	}
	b = binary.AppendUvarint(b, uint64(s.ID))
	return appendText(b, s.Filter)
}

func appendEntry(b []byte, e *relay.Entry) []byte {
	more := e.PacketID != 0 || len(e.IDs) > 0 || e.Share != ""
	b = append(b, e.QoS|bit(e.Retain, 2)|bit(e.Open, 3)|bit(e.HalfAcked, 4)|bit(more, 5)|bit(e.Until > 0, 6)|bit(e.Latest, 7))
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendUvarint(b, uint64(e.Body))
	if e.Until > 0 {
		b = appendClock(b, e.Until)
	}
	if !more {
		return b
	}
	b = binary.AppendUvarint(b, uint64(e.PacketID))
	b = binary.AppendUvarint(b, uint64(len(e.IDs)))
	for _, id := range e.IDs {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return appendText(b, e.Share)
}

func appendEntries(b []byte, entries []relay.Entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for i := range entries {
		b = appendEntry(b, &entries[i])
	}
	return b
}

func appendWill(b []byte, w *wire.Will) []byte {
	b = append(b, w.QoS|bit(w.Retain, 2)|bit(w.HasExpiry, 3))
	b = binary.AppendUvarint(b, uint64(w.Delay))
	b = binary.AppendUvarint(b, uint64(w.Expiry))
	b = appendText(b, w.Topic)
	b = appendText(b, w.Props)
	return appendText(b, w.Payload)
}

func appendDrops(b []byte, drops map[string]uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(drops)))
	for _, word := range slices.Sorted(maps.Keys(drops)) {
		b = binary.AppendUvarint(appendText(b, word), drops[word])
	}
	return b
}

func appendState(b []byte, s *relay.SessionState) []byte {
	b = binary.AppendUvarint(b, s.ID)
	b = appendTerms(b, &s.Terms)
	b = append(b, bit(s.Attached, 0)|bit(s.Will != nil, 1))
	b = appendClock(b, s.Detached)
	b = binary.AppendUvarint(b, s.NextSeq)
	b = binary.AppendUvarint(b, s.Sent)
	if s.Will != nil {
		b = appendWill(appendClock(b, s.WillDue), s.Will)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Subs)))
	for i := range s.Subs {
		b = appendSubscription(b, &s.Subs[i])
	}
	b = binary.AppendUvarint(b, uint64(len(s.Inbound)))
	for _, id := range s.Inbound {
		b = binary.AppendUvarint(b, uint64(id))
	}
	b = appendEntries(b, s.Front)
	b = binary.AppendUvarint(b, uint64(len(s.Chunks)))
	for i := range s.Chunks {
		b = appendChunk(b, &s.Chunks[i])
	}
	return appendEntries(b, s.Tail)
}

func appendChunk(b []byte, c *relay.Chunk) []byte {
	for _, n := range []uint64{uint64(c.Ref), c.First, c.Last, uint64(c.Entries), uint64(c.Bytes), uint64(bit(c.Shared, 0) | bit(c.Until > 0, 1) | bit(c.Latest, 2))} {
		b = binary.AppendUvarint(b, n)
	}
	if c.Until > 0 {
		b = appendClock(b, c.Until)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Holds)))
	for _, h := range c.Holds {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(h.Ref)), uint64(h.Bytes))
	}
	return b
}
