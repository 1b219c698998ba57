package journal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
)

// frame is a record as it lies in a segment.
type frame struct {
	offset int64
	typ    byte
	data   []byte // valid until the next call of the walker
}

func (f frame) end() int64 { return f.offset + recordHead + int64(len(f.data)) }

// walker reads the records of one segment through a window of limited size,
// which grows to the longest record.
type walker struct {
	f    io.ReaderAt
	seed uint32
	size int64 // of the file

	window     []byte
	start      int64 // of window in the file
	unreadable int64 // bytes that the disk could not read; they count as zeros
}

const (
	windowSize = 256 << 10
	sectorSize = 512
)

// bytes is the n bytes at offset, fewer at the end of the file.
func (w *walker) bytes(offset int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(0, w.size-offset)))
	if offset < w.start || offset+int64(n) > w.start+int64(len(w.window)) {
		want := int(min(int64(max(n, windowSize)), w.size-offset))
		if cap(w.window) < want {
			w.window = make([]byte, want)
		}
		w.window, w.start = w.window[:want], offset
		if err := w.fill(w.window, offset); err != nil {
			w.window = w.window[:0]
			return nil, err
		}
	}
	i := int(offset - w.start)
	return w.window[i : i+n : i+n], nil
}

// fill reads b. What the disk cannot read becomes zeros, sector by sector: a
// bad block costs the records in it.
func (w *walker) fill(b []byte, offset int64) error {
	n, err := w.f.ReadAt(b, offset)
	if err == nil || n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) { // shorter than it was
		clear(b[n:])
		return nil
	}
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	if len(b) <= sectorSize {
		clear(b)
		w.unreadable += int64(len(b))
		return nil
	}
	half := max(sectorSize, len(b)/2/sectorSize*sectorSize)
	if err := w.fill(b[:half], offset); err != nil {
		return err
	}
	return w.fill(b[half:], offset+int64(half))
}

// record is the record at offset, if a valid one ends by limit.
func (w *walker) record(offset, limit int64) (f frame, ok bool, err error) {
	if offset+recordHead > limit {
		return f, false, nil
	}
	b, err := w.bytes(offset, recordHead)
	if err != nil || len(b) < recordHead {
		return f, false, err
	}
	n, sum, ok := checkHead(b, w.seed, offset)
	if !ok || offset+recordHead+int64(n) > limit {
		return f, false, nil
	}
	b, err = w.bytes(offset, recordHead+n)
	if err != nil || len(b) < recordHead+n || !checkRecord(b, sum) {
		return f, false, err
	}
	return frame{offset, b[4], b[recordHead:]}, true, nil
}

// next is the first valid record at or after offset that ends by limit.
func (w *walker) next(offset, limit int64) (f frame, ok bool, err error) {
	// The fourth byte of a record has the highest bit set. In a segment of at
	// most 16 MiB it is 0x80 exactly, which is fast to look for.
	fast := limit <= 1<<24
	for offset+recordHead <= limit {
		b, err := w.bytes(offset, int(min(windowSize, limit-offset)))
		if err != nil || len(b) < recordHead {
			return f, false, err
		}
		i := 3
		for ; i < len(b)-recordHead+4; i++ {
			if fast {
				skip := bytes.IndexByte(b[i:len(b)-recordHead+4], inUse>>24)
				if skip < 0 {
					i = len(b) - recordHead + 4
					break
				}
				i += skip
			} else if b[i]&(inUse>>24) == 0 {
				continue
			}
			if _, _, ok := checkHead(b[i-3:], w.seed, offset+int64(i-3)); ok {
				break
			}
		}
		offset += int64(i - 3)
		if i >= len(b)-recordHead+4 {
			continue
		}
		if f, ok, err = w.record(offset, limit); ok || err != nil {
			return f, ok, err
		}
		offset++
	}
	return f, false, nil
}

// walk calls visit for each valid record before limit, and hole for each
// stretch between two, or before limit if that is exact, that holds none.
func (w *walker) walk(limit int64, exact bool, visit func(frame) error, hole func(from, to int64)) error {
	limit = min(limit, maxSegment)
	offset := int64(headerSize)
	for offset < limit {
		f, ok, err := w.record(offset, limit)
		if err != nil {
			return err
		}
		if !ok {
			if f, ok, err = w.next(offset+1, limit); err != nil {
				return err
			}
			if !ok {
				break
			}
			hole(offset, f.offset)
		}
		offset = f.end()
		if err := visit(f); err != nil {
			return err
		}
	}
	if exact && offset < limit {
		hole(offset, limit)
	}
	return nil
}
