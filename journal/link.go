package journal

import "fmt"

// Torn is what was cut off the end of the log: written, and never stable.
type Torn struct {
	Bytes   int64
	Records int64 // at least
}

// link finds the last segment, its end, the root and the segments between.
func (v *survey) link() error {
	numbers := v.numbers()
	last := v.begun[numbers[len(numbers)-1]]
	root, err := v.surveyLast(last)
	if err != nil {
		return err
	}
	v.root = root
	v.chain = v.chainTo(last, root)
	if v.chain[0].number != root {
		v.faults = append(v.faults, Damage{Segment: root, Reason: fmt.Sprintf("segment %s, where replay begins, is missing", segmentName(root))})
		for i, s := range v.chain {
			if s.known && s.h.flags&flagCheckpoint != 0 {
				v.chain = v.chain[i:]
				break
			}
		}
		v.root = v.chain[0].number
	}
	v.dropUnfinished()

	in := map[uint32]bool{}
	for _, s := range v.chain {
		in[s.number] = true
		switch { // those not in use may be half recycled
		case !s.known:
			s.damage(0, headerSize, "header and its copy damaged")
		case !s.intact:
			s.damage(0, headerSize, "header damaged; its copy is used")
		}
	}
	for _, n := range numbers {
		s := v.begun[n]
		if s.known && n <= v.root {
			if p := v.begun[s.h.prev.Segment()]; p != nil && p.number < v.root {
				p.end, p.exact = int64(s.h.prev.Offset()), true
			}
		}
		if n < v.root {
			v.old = append(v.old, s)
		}
	}
	for _, s := range v.files {
		if !s.begun || s.number > v.root && !in[s.number] {
			v.rest = append(v.rest, s)
		}
		if s.known {
			v.clock = max(v.clock, s.h.clock)
		}
		if after := s.h.prev.Segment(); s.spare && after > last.number {
			v.faults = append(v.faults, Damage{Segment: after, Reason: fmt.Sprintf("segment %s, the last, is missing", segmentName(after))})
		}
	}
	for _, s := range append(v.chain, v.old...) {
		if !s.exact {
			s.end = s.size
		}
		s.end = max(s.end, headerSize)
	}
	return nil
}

// chainTo is the segments from root, or what there is of them, to last.
func (v *survey) chainTo(last *segmentFile, root uint32) []*segmentFile {
	chain := []*segmentFile{last}
	for s := last; s.number > root; {
		var before *segmentFile
		prev := s.h.prev.Segment()
		if !s.known || prev >= s.number {
			before = v.below(s.number, root)
		} else if before = v.begun[prev]; before != nil && prev >= root {
			before.end, before.exact = int64(s.h.prev.Offset()), true
		} else if before = nil; prev > root {
			v.faults = append(v.faults, Damage{Segment: prev, Reason: fmt.Sprintf("segment %s is missing", segmentName(prev))})
			before = v.below(prev, root)
		}
		if before == nil {
			break
		}
		chain = append([]*segmentFile{before}, chain...)
		s = before
	}
	return chain
}

// below is the last segment before number, and not before root.
func (v *survey) below(number, root uint32) *segmentFile {
	numbers := v.numbers()
	for i := len(numbers) - 1; i >= 0; i-- {
		if n := numbers[i]; n < number {
			if n < root {
				return nil
			}
			return v.begun[n]
		}
	}
	return nil
}

// dropUnfinished cuts the log where a checkpoint began that was to end a
// failure and did not come to its end: what lies there follows on what was lost.
func (v *survey) dropUnfinished() {
	for i, s := range v.chain {
		if i == 0 || !s.known || s.h.flags&flagRecovering == 0 || s.number <= v.root {
			continue
		}
		v.chain = v.chain[:i]
		v.torn, v.empty, v.last = Torn{}, false, 0
		return
	}
}

// surveyLast finds the end of the last segment, and the root.
func (v *survey) surveyLast(s *segmentFile) (root uint32, err error) {
	var (
		expected         mark  // of the last batch
		start            int64 // of its records
		seen, dropped    int64
		cut, beyond      int64 = headerSize, 0
		holed, anyRecord bool
	)
	if s.known {
		root = s.h.root
	}
	err = v.with(s, func(w *walker) error {
		return w.walk(s.size, false, func(f frame) error {
			m, isMark := parseMark(f.typ, f.data)
			switch {
			case isMark:
				expected, start = m, f.end()
				v.last = f.offset
				seen, dropped, holed = 0, 0, false
				cut = f.end()
				v.clock = max(v.clock, m.clock)
				root = max(root, m.root)
				if m.closed {
					return errEnough
				}
			case holed:
				dropped++
				beyond = f.end()
			default:
				seen++
				anyRecord = true
				cut = f.end()
			}
			return nil
		}, func(from, to int64) { holed = true })
	})
	if err != nil && err != errEnough {
		return 0, err
	}
	if root == 0 || root > s.number { // neither header nor mark is left
		root = 0
		for _, o := range v.begun {
			if o.known && o.h.root <= s.number {
				root = max(root, o.h.root)
			}
		}
		if root == 0 {
			root = v.numbers()[0]
		}
	}
	s.end, s.exact = cut, true
	if end := max(start+int64(expected.bytes), beyond); start > 0 && end > cut || dropped > 0 {
		v.torn = Torn{Bytes: end - cut, Records: max(int64(expected.records)-seen, dropped)}
	}
	v.empty = !anyRecord
	return root, nil
}
