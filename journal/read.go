package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Read reads the record at pos, which Append or replay has told. The data is
// appended to buf[:0]. A record that is not in the log (any more) is ErrLost,
// one that does not match its checksum ErrCorrupt; other errors are of the disk.
func (l *Log) Read(pos Pos, buf []byte) (typ byte, data []byte, err error) {
	buf = buf[:0]
	l.mu.Lock()
	s := l.findLocked(pos.Segment())
	offset, end := int64(pos.Offset()), int64(0)
	onDisk := false
	switch {
	case errors.Is(l.refusal, ErrClosed):
		err = ErrClosed
	case s == nil || offset < headerSize:
		err = ErrLost
	case offset >= s.end:
		var rec []byte
		if rec = l.memoryLocked(s, offset); rec == nil {
			err = ErrLost
		} else {
			typ, buf = rec[4], append(buf, rec[recordHead:]...)
		}
	default:
		s.refs++
		onDisk, end = true, s.end
	}
	l.mu.Unlock()
	if err != nil {
		return 0, buf, fmt.Errorf("read record at %v: %w", pos, err)
	}
	if !onDisk {
		return typ, buf, nil
	}
	typ, buf, err = l.readDisk(s, offset, end, buf)
	if err != nil {
		err = fmt.Errorf("read record at %v: %w", pos, err)
	}
	l.mu.Lock()
	if s.refs--; s.refs == 0 && s.number < l.settled && s.holds == 0 {
		l.keeping = true
		l.kick()
	}
	l.mu.Unlock()
	return typ, buf, err
}

// Format is that of the record at pos, 0 if there is no such segment.
func (l *Log) Format(pos Pos) uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.findLocked(pos.Segment()); s != nil {
		return s.format
	}
	return 0
}

// Kept reports whether the record at pos is in the log, on disk or still in
// memory; not whether it is intact. After a failure it tells the owner what is
// lost.
func (l *Log) Kept(pos Pos) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.findLocked(pos.Segment())
	offset := int64(pos.Offset())
	return s != nil && offset >= headerSize && (offset < s.end || l.memoryLocked(s, offset) != nil)
}

// memoryLocked is the record at offset of s, of what is not yet written.
func (l *Log) memoryLocked(s *segment, offset int64) []byte {
	for _, b := range []*batch{l.inflight, l.cur} {
		if b == nil {
			continue
		}
		for i := range b.parts {
			p := &b.parts[i]
			if p.seg != s || offset < p.start || offset+recordHead > p.end() {
				continue
			}
			rec := p.data[offset-p.start:]
			n, _, ok := checkHead(rec, s.seed, offset)
			if !ok || n > len(rec)-recordHead || rec[4] >= firstOwn {
				return nil
			}
			return rec[:recordHead+n]
		}
	}
	return nil
}

// readDisk reads the record at offset of s, whose refs the caller holds. It ends
// at end at the latest.
func (l *Log) readDisk(s *segment, offset, end int64, buf []byte) (byte, []byte, error) {
	f, err := l.fileOf(s)
	if err != nil {
		return 0, buf, err
	}
	const ahead = 512 // most records are shorter, and need one read
	rec := slices.Grow(buf, recordHead+ahead)[:recordHead+ahead]
	n, err := f.ReadAt(rec, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, buf, err
	}
	if n < recordHead {
		return 0, buf, ErrCorrupt
	}
	length, sum, ok := checkHead(rec, s.seed, offset)
	if !ok || rec[4] >= firstOwn || offset+recordHead+int64(length) > end {
		return 0, buf, ErrCorrupt
	}
	if whole := recordHead + length; whole > n {
		rec = slices.Grow(rec[:n], whole-n)[:whole]
		if _, err := f.ReadAt(rec[n:], offset+int64(n)); err != nil {
			if errors.Is(err, io.EOF) {
				err = ErrCorrupt
			}
			return 0, buf, err
		}
	} else {
		rec = rec[:whole]
	}
	if !checkRecord(rec, sum) {
		return 0, buf, ErrCorrupt
	}
	typ := rec[4]
	return typ, rec[:copy(rec, rec[recordHead:])], nil
}

// fileOf is the file of s, whose refs the caller holds, opened if need be.
func (l *Log) fileOf(s *segment) (File, error) {
	l.mu.Lock()
	f, name := s.file, s.name
	if f != nil && s.number != l.head {
		l.openedLocked(s)
	}
	l.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := l.disk.Open(name)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.file != nil { // another reader was faster
		f.Close()
		return s.file, nil
	}
	s.file = f
	l.openedLocked(s)
	return f, nil
}

// openedLocked notes that s, which is not the head, is open and was used just
// now, and closes what was used longest ago.
func (l *Log) openedLocked(s *segment) {
	l.opened = slices.DeleteFunc(l.opened, func(o *segment) bool { return o == s })
	l.opened = append(l.opened, s)
	for i := 0; i < len(l.opened) && len(l.opened) > openedKept; {
		if o := l.opened[i]; o.refs > 0 {
			i++
		} else {
			o.file.Close()
			o.file = nil
			l.opened = slices.Delete(l.opened, i, i+1)
		}
	}
}
