package listen

import (
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/wire"
)

const pageSize = 16 << 10

type page [pageSize]byte

var pages = sync.Pool{New: func() any { return new(page) }}

// input holds bytes that have been read and not yet been used: at most a part
// of one frame while the reader waits. An idle connection's holds no buffer.
type input struct {
	buf  []byte
	page *page // buf, if that is a pooled page
	r, w int   // buf[r:w] is unused input
}

func (in *input) bytes() []byte { return in.buf[in.r:in.w] }

func (in *input) take(n int) { in.r += n }

// room returns space to read into, never empty. The buffer grows with what has
// arrived, whatever length a header may announce.
func (in *input) room() []byte {
	if in.r > 0 {
		in.w = copy(in.buf, in.bytes())
		in.r = 0
	}
	if in.w == len(in.buf) || len(in.buf) < pageSize { // full, or parked
		in.grow()
	}
	return in.buf[in.w:]
}

func (in *input) grow() {
	old, oldPage := in.bytes(), in.page
	if want := in.next(); want > pageSize {
		in.buf, in.page = make([]byte, want), nil
	} else {
		in.page = pages.Get().(*page)
		in.buf = in.page[:]
	}
	in.r, in.w = 0, copy(in.buf, old)
	if oldPage != nil {
		pages.Put(oldPage)
	}
}

// next is the size of the buffer that follows when this one is full of one
// frame: twice what there is, but not more than the frame has.
func (in *input) next() int {
	b := in.bytes()
	want := 2 * len(b)
	if size, ok := wire.FrameSize(b); ok && size > len(b) {
		want = min(want, size)
	}
	return want
}

// need is how much memory may be taken until more has come, beyond what every
// connection may take.
func (in *input) need() int64 {
	n := len(in.bytes())
	if n <= smallInput {
		return 0
	}
	return int64(max(in.next(), min(len(in.buf), 2*n)))
}

// park gives back what the buffer has beyond the unused input.
func (in *input) park() {
	old := in.page
	switch {
	case in.r == in.w:
		in.buf = nil
	case old != nil || len(in.buf) > 2*(in.w-in.r):
		in.buf = append([]byte(nil), in.bytes()...)
		in.buf = in.buf[:in.w-in.r]
	default:
		return
	}
	in.r, in.w, in.page = 0, len(in.buf), nil
	if old != nil {
		pages.Put(old)
	}
}

// drop forgets all input.
func (in *input) drop() {
	in.r = in.w
	in.park()
}

// fill waits for input and adds it to c.in. An idle connection waits without
// a buffer if it has a file descriptor, or is a WebSocket or speaks TLS.
func (c *Conn) fill() error {
	var n int
	var err error
	if c.raw != nil {
		c.readN, c.readErr = 0, nil
		err = c.raw.Read(c.readFn)
		if n = c.readN; err == nil {
			err = c.readErr
		}
	} else if c.tls != nil {
		n, err = c.tls.fill(&c.in, c.room)
	} else {
		if w, ok := c.nc.(*webSocket); ok {
			if err := w.wait(c.in.park); err != nil {
				return err
			}
		}
		n, err = c.nc.Read(c.room())
	}
	if n > 0 {
		c.in.w += n
		c.bytesIn.Add(uint64(n))
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// readFD is the callback of raw.Read.
func (c *Conn) readFD(fd uintptr) bool {
	for {
		n, err := rawRead(fd, c.room())
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			c.in.park()
			return false
		}
		c.readN, c.readErr = max(n, 0), err
		return true
	}
}
