package journal

import "time"

// segment is a segment that records were appended to: of the log since its
// root, older but held, or not yet begun on disk. Log.mu guards all but the
// constants.
type segment struct {
	number uint32 // constant
	seed   uint32 // constant
	flags  byte   // constant
	format uint16 // constant; of the owner's records
	prev   Pos    // constant; where the segment before ends

	size    int64  // of the file
	name    string // of the file; "" until begun
	file    File   // nil when not open
	end     int64  // what is before lies in the file and is stable
	records uint64 // appended by the owner, since the log was opened
	refs    int    // readers and snapshots that use the file
	tainted bool   // a write to it has failed: it is never written to again

	holds  int   // records needed beyond the root
	held   int64 // their bytes
	freeAt Pos   // when holds is 0: once this is stable nobody needs it
	vacate bool  // the running checkpoint empties it
}

// part is what a batch has for one segment: bytes for one write.
type part struct {
	seg     *segment
	start   int64  // offset of data in the segment
	data    []byte // room for the mark, then records
	records uint32
	begins  bool // data begins with a record of typeBegin, not a mark
}

func (p *part) end() int64 { return p.start + int64(len(p.data)) }

// batch is what is written and synced as one, and who waits for it.
type batch struct {
	parts   []part
	dones   []Done
	syncs   int       // of dones: how many wait for a sync
	first   time.Time // when the first of them came
	bytes   int64
	records uint64
	force   bool // write even if there is no record
	closed  bool // the mark says that the log was closed
}

func (b *batch) last() *part {
	if len(b.parts) == 0 {
		return nil
	}
	return &b.parts[len(b.parts)-1]
}

const (
	keptBuffer  = 2 << 20 // a buffer larger than this is given back
	keptBuffers = 3
)

// bufferLocked is an empty buffer, a used one if there is one.
func (l *Log) bufferLocked() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return make([]byte, 0, 4<<10)
}

// reuseLocked empties b for the next batch.
func (l *Log) reuseLocked(b *batch) {
	for i := range b.parts {
		data := b.parts[i].data
		if cap(data) <= keptBuffer && len(l.buffers) < keptBuffers {
			l.buffers = append(l.buffers, data[:0])
		}
	}
	clear(b.parts)
	clear(b.dones)
	*b = batch{parts: b.parts[:0], dones: b.dones[:0]}
}

// partLocked is the part that takes a record of n bytes, head included; 0 for
// a mark alone. It begins a new segment when the current one has no room.
func (l *Log) partLocked(n int64) *part {
	if p := l.cur.last(); p != nil {
		if p.end()+n <= p.seg.size {
			return p
		}
	} else if s := l.tail; s != nil && l.tailEnd+markSize+n <= s.size {
		return l.addPartLocked(s, l.tailEnd, markSize)
	}
	return l.newSegmentLocked(n, 0)
}

func (l *Log) addPartLocked(s *segment, start int64, room int) *part {
	data := append(l.bufferLocked(), l.zeros[:room]...)
	l.cur.parts = append(l.cur.parts, part{seg: s, start: start, data: data, begins: room == beginSize})
	l.tailEnd = start + int64(room)
	l.backlog.Add(int64(room))
	l.cur.bytes += int64(room)
	l.laid += int64(room)
	return l.cur.last()
}

// newSegmentLocked goes on in a new segment with room for a record of n bytes.
func (l *Log) newSegmentLocked(n int64, flags byte) *part {
	prev := l.durable // also right after a failure: what lies beyond is lost
	if l.tail != nil {
		prev = at(l.tail.number, l.tailEnd)
	}
	l.number++
	s := &segment{
		number: l.number,
		seed:   l.epoch.seed(l.number),
		flags:  flags,
		format: l.o.Format,
		prev:   prev,
		size:   max(l.o.SegmentSize, headerSize+beginSize+n),
	}
	l.segs = append(l.segs, s)
	l.tail = s
	return l.addPartLocked(s, headerSize, beginSize)
}

// Append puts a record of the given type, below 0xf0, at the end of the log and
// returns its position. It copies data, and never waits for the disk. It
// panics if type or length are out of bounds. In state Failed, before the
// Checkpoint that ends it, the record is not kept and the position is void.
func (l *Log) Append(typ byte, data []byte) Pos {
	if typ >= firstOwn {
		panic("journal: record types from 0xf0 are the log's own")
	}
	if len(data) > l.o.MaxRecord {
		panic("journal: record longer than Options.MaxRecord")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(recordHead + len(data))
	if l.discard {
		if l.tailEnd+n > maxSegment && l.tailEnd > headerSize {
			l.number++
			l.tailEnd = headerSize
		}
		p := at(l.number, l.tailEnd)
		l.tailEnd += n
		return p
	}
	p := l.partLocked(n)
	start := len(p.data)
	offset := p.end()
	p.data = append(p.data, l.zeros[:recordHead]...)
	p.data = append(p.data, data...)
	sealRecord(p.data[start:], p.seg.seed, offset, typ)
	p.records++
	p.seg.records++
	l.cur.records++
	l.cur.bytes += n
	l.laid += n
	l.tailEnd = offset + n
	l.backlog.Add(n)
	if l.cur.bytes-n < kickBytes && l.cur.bytes >= kickBytes {
		l.kick()
	}
	return at(p.seg.number, offset)
}
