package journal

import (
	"cmp"
	"slices"
	"sort"
)

// findLocked is the segment of that number, or nil.
func (l *Log) findLocked(number uint32) *segment {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].number >= number })
	if i < len(l.segs) && l.segs[i].number == number {
		return l.segs[i]
	}
	return nil
}

// Hold says that the record at pos, which counts as so many bytes, is needed
// beyond the next Checkpoint: its segment stays. Call it before a Checkpoint
// that does not write the record anew can return; after Open, before the first
// Checkpoint returns, for each record that is still needed. Holds add up.
func (l *Log) Hold(pos Pos, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.findLocked(pos.Segment()); s != nil {
		s.holds++
		s.held += int64(bytes)
	}
}

// Release takes back one Hold with the same arguments. The record can be read
// until what was appended before Release is stable, so append what makes the
// record superfluous first.
func (l *Log) Release(pos Pos, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.findLocked(pos.Segment())
	if s == nil || s.holds == 0 {
		return
	}
	s.holds--
	s.held = max(0, s.held-int64(bytes))
	l.progress += int64(bytes)
	if s.holds > 0 {
		return
	}
	s.freeAt = max(at(l.number, l.tailEnd), l.durable)
	switch {
	case s.number >= l.settled:
	case s.freeAt > l.durable:
		l.freeing = true
	case !l.keeping:
		l.keeping = true
		l.kick()
	}
}

// vacateLocked chooses the segments before root that the checkpoint now
// beginning is to empty: those less than half of which is held, and those of an
// older format, the emptiest first, as far as there is room to write what is
// held anew.
func (l *Log) vacateLocked(root uint32) {
	var sparse []*segment
	for _, s := range l.segs {
		s.vacate = false
		if s.number < root && s.holds > 0 && (s.held < s.size/2 || s.format != l.o.Format) {
			sparse = append(sparse, s)
		}
	}
	slices.SortFunc(sparse, func(a, b *segment) int { return cmp.Compare(a.held, b.held) })
	room := l.roomLocked() - l.saved - l.o.SegmentSize
	for _, s := range sparse {
		if room -= s.held; room < 0 {
			return
		}
		s.vacate = true
	}
}

// Vacate reports, during a Checkpoint, whether the held record at pos should
// move, so that its segment can go: Append it anew and Hold that. Release this
// once Checkpoint has returned nil, or that if it has failed; or else Append
// what tells replay where the record is now, and Release this at once: then
// replay may find what refers to a segment that is gone.
// After a failure it is also true of what was lost by that.
func (l *Log) Vacate(pos Pos) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.findLocked(pos.Segment())
	if s == nil {
		return State(l.state.Load()) == Failed // it was never begun on disk
	}
	return s.vacate || s.tainted && int64(pos.Offset()) >= s.end
}
