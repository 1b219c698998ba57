package relay

import "slices"

// Bounds on what is remembered of topics.
const (
	topicDepths = 5   // whole topics, and branches of one to four levels
	maxRanked   = 512 // topics in a ranking
)

// ranking finds those that have the most messages, and those that have the most
// bytes, among any number of names, in bounded memory.
type ranking struct{ messages, bytes sketch }

func newRanking(size int) ranking { return ranking{newSketch(size), newSketch(size)} }

func (r *ranking) add(name string, messages, bytes uint64) {
	r.messages.add(name, messages, bytes)
	r.bytes.add(name, bytes, messages)
}

// sketch counts the heaviest names by the method of space saving: a name that
// is new when there is no room takes the place, and the count, of the one that
// has the least. So counts are never too low, and too high by no more than
// error, which is at most the sum of all divided by the size. Any name whose
// count is above that is there.
type sketch struct {
	size   int
	byName map[string]*ranked
	heap   []*ranked // the least on top
}

type ranked struct {
	name  string
	count uint64 // at most error too high
	error uint64
	other uint64 // what was counted beside since the name is there: at least so much
	at    int    // in heap
}

func newSketch(size int) sketch {
	return sketch{size: size, byName: make(map[string]*ranked)}
}

func (s *sketch) add(name string, n, other uint64) {
	e := s.byName[name]
	switch {
	case e != nil:
	case len(s.heap) < s.size:
		e = &ranked{name: name, at: len(s.heap)}
		s.heap = append(s.heap, e)
		s.byName[name] = e
		s.up(e.at)
	default:
		e = s.heap[0]
		delete(s.byName, e.name)
		e.name, e.error, e.other = name, e.count, 0
		s.byName[name] = e
	}
	e.count += n
	e.other += other
	s.down(e.at)
}

func (s *sketch) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.heap[i].at, s.heap[j].at = i, j
}

func (s *sketch) up(i int) {
	for i > 0 && s.heap[(i-1)/2].count > s.heap[i].count {
		s.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (s *sketch) down(i int) {
	for {
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < len(s.heap) && s.heap[c].count < s.heap[least].count {
				least = c
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

// top is the n heaviest, the heaviest first.
func (s *sketch) top(n int) []ranked {
	list := make([]ranked, 0, len(s.heap))
	for _, e := range s.heap {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b ranked) int {
		switch {
		case a.count > b.count:
			return -1
		case a.count < b.count:
			return 1
		case a.name < b.name:
			return -1
		}
		return 1
	})
	return list[:min(n, len(list))]
}
