package journal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"syscall"
	"time"
)

const (
	minSpares  = 3 // when one cannot be replaced, two are left
	fewSpares  = 2 // the same, with a budget of less than eight segments
	maxSpares  = 8
	maxPool    = 16          // so many recycled ones are kept
	retryFull  = time.Second // how often a full log looks for space
	openedKept = 8           // segments kept open for readers
)

// spare is a preallocated segment that holds nothing. Its name and header are
// durable.
type spare struct {
	name   string
	number uint32
	file   File
}

// housekeeping is what the committer needs to know about the files of the log.
// Log.mu guards it, but only the committer changes spares and trash.
type housekeeping struct {
	spares []*spare   // ascending by number
	trash  []string   // files to be removed
	voids  []*segment // files found at Open that are no part of the log
	unused *segment   // one more, once another segment has been begun
	floor  uint32     // no file found at Open has a higher number in its name, spares excepted
	other  int64      // bytes of files that are no segments in use: .bad and such
	opened []*segment

	keeping  bool      // there may be something to do
	freeing  bool      // there will be, once more is stable
	writes   int       // since the last turn of housekeeping
	keepAt   time.Time // when a full log looks again
	reopenAt time.Time // when a failed log tries again
	backoff  time.Duration

	saved     int64 // bytes of the last checkpoint, and what was appended meanwhile
	sinceRoot int64 // bytes in the segments from the root on
	progress  int64 // bytes appended and released since the last checkpoint
	saver     bool  // there was a Checkpoint since Open, so holds are complete
	dueSent   bool
}

// headerLocked is the header of s.
func (l *Log) headerLocked(s *segment) header {
	return header{
		kind: kindBegun, flags: s.flags, format: s.format, epoch: l.epoch,
		number: s.number, root: l.root, prev: s.prev, size: s.size, clock: l.Clock(), saved: l.saved,
	}
}

// usedLocked is the bytes of all files.
func (l *Log) usedLocked() int64 {
	n := l.other + int64(len(l.spares)+len(l.trash))*l.o.SegmentSize
	for _, s := range l.voids {
		n += s.size
	}
	if l.unused != nil {
		n += l.unused.size
	}
	for _, s := range l.segs {
		if s.name != "" {
			n += s.size
		}
	}
	return n
}

// budgetLocked is how many bytes the files may grow by. A log that has failed
// may exceed its budget by the checkpoint that ends the failure, since nothing
// can be freed before.
func (l *Log) budgetLocked() int64 {
	if l.o.MaxBytes == 0 {
		return math.MaxInt64 / 2
	}
	left := l.o.MaxBytes - l.usedLocked()
	if State(l.state.Load()) == Failed {
		left += 2*l.saved + 4*l.o.SegmentSize
	}
	return left
}

// wantLocked is how many spares there should be: enough for a checkpoint.
func (l *Log) wantLocked() int {
	least, most := int64(minSpares), int64(maxSpares)
	if l.o.MaxBytes > 0 {
		budget := l.o.MaxBytes / l.o.SegmentSize
		if most = min(most, budget/4); budget < 8 {
			least = fewSpares
		}
	}
	return int(max(least, min(most, 2+(l.saved+l.o.SegmentSize-1)/l.o.SegmentSize)))
}

// poolLocked is how many spares are kept, if there are segments to recycle: as
// many as the log takes from one checkpoint to the next.
func (l *Log) poolLocked() int {
	return min(maxPool, l.wantLocked()+4+int(min(maxPool, 3*l.saved/l.o.SegmentSize)))
}

// shortLocked reports whether too little room is left for the next checkpoint.
func (l *Log) shortLocked() bool {
	if len(l.spares) < l.wantLocked() {
		return true
	}
	if l.o.MaxBytes == 0 {
		return false
	}
	return l.roomLocked() < l.checkpointLocked()
}

// checkpointLocked is the room that the next checkpoint may take.
func (l *Log) checkpointLocked() int64 { return min(l.saved+l.o.SegmentSize, l.o.MaxBytes/2) }

// reserveLocked is the part of a budget that is put aside for a checkpoint.
func (l *Log) reserveLocked() int64 {
	return max(int64(l.wantLocked())*l.o.SegmentSize, l.checkpointLocked())
}

func (l *Log) roomLocked() int64 {
	return l.budgetLocked() + int64(len(l.spares))*l.o.SegmentSize
}

// begin puts s on disk: takes a spare, and writes its header.
func (l *Log) begin(s *segment) error {
	name := segmentName(s.number)
	sp, err := l.takeSpare(name, s.size)
	if err != nil {
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	l.mu.Lock()
	l.trash = slices.DeleteFunc(l.trash, func(t string) bool { return t == name })
	l.mu.Unlock()
	err = func() error {
		if sp.name != name {
			if err := l.disk.Rename(sp.name, name); err != nil {
				return err
			}
			sp.name = name
			if err := l.disk.Sync(); err != nil {
				return err
			}
		}
		if s.size > l.o.SegmentSize {
			if err := sp.file.Resize(s.size); err != nil {
				return noSpace(err)
			}
		}
		l.mu.Lock()
		h := l.headerLocked(s)
		l.mu.Unlock()
		n, err := sp.file.WriteAt(h.block(), 0)
		l.counters.written.Add(uint64(max(n, 0)))
		if err != nil {
			return err
		}
		return l.sync(sp.file)
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.trash = append(l.trash, sp.name)
		return errors.Join(fmt.Errorf("begin segment %s: %w", name, err), sp.file.Close())
	}
	if old := l.findLocked(l.head); old != nil && old.file != nil {
		l.openedLocked(old)
	}
	s.name, s.file, s.end = name, sp.file, headerSize
	l.head = s.number
	l.durable = at(s.number, headerSize)
	l.writes = keepEvery // what it has taken is to be replaced
	if l.unused != nil {
		l.voids = append(l.voids, l.unused)
		l.unused = nil
	}
	l.keeping = true
	return nil
}

// takeSpare takes the spare of that name, or another, or makes one.
func (l *Log) takeSpare(name string, size int64) (*spare, error) {
	for tries := 0; len(l.spares) == 0; tries++ {
		if more, err := l.keepStep(); tries > 1000 || !more && len(l.spares) == 0 {
			return nil, errors.Join(ErrFull, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if more := size - l.o.SegmentSize; more > 0 && more > l.budgetLocked() {
		return nil, fmt.Errorf("a record needs %d bytes: %w", size, ErrFull)
	}
	i := slices.IndexFunc(l.spares, func(sp *spare) bool { return sp.name == name })
	i = max(i, 0)
	sp := l.spares[i]
	l.spares = slices.Delete(l.spares, i, i+1)
	return sp, nil
}

// noSpace marks err as ErrFull if it is for want of space.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// keep does a thing or two for the files of the log, and then looks whether
// there is room enough. Two, so that it gains on a log that never pauses.
func (l *Log) keep() {
	more, err := l.keepStep()
	if more {
		more, err = l.keepStep()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = 0
	l.keeping = more
	l.keepAt = time.Time{}
	if more || State(l.state.Load()) == Failed {
		return
	}
	if !l.shortLocked() {
		l.setStateLocked(OK, nil)
		return
	}
	if err == nil && len(l.spares) < l.wantLocked() { // more is wanted than when it was looked for
		l.keeping = true
		return
	}
	if err == nil {
		err = fmt.Errorf("budget of %d bytes: %w", l.o.MaxBytes, ErrFull)
	}
	l.setStateLocked(Full, err)
	l.keepAt = time.Now().Add(retryFull)
	if !l.saver || l.progress >= l.o.SegmentSize/2 {
		l.signalLocked()
	}
}

// keepStep recycles or removes a segment that nobody needs, or makes a spare,
// or cuts off what a segment does not use. more tells that it did something
// and there may be more; err why a spare cannot be had.
func (l *Log) keepStep() (more bool, err error) {
	l.discardTrash()
	l.mu.Lock()
	need := len(l.spares) < l.wantLocked()
	dead := l.takeDeadLocked()
	budget := l.budgetLocked()
	pool := need || len(l.spares) < l.poolLocked() && budget >= l.o.SegmentSize
	l.mu.Unlock()
	if dead != nil {
		if pool && !dead.tainted && dead.size == l.o.SegmentSize {
			err := l.recycle(dead)
			if err == nil {
				return true, nil
			}
			l.o.Log.Warn("journal segment not recycled", "segment", dead.name, "error", err)
		}
		l.drop(dead)
		return true, nil
	}
	if !need {
		return false, nil
	}
	if budget < l.o.SegmentSize {
		err = fmt.Errorf("budget of %d bytes: %w", l.o.MaxBytes, ErrFull)
	} else if err = l.makeSpare(); err == nil {
		return true, nil
	}
	return l.trim(), err
}

// takeDeadLocked takes a segment that nobody needs off the log.
func (l *Log) takeDeadLocked() *segment {
	if n := len(l.voids); n > 0 {
		s := l.voids[n-1]
		l.voids = l.voids[:n-1]
		return s
	}
	if !l.saver || State(l.state.Load()) == Failed {
		return nil
	}
	l.freeing = false
	for i, s := range l.segs {
		if s.number >= l.settled {
			return nil
		}
		if s.holds > 0 || s.refs > 0 {
			continue
		}
		if s.freeAt > l.durable {
			l.freeing = true
		} else {
			l.segs = slices.Delete(l.segs, i, i+1)
			l.opened = slices.DeleteFunc(l.opened, func(o *segment) bool { return o == s })
			return s
		}
	}
	return nil
}

// nextSpareLocked is a number that no file is named after, if possible that of
// the segment to be begun next.
func (l *Log) nextSpareLocked() uint32 {
	n := max(l.head, l.floor)
	for _, sp := range l.spares {
		n = max(n, sp.number)
	}
	for _, name := range l.trash {
		if number, ok := segmentNumber(name); ok {
			n = max(n, number)
		}
	}
	return n + 1
}

// putSpare writes the header of a spare to f, whose name is to become that of
// the number it returns.
func (l *Log) putSpare(f File) (uint32, error) {
	l.mu.Lock()
	n := l.nextSpareLocked()
	h := header{
		kind: kindSpare, format: l.o.Format, epoch: l.epoch, number: n, root: l.root,
		prev: at(l.head, 0), size: l.o.SegmentSize, clock: l.Clock(),
	}
	l.mu.Unlock()
	w, err := f.WriteAt(h.block(), 0)
	l.counters.written.Add(uint64(max(w, 0)))
	if err != nil {
		return n, err
	}
	return n, l.sync(f)
}

// recycle makes a spare of s.
func (l *Log) recycle(s *segment) (err error) {
	if s.file == nil {
		if s.file, err = l.disk.Open(s.name); err != nil {
			return err
		}
	}
	n, err := l.putSpare(s.file)
	if err != nil {
		return err
	}
	name := segmentName(n)
	if s.name != name {
		if err := l.disk.Rename(s.name, name); err != nil {
			return err
		}
		s.name = name
	}
	if err := l.disk.Sync(); err != nil {
		return err
	}
	l.addSpare(&spare{name, n, s.file})
	l.counters.recycled.Add(1)
	return nil
}

func (l *Log) addSpare(sp *spare) {
	l.mu.Lock()
	l.spares = append(l.spares, sp)
	slices.SortFunc(l.spares, func(a, b *spare) int { return cmp.Compare(a.number, b.number) })
	l.mu.Unlock()
}

// drop removes s, which is off the log.
func (l *Log) drop(s *segment) {
	if s.file != nil {
		s.file.Close()
	}
	l.mu.Lock()
	l.trash = append(l.trash, s.name)
	l.mu.Unlock()
	l.discardTrash()
}

// makeSpare makes a new file.
func (l *Log) makeSpare() error {
	l.mu.Lock()
	name := segmentName(l.nextSpareLocked())
	l.mu.Unlock()
	f, err := l.disk.Create(name, l.o.SegmentSize)
	if err != nil {
		return fmt.Errorf("make segment %s: %w", name, noSpace(err))
	}
	n, err := l.putSpare(f)
	if err == nil {
		err = l.disk.Sync()
	}
	if err != nil {
		l.mu.Lock()
		l.trash = append(l.trash, name)
		l.mu.Unlock()
		return errors.Join(fmt.Errorf("make segment %s: %w", name, noSpace(err)), f.Close())
	}
	l.addSpare(&spare{name, n, f})
	return nil
}

// trim cuts off what a finished segment does not use, if that gains enough for
// a spare, and reports whether it did.
func (l *Log) trim() bool {
	l.mu.Lock()
	gain := int64(0)
	var most *segment
	for _, s := range l.segs {
		if s.number < l.head && !s.tainted {
			gain += s.size - s.end
			if most == nil || s.size-s.end > most.size-most.end {
				most = s
			}
		}
	}
	if most == nil || most.size-most.end < 4<<10 || gain < l.o.SegmentSize/2 {
		l.mu.Unlock()
		return false
	}
	end := most.end
	most.refs++
	l.mu.Unlock()
	f, err := l.fileOf(most)
	if err == nil {
		err = f.Resize(end)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	most.refs--
	if err != nil {
		return false
	}
	most.size = end
	return true
}
