package store

import (
	"slices"
	"sort"
)

// span is the numbers from first to last.
type span struct{ first, last uint64 }

// spans is a set of numbers that mostly come in order. The zero value is
// empty.
type spans []span

func (s *spans) add(first, last uint64) {
	list := *s
	i := sort.Search(len(list), func(i int) bool { return list[i].last+1 >= first })
	j := i
	for ; j < len(list) && list[j].first <= last+1; j++ {
		first, last = min(first, list[j].first), max(last, list[j].last)
	}
	*s = slices.Replace(list, i, j, span{first, last})
}

func (s spans) has(n uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].last >= n })
	return i < len(s) && s[i].first <= n
}

// touches reports whether some number from first to last is in the set.
func (s spans) touches(first, last uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].last >= first })
	return i < len(s) && s[i].first <= last
}

// covers reports whether every number from first to last is in the set.
func (s spans) covers(first, last uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].last >= last })
	return i < len(s) && s[i].first <= first
}
