package store

import (
	"cmp"
	"slices"
	"sort"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
)

// unfold puts the entries of st into the order front, chunks, tail. Chunks of
// which a part was sent or is gone, or that were in memory when what lies behind
// them came or when their bodies were moved, are read into the front, and so are
// those before them. there reports whether what lies near a body is still in the
// log.
func (r *replay) unfold(st *relay.SessionState, there func(relay.Ref) bool, read func(relay.Chunk) []relay.Entry) {
	n, gone := r.unfolded(st, there), r.sessions[st.ID].gone
	front := st.Front
	for _, c := range st.Chunks[:n] {
		if gone.covers(c.First, c.Last) {
			continue
		}
		for _, e := range read(c) {
			if !gone.has(e.Seq) {
				e.Body = r.place(e.Body)
				front = append(front, e)
			}
		}
	}
	slices.SortFunc(front, func(a, b relay.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	st.Front, st.Chunks = front, st.Chunks[n:]
	if len(st.Chunks) > 0 {
		i := sort.Search(len(front), func(i int) bool { return front[i].Seq > st.Chunks[0].First })
		st.Front, st.Tail = front[:i:i], front[i:]
	}
}

// unfolded is how many of the chunks of st, whose entries are all at its front,
// must be read.
func (r *replay) unfolded(st *relay.SessionState, there func(relay.Ref) bool) (n int) {
	gone := r.sessions[st.ID].gone
	for i, c := range st.Chunks {
		if c.First <= st.Sent || gone.touches(c.First, c.Last) || i+1 < len(st.Chunks) && between(st.Front, c.Last, st.Chunks[i+1].First) || r.left(c, there) {
			n = i + 1
		}
	}
	return n
}

// left reports whether bodies of c were moved and are not where it says any
// more. What is on disk only has a claim on that place, so it was in memory.
func (r *replay) left(c relay.Chunk, there func(relay.Ref) bool) bool {
	return slices.ContainsFunc(c.Holds, func(h relay.Hold) bool {
		return r.vacated[journal.Pos(h.Ref).Segment()] && !there(h.Ref)
	})
}

// between reports whether an entry lies between two others.
func between(entries []relay.Entry, after, before uint64) bool {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > after })
	return i < len(entries) && entries[i].Seq < before
}
