package store

import (
	"cmp"
	"slices"
	"sort"

	"github.com/synthetism/edgebroker/relay"
)

// unfold puts the entries of st into the order front, chunks, tail. Chunks of
// which a part was sent or is gone, or that were in memory when what lies behind
// them came, are read into the front, and so are those before them.
func unfold(st *relay.SessionState, gone spans, read func(relay.Chunk) []relay.Entry) {
	n := unfolded(st, gone)
	front := st.Front
	for _, c := range st.Chunks[:n] {
		if gone.covers(c.First, c.Last) {
			continue
		}
		for _, e := range read(c) {
			if !gone.has(e.Seq) {
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
func unfolded(st *relay.SessionState, gone spans) (n int) {
	for i, c := range st.Chunks {
		if c.First <= st.Sent || gone.touches(c.First, c.Last) || i+1 < len(st.Chunks) && between(st.Front, c.Last, st.Chunks[i+1].First) {
			n = i + 1
		}
	}
	return n
}

// between reports whether an entry lies between two others.
func between(entries []relay.Entry, after, before uint64) bool {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > after })
	return i < len(entries) && entries[i].Seq < before
}
