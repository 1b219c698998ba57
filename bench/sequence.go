package bench

import "slices"

// sequence follows the numbers 0, 1, 2, ... of one publisher as they arrive at
// one subscriber and sorts every irregularity into exactly one kind. A number
// that was skipped counts as lost until it arrives late, which makes it
// reordered instead. MQTT promises order within a topic: with several, a late
// number is reordered only if a later one of its topic has arrived. One
// goroutine owns it.
type sequence struct {
	next       uint64 // the number expected next; all below arrived or are in missing
	missing    []span // ascending, disjoint, all below next
	reordered  uint64
	duplicates uint64
	topics     []uint64 // the number after the latest of each topic, nil if there is one topic
}

// span is the half-open range [from, to).
type span struct{ from, to uint64 }

// see takes the next arrival.
func (s *sequence) see(n uint64) {
	if n != s.next {
		s.irregular(n)
	} else {
		s.next++
	}
	if s.topics != nil {
		t := n % uint64(len(s.topics))
		s.topics[t] = max(s.topics[t], n+1)
	}
}

func (s *sequence) irregular(n uint64) {
	if n > s.next {
		s.missing = append(s.missing, span{s.next, n})
		s.next = n + 1
		return
	}
	i, _ := slices.BinarySearchFunc(s.missing, n, func(m span, n uint64) int {
		if m.to <= n {
			return -1
		}
		return 1
	})
	if i == len(s.missing) || n < s.missing[i].from {
		s.duplicates++
		return
	}
	if s.topics == nil || s.topics[n%uint64(len(s.topics))] > n {
		s.reordered++
	}
	m := s.missing[i]
	var rest []span
	if m.from < n {
		rest = append(rest, span{m.from, n})
	}
	if n+1 < m.to {
		rest = append(rest, span{n + 1, m.to})
	}
	s.missing = slices.Replace(s.missing, i, i+1, rest...)
}

// lost is how many of the first sent numbers have not arrived.
func (s *sequence) lost(sent uint64) uint64 {
	var n uint64
	for _, m := range s.missing {
		n += m.to - m.from
	}
	if sent > s.next {
		n += sent - s.next
	}
	return n
}
