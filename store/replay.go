package store

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// replay is the state that records lead to, with bodies as references.
type replay struct {
	sessions  map[uint64]*session
	retained  map[string]relay.Ref
	confirmed map[relay.Ref]bool // bodies of publishes at QoS 2 that have been received in full
	moved     map[relay.Ref]relay.Ref
	vacated   map[uint32]bool // segments that bodies were moved from
	drops     map[string]uint64
	last      uint64 // the greatest number of a session
	wear      Wear
}

// session is a session while its records are read.
type session struct {
	id       uint64
	terms    relay.Terms
	attached bool
	detached time.Duration
	next     uint64
	sent     uint64
	subs     map[string]relay.Subscription
	inbound  map[uint16]bool
	entries  []relay.Entry // by Seq; those that are done have no QoS
	done     int           // of entries
	chunks   []relay.Chunk
	gone     spans // settled while in a chunk
	will     *wire.Will
	willDue  time.Duration
}

func newReplay() *replay {
	return &replay{sessions: make(map[uint64]*session), retained: make(map[string]relay.Ref),
		confirmed: make(map[relay.Ref]bool), moved: make(map[relay.Ref]relay.Ref), vacated: make(map[uint32]bool), drops: make(map[string]uint64)}
}

// take applies one record. Records of sessions that are not known are of no
// account: they have ended, or their state follows.
func (r *replay) take(pos relay.Ref, typ byte, data []byte) error {
	if relay.ChangeKind(typ) == relay.Body {
		return nil // it is read when something refers to it
	}
	if typ == typeWear {
		var err error
		r.wear, err = decodeWear(data)
		return err
	}
	c, err := decodeChange(typ, data)
	if err != nil {
		return err
	}
	r.last = max(r.last, c.Session)
	switch c.Kind {
	case relay.Retained:
		if c.Ref == 0 {
			delete(r.retained, c.Topic)
		} else {
			r.retained[c.Topic] = c.Ref
		}
		return nil
	case relay.Drops:
		r.drops = c.Drops
		return nil
	case relay.Moved:
		r.moved[c.Ref] = c.To
		r.vacated[journal.Pos(c.Ref).Segment()] = true
		return nil
	case relay.Whole:
		r.sessions[c.Session] = newSession(c.State)
		return nil
	case relay.Opened:
		r.open(c)
		return nil
	case relay.Ended:
		delete(r.sessions, c.Session)
		return nil
	case relay.Received:
		r.confirmed[c.Ref] = true
	}
	if s := r.sessions[c.Session]; s != nil {
		s.step(pos, &c)
	}
	return nil
}

func (r *replay) open(c relay.Change) {
	s := r.sessions[c.Session]
	if s == nil {
		s = newSession(&relay.SessionState{ID: c.Session})
		r.sessions[c.Session] = s
	}
	s.terms = c.Terms
}

func newSession(st *relay.SessionState) *session {
	s := &session{id: st.ID, terms: st.Terms, attached: st.Attached, detached: st.Detached, next: st.NextSeq, sent: st.Sent,
		subs: make(map[string]relay.Subscription), inbound: make(map[uint16]bool),
		entries: slices.Concat(st.Front, st.Tail), chunks: st.Chunks, will: st.Will, willDue: st.WillDue}
	for _, sub := range st.Subs {
		s.subs[sub.Filter] = sub
	}
	for _, id := range st.Inbound {
		s.inbound[id] = true
	}
	return s
}

// step applies one change of the session itself.
func (s *session) step(pos relay.Ref, c *relay.Change) {
	switch c.Kind {
	case relay.Attached:
		s.attached, s.will = true, nil
	case relay.Detached:
		s.attached, s.detached = false, c.Clock
	case relay.Subscribed:
		s.subs[c.Filter.Filter] = c.Filter
	case relay.Unsubscribed:
		delete(s.subs, c.Filter.Filter)
	case relay.Enqueued:
		s.next = max(s.next, c.Entry.Seq)
		s.entries = append(s.entries, c.Entry)
	case relay.Sent:
		s.sent = max(s.sent, c.Seq)
	case relay.Renumbered:
		if e := s.find(c.Seq); e != nil {
			e.PacketID = c.PacketID
		}
	case relay.HalfAcked:
		if e := s.find(c.Seq); e != nil {
			e.HalfAcked = true
		} else if s.chunked(c.Seq) { // it was read back and sent since
			s.gone.add(c.Seq, c.Seq)
			s.insert(relay.Entry{Seq: c.Seq, QoS: 2, HalfAcked: true})
		}
	case relay.Settled:
		s.settle(c.Seq, c.Last)
	case relay.Received:
		s.inbound[c.PacketID] = true
	case relay.Released:
		delete(s.inbound, c.PacketID)
	case relay.WillWaits:
		s.will, s.willDue = c.Will, c.Clock
	case relay.WillGone:
		s.will = nil
	case relay.Spilled:
		c.Chunk.Ref = pos
		s.spill(c.Chunk, c.Entries)
	}
}

// at is where the entry of seq is, or would be.
func (s *session) at(seq uint64) int {
	return sort.Search(len(s.entries), func(i int) bool { return s.entries[i].Seq >= seq })
}

func (s *session) find(seq uint64) *relay.Entry {
	if i := s.at(seq); i < len(s.entries) && s.entries[i].Seq == seq && s.entries[i].QoS > 0 {
		return &s.entries[i]
	}
	return nil
}

func (s *session) insert(e relay.Entry) {
	s.entries = slices.Insert(s.entries, s.at(e.Seq), e)
}

// settle ends the entries from first to last.
func (s *session) settle(first, last uint64) {
	i := s.at(first)
	for ; i < len(s.entries) && s.entries[i].Seq <= last; i++ {
		if e := &s.entries[i]; e.QoS > 0 {
			*e = relay.Entry{Seq: e.Seq}
			s.done++
		}
	}
	if s.done > 64 && s.done > len(s.entries)/2 {
		s.compact()
	}
	if s.chunked(first) || s.chunked(last) {
		s.gone.add(first, last)
	}
}

func (s *session) compact() {
	s.entries = slices.DeleteFunc(s.entries, func(e relay.Entry) bool { return e.QoS == 0 })
	s.done = 0
}

// chunked reports whether seq may lie in a chunk.
func (s *session) chunked(seq uint64) bool {
	return slices.ContainsFunc(s.chunks, func(c relay.Chunk) bool { return c.First <= seq && seq <= c.Last })
}

// spill takes the entries of chunk out of memory.
func (s *session) spill(chunk relay.Chunk, list []relay.Entry) {
	for _, e := range list {
		if i := s.at(e.Seq); i < len(s.entries) && s.entries[i].Seq == e.Seq {
			if s.entries[i].QoS > 0 {
				s.done++
			}
			s.entries[i] = relay.Entry{Seq: e.Seq}
		}
	}
	s.compact()
	for i := range s.chunks {
		if s.chunks[i].First == chunk.First { // it has moved
			s.chunks[i] = chunk
			return
		}
	}
	s.chunks = append(s.chunks, chunk)
}

// state is the session, with all entries that are not in chunks at its front.
// What is Open and not confirmed does not count.
func (s *session) state(r *replay) *relay.SessionState {
	st := &relay.SessionState{ID: s.id, Terms: s.terms, Attached: s.attached, Detached: s.detached,
		NextSeq: s.next, Sent: s.sent, Will: s.will, WillDue: s.willDue}
	for _, filter := range slices.Sorted(maps.Keys(s.subs)) {
		st.Subs = append(st.Subs, s.subs[filter])
	}
	st.Inbound = slices.Sorted(maps.Keys(s.inbound))
	for _, e := range s.entries {
		e.Body = r.place(e.Body)
		if e.QoS > 0 && (!e.Open || r.confirmed[e.Body]) {
			e.Open = false
			st.Front = append(st.Front, e)
		}
	}
	st.Chunks = slices.DeleteFunc(slices.Clone(s.chunks), func(c relay.Chunk) bool { return s.gone.covers(c.First, c.Last) })
	slices.SortFunc(st.Chunks, func(a, b relay.Chunk) int { return cmp.Compare(a.First, b.First) })
	return st
}

// place is where the body is now that was at ref.
func (r *replay) place(ref relay.Ref) relay.Ref {
	for range len(r.moved) { // positions grow, so that it ends; but damage knows no rule
		to, moved := r.moved[ref]
		if !moved {
			break
		}
		ref = to
	}
	return ref
}

// states are the sessions in the order in which they were made.
func (r *replay) states() []*relay.SessionState {
	for ref := range maps.Clone(r.confirmed) {
		r.confirmed[r.place(ref)] = true
	}
	var list []*relay.SessionState
	for _, id := range slices.Sorted(maps.Keys(r.sessions)) {
		list = append(list, r.sessions[id].state(r))
	}
	return list
}
