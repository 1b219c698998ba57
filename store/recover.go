package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
)

// reading makes relay's state of a replay: it reads the messages that are held
// in memory, each of them once however many sessions hold it.
type reading struct {
	store   *Store
	moves   func() // called once in a while
	bodies  map[relay.Ref]*relay.Message
	damaged int
}

// signOfLife is after how many messages read recovery shows that it moves.
const signOfLife = 1024

// recovered returns the state that r has led to, and how many messages of it
// could not be read. It calls moves again and again.
func (s *Store) recovered(r *replay, moves func()) (relay.Recovered, int) {
	in := reading{store: s, moves: moves, bodies: make(map[relay.Ref]*relay.Message)}
	rec := relay.Recovered{Drops: r.drops, LastSession: r.last}
	for _, topic := range slices.Sorted(maps.Keys(r.retained)) {
		if m := in.message(r.place(r.retained[topic])); m != nil {
			rec.Retained = append(rec.Retained, m)
		}
	}
	for _, st := range r.states() {
		r.unfold(st, in.there, in.chunk)
		st.Front, st.Tail = in.entries(st.Front), in.entries(st.Tail)
		rec.Sessions = append(rec.Sessions, st)
	}
	if in.damaged > 0 {
		rec.Drops[relay.DropDamaged.String()] += uint64(in.damaged)
	}
	return rec, in.damaged
}

// there reports whether what lies near the body at ref is still in the log.
func (in *reading) there(ref relay.Ref) bool { return in.store.journal.Kept(journal.Pos(ref)) }

// chunk reads the entries of a chunk, none if it cannot be read.
func (in *reading) chunk(c relay.Chunk) []relay.Entry {
	entries, err := in.store.chunk(c.Ref)
	if err != nil {
		in.lost(c.Ref, c.Entries, err)
	}
	return entries
}

// entries fills in the messages of list, and leaves out those that cannot be
// read.
func (in *reading) entries(list []relay.Entry) []relay.Entry {
	out := list[:0]
	for _, e := range list {
		if !e.HalfAcked {
			if e.Message = in.message(e.Body); e.Message == nil {
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

func (in *reading) message(ref relay.Ref) *relay.Message {
	if m, known := in.bodies[ref]; known {
		if m == nil {
			in.damaged++
		}
		return m
	}
	if len(in.bodies)%signOfLife == 0 {
		in.moves()
	}
	m, err := in.store.message(ref)
	if err != nil {
		in.lost(ref, 1, err)
	}
	in.bodies[ref] = m
	return m
}

func (in *reading) lost(ref relay.Ref, n int, err error) {
	in.damaged += n
	in.store.log.Error("stored messages cannot be read", "messages", n, "place", fmt.Sprintf("%#x", uint64(ref)), "error", err)
}
