package listen

import (
	"fmt"
	"slices"

	"github.com/synthetism/edgebroker/wire"
)

// answer is how the SUBACK or UNSUBACK to the current frame is to be changed.
type answer struct {
	codes []wire.Reason // nil: the server's own
	hold  *heldAnswer   // nil: send it at once
}

// heldAnswer is an answer that waits for its release. The Conn's mu guards it.
type heldAnswer struct {
	frame    []byte
	released bool
}

// AnswerWith sets the reason codes of the SUBACK or UNSUBACK with which the
// server answers the frame it is processing. The codes are copied.
func (c *Conn) AnswerWith(codes []wire.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer.codes = append([]wire.Reason{}, codes...)
}

// HoldAnswer keeps back the SUBACK or UNSUBACK to the frame that the server is
// processing until release is called: from any goroutine, before or after the
// server has written it, more than once without harm.
func (c *Conn) HoldAnswer() (release func()) {
	h := new(heldAnswer)
	c.mu.Lock()
	c.answer.hold = h
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		h.released = true
		frame := h.frame
		h.frame = nil
		c.mu.Unlock()
		if con := c.connect.Load(); frame != nil && c.emit(con, frame) == nil {
			c.Flush()
		}
	}
}

func (c *Conn) forgetAnswer() {
	c.mu.Lock()
	c.answer = answer{}
	c.mu.Unlock()
}

// writeAnswer completes the server's SUBACK or UNSUBACK.
func (c *Conn) writeAnswer(f wire.Frame, con *wire.Connect) error {
	c.mu.Lock()
	a := c.answer
	c.answer = answer{}
	c.mu.Unlock()
	frame := f.Raw
	if a.codes != nil {
		if len(f.Body) < 2 {
			return fmt.Errorf("%v from the server holds no packet id", f.Type)
		}
		id := uint16(f.Body[0])<<8 | uint16(f.Body[1])
		if f.Type == wire.SUBACK {
			frame = wire.AppendSuback(nil, con.Version, id, a.codes)
		} else {
			frame = wire.AppendUnsuback(nil, con.Version, id, a.codes)
		}
	}
	if a.hold != nil {
		c.mu.Lock()
		waits := !a.hold.released
		if waits {
			a.hold.frame = slices.Clone(frame)
		}
		c.mu.Unlock()
		if waits {
			return nil
		}
	}
	return c.emit(con, frame)
}
