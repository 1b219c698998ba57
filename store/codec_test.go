package store

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func syncLevel(string) relay.Level { return relay.Sync }

func texts() *rapid.Generator[string] { return rapid.StringN(0, 5, 12) }

func refs() *rapid.Generator[relay.Ref] {
	return rapid.Custom(func(t *rapid.T) relay.Ref { return relay.Ref(rapid.Uint64().Draw(t, "ref")) })
}

func clocks() *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "ms")) * time.Millisecond
	})
}

func some[T any](t *rapid.T, g *rapid.Generator[T], name string) []T {
	list := rapid.SliceOfN(g, 0, 3).Draw(t, name)
	if len(list) == 0 {
		return nil
	}
	return list
}

func octets(t *rapid.T, name string) []byte { return some(t, rapid.Byte(), name) }

func entries() *rapid.Generator[relay.Entry] {
	return rapid.Custom(func(t *rapid.T) relay.Entry {
		return relay.Entry{Seq: rapid.Uint64().Draw(t, "seq"), PacketID: rapid.Uint16().Draw(t, "id"), Body: refs().Draw(t, "body"),
			QoS: rapid.ByteRange(0, 2).Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Open: rapid.Bool().Draw(t, "open"),
			HalfAcked: rapid.Bool().Draw(t, "half"), IDs: some(t, rapid.Uint32(), "ids"), Share: texts().Draw(t, "share"), Until: clocks().Draw(t, "until"), Latest: rapid.Bool().Draw(t, "latest")}
	})
}

func chunks() *rapid.Generator[relay.Chunk] {
	return rapid.Custom(func(t *rapid.T) relay.Chunk {
		c := relay.Chunk{Ref: refs().Draw(t, "ref"), First: rapid.Uint64().Draw(t, "first"), Last: rapid.Uint64().Draw(t, "last"),
			Entries: rapid.IntRange(0, 1<<20).Draw(t, "entries"), Bytes: rapid.Int64Range(0, 1<<40).Draw(t, "bytes"), Shared: rapid.Bool().Draw(t, "shared"), Until: clocks().Draw(t, "until"), Latest: rapid.Bool().Draw(t, "latest")}
		for range rapid.IntRange(0, 3).Draw(t, "holds") {
			c.Holds = append(c.Holds, relay.Hold{Ref: refs().Draw(t, "hold"), Bytes: rapid.IntRange(0, 1<<20).Draw(t, "bytes")})
		}
		return c
	})
}

func subscriptions() *rapid.Generator[relay.Subscription] {
	return rapid.Custom(func(t *rapid.T) relay.Subscription {
		s := relay.Subscription{Filter: texts().Draw(t, "filter"), QoS: rapid.ByteRange(0, 2).Draw(t, "qos"), NoLocal: rapid.Bool().Draw(t, "no local"),
			RetainAsPublished: rapid.Bool().Draw(t, "as published"), RetainHandling: rapid.ByteRange(0, 2).Draw(t, "handling"), ID: rapid.Uint32().Draw(t, "id")}
		if rapid.Bool().Draw(t, "has drain") {
			s.Drain = &relay.Drain{Rank: rapid.IntRange(0, 9).Draw(t, "rank"), TTL: clocks().Draw(t, "ttl"), Never: rapid.Bool().Draw(t, "never"), Latest: rapid.Bool().Draw(t, "latest")}
		}
		return s
	})
}

func wills() *rapid.Generator[*wire.Will] {
	return rapid.Custom(func(t *rapid.T) *wire.Will {
		return &wire.Will{QoS: rapid.ByteRange(0, 2).Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Topic: texts().Draw(t, "topic"),
			Payload: octets(t, "payload"), Props: octets(t, "props"), Delay: rapid.Uint32().Draw(t, "delay"),
			HasExpiry: rapid.Bool().Draw(t, "has expiry"), Expiry: rapid.Uint32().Draw(t, "expiry")}
	})
}

func terms() *rapid.Generator[relay.Terms] {
	return rapid.Custom(func(t *rapid.T) relay.Terms {
		return relay.Terms{ClientID: texts().Draw(t, "client"), Username: texts().Draw(t, "user"), Owner: texts().Draw(t, "owner"), Subject: texts().Draw(t, "subject"),
			Expiry: rapid.Uint32().Draw(t, "expiry")}
	})
}

func states() *rapid.Generator[*relay.SessionState] {
	return rapid.Custom(func(t *rapid.T) *relay.SessionState {
		s := &relay.SessionState{ID: rapid.Uint64().Draw(t, "session"), Terms: terms().Draw(t, "terms"), Attached: rapid.Bool().Draw(t, "attached"),
			Detached: clocks().Draw(t, "detached"), NextSeq: rapid.Uint64().Draw(t, "next"), Sent: rapid.Uint64().Draw(t, "sent"),
			Subs: some(t, subscriptions(), "subs"), Inbound: some(t, rapid.Uint16(), "inbound"),
			Front: some(t, entries(), "front"), Chunks: some(t, chunks(), "chunks"), Tail: some(t, entries(), "tail")}
		if rapid.Bool().Draw(t, "has will") {
			s.Will, s.WillDue = wills().Draw(t, "will"), clocks().Draw(t, "due")
		}
		return s
	})
}

// changes draws one Change of each kind but Body, with the fields that count
// for it.
func changes() *rapid.Generator[relay.Change] {
	return rapid.Custom(func(t *rapid.T) relay.Change {
		c := relay.Change{Kind: relay.ChangeKind(rapid.ByteRange(byte(relay.Body)+1, byte(relay.Moved)).Draw(t, "kind"))}
		switch c.Kind {
		case relay.Retained:
			c.Ref, c.Topic = refs().Draw(t, "ref"), texts().Draw(t, "topic")
			return c
		case relay.Moved:
			c.Ref, c.To = refs().Draw(t, "from"), refs().Draw(t, "to")
			return c
		case relay.Drops:
			c.Drops = rapid.MapOfN(texts(), rapid.Uint64(), 0, 3).Draw(t, "drops")
			return c
		case relay.Whole:
			c.State = states().Draw(t, "state")
			c.Session = c.State.ID
			return c
		}
		c.Session = rapid.Uint64().Draw(t, "session")
		switch c.Kind {
		case relay.Opened:
			c.Terms = terms().Draw(t, "terms")
		case relay.Detached:
			c.Clock = clocks().Draw(t, "clock")
		case relay.Subscribed:
			c.Filter = subscriptions().Draw(t, "subscription")
		case relay.Unsubscribed:
			c.Filter.Filter = texts().Draw(t, "filter")
		case relay.Enqueued:
			c.Entry = entries().Draw(t, "entry")
		case relay.Sent, relay.HalfAcked:
			c.Seq = rapid.Uint64().Draw(t, "seq")
		case relay.Renumbered:
			c.Seq, c.PacketID = rapid.Uint64().Draw(t, "seq"), rapid.Uint16().Draw(t, "id")
		case relay.Settled:
			c.Seq = rapid.Uint64().Draw(t, "seq")
			c.Last = rapid.Uint64Range(c.Seq, 1<<64-1).Draw(t, "last")
		case relay.Received:
			c.PacketID, c.Ref = rapid.Uint16().Draw(t, "id"), refs().Draw(t, "ref")
		case relay.Released:
			c.PacketID = rapid.Uint16().Draw(t, "id")
		case relay.WillWaits:
			c.Clock, c.Will = clocks().Draw(t, "clock"), wills().Draw(t, "will")
		case relay.Spilled:
			c.Chunk, c.Entries = chunks().Draw(t, "chunk"), some(t, entries(), "entries")
		}
		return c
	})
}

func TestChangesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := changes().Draw(t, "change")
		data := appendChange(nil, &c)
		got, err := decodeChange(byte(c.Kind), data)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%x is read as %+v, %v\nwant %+v", data, got, err, c)
		}
		for i := range data { // a record that was cut is not taken for another
			if cut, err := decodeChange(byte(c.Kind), data[:i]); err == nil && bytes.Equal(appendChange(nil, &cut), data) {
				t.Fatalf("%x is enough for %x", data[:i], data)
			}
		}
	})
}

func TestBodiesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic, publisher := rapid.StringN(1, 5, 12).Draw(t, "topic"), texts().Draw(t, "publisher")
		payload, props := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "payload"), octets(t, "props")
		expires := clocks().Draw(t, "expires")
		m := relay.Stored(topic, payload, props, publisher, rapid.ByteRange(0, 2).Draw(t, "qos"), rapid.Bool().Draw(t, "retain"), expires, relay.Sync, 7)
		c := relay.Change{Kind: relay.Body, Message: m}
		got, err := decodeBody(appendChange(nil, &c), syncLevel, 7)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, m)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for i := range 200 {
		c := changes().Example(i)
		f.Add(byte(c.Kind), appendChange(nil, &c))
	}
	f.Fuzz(func(t *testing.T, typ byte, data []byte) {
		if relay.ChangeKind(typ) == relay.Body {
			if m, err := decodeBody(data, syncLevel, 1); err == nil && (m.Topic == "" || m.QoS > 2) {
				t.Fatalf("took %x for %+v", data, m)
			}
			return
		}
		c, err := decodeChange(typ, data)
		if err != nil {
			return
		}
		again, err := decodeChange(typ, appendChange(nil, &c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%x is %+v, which comes back as %+v, %v", data, c, again, err)
		}
	})
}
