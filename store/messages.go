package store

import (
	"maps"
	"slices"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
)

// Held is one message of a store: a retained one, or an entry of the queue of a
// session.
type Held struct {
	Session *Session // nil: it is retained
	Entry   relay.Entry
	Topic   string         // of a retained message; else it is in Message
	Message *relay.Message // nil if it cannot be read, or if there is none any more: Entry.HalfAcked
	Size    int            // of the payload
	// Missing is how many messages this one stands for that cannot be read.
	Missing int
}

// Bounds of what Messages reads at one time. Each time takes a pass over the
// store.
const (
	readEntries = 200_000
	readBytes   = 64 << 20
)

// Messages calls visit for the retained messages by topic, then for those of
// each session that want accepts (nil: all), in the order in which they will be
// sent. Without payloads, Message has none, which spares memory. Only a bounded
// number of messages is in memory at one time.
func (c *Contents) Messages(payloads bool, want func(*Session) bool, visit func(Held) error) error {
	p := &passes{disk: c.disk, payloads: payloads, visit: visit}
	for _, topic := range slices.Sorted(maps.Keys(c.Retained)) {
		if err := p.add(Held{Topic: topic, Entry: relay.Entry{Body: c.Retained[topic]}}); err != nil {
			return err
		}
	}
	for _, st := range c.Sessions {
		if want != nil && !want(st) {
			continue
		}
		for _, e := range st.Front {
			if err := p.add(Held{Session: st, Entry: e}); err != nil {
				return err
			}
		}
		for i := range st.Chunks {
			if err := p.addChunk(st, &st.Chunks[i]); err != nil {
				return err
			}
		}
		for _, e := range st.Tail {
			if err := p.add(Held{Session: st, Entry: e}); err != nil {
				return err
			}
		}
	}
	return p.flush()
}

// passes gathers what is to be read in one pass over the store.
type passes struct {
	disk     journal.Disk
	payloads bool
	visit    func(Held) error

	pieces  []piece
	entries int
	bytes   int64
}

// piece is one message, or a chunk of them.
type piece struct {
	held  Held
	chunk *relay.Chunk
}

func (p *passes) add(h Held) error {
	p.pieces = append(p.pieces, piece{held: h})
	p.entries++
	return p.full()
}

func (p *passes) addChunk(st *Session, c *relay.Chunk) error {
	p.pieces = append(p.pieces, piece{Held{Session: st}, c})
	p.entries += c.Entries
	p.bytes += c.Bytes
	return p.full()
}

func (p *passes) full() error {
	if p.entries < readEntries && (!p.payloads || p.bytes < readBytes) {
		return nil
	}
	return p.flush()
}

// flush reads what was gathered and hands it on.
func (p *passes) flush() error {
	var refs []relay.Ref
	for _, piece := range p.pieces {
		if piece.chunk != nil {
			refs = append(refs, piece.chunk.Ref)
		}
	}
	entries, err := readChunks(p.disk, refs)
	if err != nil {
		return err
	}
	list := make([]Held, 0, p.entries)
	refs = refs[:0]
	for _, piece := range p.pieces {
		if piece.chunk == nil {
			list = append(list, piece.held)
			continue
		}
		known := entries[piece.chunk.Ref]
		for _, e := range known {
			list = append(list, Held{Session: piece.held.Session, Entry: e})
		}
		if lost := piece.chunk.Entries - len(known); lost > 0 {
			list = append(list, Held{Session: piece.held.Session, Entry: relay.Entry{Seq: piece.chunk.First}, Missing: lost})
		}
	}
	for _, h := range list {
		if h.Entry.Body != 0 && !h.Entry.HalfAcked {
			refs = append(refs, h.Entry.Body)
		}
	}
	bodies, sizes, err := p.read(refs)
	if err != nil {
		return err
	}
	p.pieces, p.entries, p.bytes = nil, 0, 0
	for _, h := range list {
		if h.Missing == 0 && !h.Entry.HalfAcked {
			if h.Message, h.Size = bodies[h.Entry.Body], sizes[h.Entry.Body]; h.Message == nil {
				h.Missing = 1
			}
		}
		if err := p.visit(h); err != nil {
			return err
		}
	}
	return nil
}

// read reads bodies, and how long their payloads are.
func (p *passes) read(refs []relay.Ref) (map[relay.Ref]*relay.Message, map[relay.Ref]int, error) {
	bodies, sizes := make(map[relay.Ref]*relay.Message, len(refs)), make(map[relay.Ref]int, len(refs))
	anyLevel := func(string) relay.Level { return relay.Sync }
	err := find(p.disk, refs, func(ref relay.Ref, typ byte, data []byte) {
		if typ != byte(relay.Body) {
			return
		}
		m, err := decodeBody(data, anyLevel, ref)
		if err != nil {
			return
		}
		sizes[ref] = len(m.Payload)
		if !p.payloads {
			m.Payload = nil
		}
		bodies[ref] = m
	})
	return bodies, sizes, err
}
