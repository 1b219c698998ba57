package relay_test

import (
	"fmt"

	"github.com/synthetism/edgebroker/relay"
)

// refs is what a store would find after a crash, as far as it refers to bodies
// and chunks: none of these may have been released before a record says that
// it is not needed.
type refs struct {
	sessions map[uint64]*sessionRefs
	retained map[string]relay.Ref
}

type sessionRefs struct {
	entries map[uint64]relay.Ref               // bodies by Seq
	chunks  map[relay.Ref]map[uint64]relay.Ref // the same of chunks, by where they lie
}

func (r *refs) session(id uint64) *sessionRefs {
	if r.sessions == nil {
		r.sessions, r.retained = make(map[uint64]*sessionRefs), make(map[string]relay.Ref)
	}
	s := r.sessions[id]
	if s == nil {
		s = &sessionRefs{entries: make(map[uint64]relay.Ref), chunks: make(map[relay.Ref]map[uint64]relay.Ref)}
		r.sessions[id] = s
	}
	return s
}

// take follows one record, which lies at ref. chunk tells what is in an earlier
// chunk.
func (r *refs) take(ref relay.Ref, c *relay.Change, chunk func(relay.Ref) []relay.Entry) {
	s := r.session(c.Session)
	switch c.Kind {
	case relay.Ended:
		delete(r.sessions, c.Session)
	case relay.Enqueued:
		s.entries[c.Entry.Seq] = c.Entry.Body
	case relay.Settled:
		s.settle(c.Seq, c.Last)
	case relay.HalfAcked:
		s.settle(c.Seq, c.Seq)
	case relay.Retained:
		r.retained[c.Topic] = c.Ref
	case relay.Moved:
		r.move(c.Ref, c.To)
	case relay.Spilled:
		s.spill(ref, c.Entries)
	case relay.Whole:
		delete(r.sessions, c.Session)
		s = r.session(c.Session)
		for _, list := range [][]relay.Entry{c.State.Front, c.State.Tail} {
			for _, e := range list {
				if !e.HalfAcked {
					s.entries[e.Seq] = e.Body
				}
			}
		}
		for _, k := range c.State.Chunks {
			s.spill(k.Ref, chunk(k.Ref))
		}
	}
}

// spill puts entries into a chunk, instead of where they were.
func (s *sessionRefs) spill(at relay.Ref, entries []relay.Entry) {
	bodies := make(map[uint64]relay.Ref)
	for _, e := range entries {
		s.settle(e.Seq, e.Seq)
		bodies[e.Seq] = e.Body
	}
	s.chunks[at] = bodies
}

func (s *sessionRefs) settle(first, last uint64) {
	for seq := range s.entries {
		if first <= seq && seq <= last {
			delete(s.entries, seq)
		}
	}
	for at, bodies := range s.chunks {
		for seq := range bodies {
			if first <= seq && seq <= last {
				delete(bodies, seq)
			}
		}
		if len(bodies) == 0 {
			delete(s.chunks, at)
		}
	}
}

func (r *refs) move(from, to relay.Ref) {
	for _, s := range r.sessions {
		for _, bodies := range s.chunks {
			moveIn(bodies, from, to)
		}
		moveIn(s.entries, from, to)
	}
	moveIn(r.retained, from, to)
}

func moveIn[K comparable](m map[K]relay.Ref, from, to relay.Ref) {
	for k, ref := range m {
		if ref == from {
			m[k] = to
		}
	}
}

// needs names what refers to ref.
func (r *refs) needs(ref relay.Ref) string {
	for id, s := range r.sessions {
		if s.chunks[ref] != nil {
			return fmt.Sprintf("chunk of session %d", id)
		}
		for seq, body := range s.entries {
			if body == ref {
				return fmt.Sprintf("entry %d of session %d", seq, id)
			}
		}
		for _, bodies := range s.chunks {
			for seq, body := range bodies {
				if body == ref {
					return fmt.Sprintf("entry %d in a chunk of session %d", seq, id)
				}
			}
		}
	}
	for topic, body := range r.retained {
		if body == ref {
			return "retained " + topic
		}
	}
	return ""
}
