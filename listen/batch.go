package listen

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	smallBatch   = 4 << 10  // bytes copied before a second batch is begun
	largeBatch   = 32 << 10 // most bytes of a further one, which are as large as all before
	batchVecs    = 32       // pieces per batch
	writeVecs    = 32       // pieces per write call
	writeBytes   = 64 << 10 // bytes per blocking write, so that Pending stays current
	shareAtLeast = 512      // shorter bodies are copied
)

// batch is a stretch of the outbound stream: bytes copied into buf and
// references to shared bodies, in order. Batches form a list.
type batch struct {
	next *batch
	vecs [][]byte // what is to be written; vecs[:at] has been
	at   int
	buf  []byte // what was copied; its capacity never changes
	open bool   // the last of vecs ends where buf ends, and can be extended
	pool *sync.Pool

	cost int64         // bytes of memory that owner has been charged with
	held *atomic.Int64 // its owner's, of all its batches
}

// batchCost is what a batch takes beside what it copies and refers to.
const batchCost = batchVecs*24 + 128

var (
	batchPools = [...]*sync.Pool{newBatchPool(smallBatch), newBatchPool(2 * smallBatch), newBatchPool(4 * smallBatch), newBatchPool(largeBatch)}
	vectors    = sync.Pool{New: func() any { return new(vector) }}
)

// newBatch is a batch that comes after pending bytes and is charged to held.
// Those who have little waiting shall not hold much.
func newBatch(pending int, held *atomic.Int64) *batch {
	class := 0
	for size := smallBatch; size < pending && class < len(batchPools)-1; size *= 2 {
		class++
	}
	b := batchPools[class].Get().(*batch)
	b.held = held
	b.charge(int64(cap(b.buf) + batchCost))
	return b
}

func (b *batch) charge(n int64) {
	b.cost += n
	b.held.Add(n)
}

// vector is room for the pieces of one write, and for what the kernel is told of
// them.
type vector struct {
	list [writeVecs][]byte
	iov  [writeVecs]unix.Iovec
}

func newBatchPool(size int) *sync.Pool {
	p := new(sync.Pool)
	p.New = func() any {
		return &batch{vecs: make([][]byte, 0, batchVecs), buf: make([]byte, 0, size), pool: p}
	}
	return p
}

func (b *batch) release() {
	clear(b.vecs)
	b.charge(-b.cost)
	b.held = nil
	b.next, b.vecs, b.at, b.buf, b.open = nil, b.vecs[:0], 0, b.buf[:0], false
	b.pool.Put(b)
}

// copyIn copies the front of p and returns how much of it.
func (b *batch) copyIn(p []byte) int {
	if !b.open && len(b.vecs) == batchVecs {
		return 0
	}
	start := len(b.buf)
	n := min(len(p), cap(b.buf)-start)
	if n == 0 {
		return 0
	}
	b.buf = append(b.buf, p[:n]...)
	if b.open {
		last := &b.vecs[len(b.vecs)-1]
		*last = (*last)[:len(*last)+n]
	} else {
		b.vecs = append(b.vecs, b.buf[start:])
		b.open = true
	}
	return n
}

// share refers to p and reports whether there was room to.
func (b *batch) share(p []byte) bool {
	if len(b.vecs) == batchVecs {
		return false
	}
	b.vecs = append(b.vecs, p)
	b.charge(int64(len(p)))
	b.open = false
	return true
}

// gather returns the first pieces of the list, at most limit bytes of them,
// as they are to be given to one write. It may use v for that.
func (b *batch) gather(v *vector, limit int) [][]byte {
	list := v.list[:0]
	for ; b != nil; b = b.next {
		for _, p := range b.vecs[b.at:] {
			if len(list) == writeVecs || limit == 0 {
				return list
			}
			p = p[:min(len(p), limit)]
			limit -= len(p)
			list = append(list, p)
		}
	}
	return list
}

// advance drops the first n bytes of the list and returns what remains of it.
func (b *batch) advance(n int) *batch {
	for b != nil {
		for ; b.at < len(b.vecs); b.at++ {
			v := b.vecs[b.at]
			if n < len(v) {
				b.vecs[b.at] = v[n:]
				return b
			}
			n -= len(v)
			b.vecs[b.at] = nil
		}
		next := b.next
		b.release()
		b = next
	}
	return nil
}

// discard releases the whole list.
func (b *batch) discard() {
	for b != nil {
		next := b.next
		b.release()
		b = next
	}
}

// last returns the end of the list.
func (b *batch) last() *batch {
	for b.next != nil {
		b = b.next
	}
	return b
}
