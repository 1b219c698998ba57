package handover

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// errState is wrapped by the errors of what is not a State.
var errState = errors.New("not a state that can be handed over")

// coder writes values or reads them, so that one function says in which order
// they lie. Its first error stays, and whatever is read after it is zero.
type coder struct {
	w    *bufio.Writer // nil: it reads
	r    *bufio.Reader
	left int64 // bytes that may still be read
	err  error
	room [binary.MaxVarintLen64]byte
}

func (c *coder) reads() bool { return c.w == nil }

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{errState}, args...)...)
	}
}

// number is an unsigned number up to most.
func (c *coder) number(v *uint64, most uint64) {
	switch {
	case c.err != nil:
		if c.reads() {
			*v = 0
		}
	case c.reads():
		*v = c.readNumber()
		if *v > most {
			*v = 0
			c.fail("a number is too large")
		}
	default:
		_, c.err = c.w.Write(binary.AppendUvarint(c.room[:0], *v))
	}
}

func (c *coder) readNumber() (v uint64) {
	for shift := 0; ; shift += 7 {
		if c.left <= 0 {
			c.fail("it ends early")
			return 0
		}
		b, err := c.r.ReadByte()
		if err != nil {
			c.fail("%v", err)
			return 0
		}
		c.left--
		if shift == 63 && b > 1 {
			c.fail("a number is too large")
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// count is how many of something follow, each of which takes at least size bytes.
func (c *coder) count(n int, size int64) int {
	v := uint64(n)
	c.number(&v, math.MaxInt32)
	if c.reads() && int64(v)*size > c.left {
		c.fail("%d parts do not fit in what is left", v)
		return 0
	}
	return int(v)
}

func (c *coder) bytes(v *[]byte) {
	n := c.count(len(*v), 1)
	if !c.reads() {
		if c.err == nil {
			_, c.err = c.w.Write(*v)
		}
		return
	}
	*v = nil
	if n == 0 || c.err != nil {
		return
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.fail("%v", err)
		return
	}
	c.left -= int64(n)
	*v = b
}

func (c *coder) text(v *string) {
	if !c.reads() {
		c.count(len(*v), 1)
		if c.err == nil {
			_, c.err = c.w.WriteString(*v)
		}
		return
	}
	var b []byte
	c.bytes(&b)
	*v = string(b)
}

func (c *coder) flag(v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	c.number(&n, 1)
	*v = n == 1
}

// whole is a number of any type.
func whole[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *coder, v *T) {
	n := uint64(*v)
	c.number(&n, uint64(^T(0)))
	*v = T(n)
}

// span is a duration that is not negative.
func (c *coder) span(v *time.Duration) {
	n := uint64(max(0, *v))
	c.number(&n, math.MaxInt64)
	*v = time.Duration(n)
}

// place is a number from -1 up to below most.
func (c *coder) place(v *int, most int) {
	n := uint64(*v + 1)
	c.number(&n, uint64(most))
	*v = int(n) - 1
}

// list is a slice, whose items take at least size bytes each.
func list[T any](c *coder, v *[]T, size int64, item func(*T)) {
	n := c.count(len(*v), size)
	if c.reads() {
		*v = nil
	}
	for i := 0; i < n && c.err == nil; i++ {
		if c.reads() {
			var zero T
			*v = append(*v, zero)
		}
		item(&(*v)[i])
	}
	if c.reads() && c.err != nil {
		*v = nil
	}
}

// option is a pointer that may be nil.
func option[T any](c *coder, v **T, item func(*T)) {
	there := *v != nil
	c.flag(&there)
	if !there {
		*v = nil
		return
	}
	if *v == nil {
		*v = new(T)
	}
	item(*v)
}
