package bridge

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/synthetism/edgebroker/wire"
)

const plainMend = "; set version: \"3.1.1\""

var errPlain = errors.New("the far side refuses the connection: it speaks MQTT 3.1.1 only" + plainMend)

var errHungUp = errors.New("the far side has closed the connection")

// lost ends the connection for what reading or writing has said.
func (c *conn) lost(err error) {
	hung := false
	for _, e := range []error{errHungUp, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		hung = hung || errors.Is(err, e)
	}
	c.end(err, hung)
}

// dismissed ends the connection since the far side has sent DISCONNECT.
func (c *conn) dismissed(r wire.Reason, text string) {
	what := "the far side has ended the connection: " + r.String()
	if text != "" {
		what += fmt.Sprintf(" (%q)", text)
	}
	why := errors.New(what)
	switch r {
	case wire.MalformedPacket, wire.ProtocolError, wire.NotAuthorized, wire.TopicNameInvalid, wire.PacketTooLarge, wire.PayloadFormatInvalid,
		wire.UnspecifiedError, wire.ImplementationError, wire.RetainNotSupported, wire.QoSNotSupported, wire.AdministrativeAction:
		c.end(why, true)
	default: // shutting down, taken over, too many: whatever would have been sent
		c.end(why, false)
	}
}

// hungUp reports whether the far side has ended the connection, for all that is
// known because of something that this side has sent.
func (c *conn) hungUp() bool { return c.hung.Load() }
