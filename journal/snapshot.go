package journal

import (
	"errors"
	"fmt"
	"io"
)

// Snapshot copies the log to dst, which must hold none, while the log goes on:
// everything that was appended before the call, and perhaps some of what comes
// after it. The copy can be opened as if the log had been closed there. No
// segment is recycled meanwhile.
func (l *Log) Snapshot(dst Disk) (err error) {
	if err := dst.Lock(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, dst.Unlock()) }()
	list, err := dst.List()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	for _, f := range list {
		if _, ok := segmentNumber(f.Name); ok {
			return fmt.Errorf("snapshot: the target holds %s; use an empty directory", f.Name)
		}
	}
	w := make(waiter, 1)
	l.Commit(Sync, w)
	if err := <-w; err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}

	type span struct {
		s   *segment
		end int64
	}
	var spans []span
	l.mu.Lock()
	if l.refusal != nil {
		err := l.refusal
		l.mu.Unlock()
		return fmt.Errorf("snapshot: %w", err)
	}
	for _, s := range l.segs {
		if s.name != "" {
			s.refs++
			spans = append(spans, span{s, s.end})
		}
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		for _, sp := range spans {
			sp.s.refs--
		}
		l.keeping = true
		l.mu.Unlock()
		l.kick()
	}()
	b := make([]byte, windowSize)
	for _, sp := range spans {
		if err := l.copySegment(dst, sp.s, sp.end, b); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	if err := dst.Sync(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// copySegment copies the first end bytes of s, whose refs the caller holds.
func (l *Log) copySegment(dst Disk, s *segment, end int64, b []byte) (err error) {
	from, err := l.fileOf(s)
	if err != nil {
		return err
	}
	to, err := dst.Create(segmentName(s.number), end)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for at := int64(0); at < end; {
		n, err := from.ReadAt(b[:min(int64(len(b)), end-at)], at)
		if n == 0 {
			if errors.Is(err, io.EOF) { // a held segment whose end is not known
				return errors.Join(to.Resize(at), to.Sync())
			}
			return err
		}
		if _, err := to.WriteAt(b[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return to.Sync()
}
