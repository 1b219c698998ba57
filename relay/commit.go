package relay

import (
	"bytes"
	"slices"

	"github.com/synthetism/edgebroker/wire"
)

// commit is a batch of changes on its way to the store, with the
// acknowledgements that wait for it.
type commit struct {
	relay   *Relay
	port    *Port // nil when the broker itself has published
	answers []byte
	ids     []uint16 // QoS 2 publishes received
}

// Committed lets the acknowledgements go. When the store has failed, the
// client must not believe that its messages are kept: it is disconnected
// without them and will send again, and what it sends again is stored again.
func (c *commit) Committed(err error) {
	switch {
	case err != nil:
		c.relay.log.Error("store changes", "error", err)
		if c.port != nil {
			for _, id := range c.ids {
				c.port.release(id)
			}
			c.port.link.Kick(wire.QuotaExceeded, "internal_error")
		}
	case c.port != nil && len(c.answers) > 0:
		c.port.link.Send(c.answers)
		c.port.link.Flush()
		c.port.Writable() // the answers may have been what filled the link
	}
}

// commit hands the changes since the last one to the store.
func (p *Port) commit() {
	if len(p.answers) == 0 && len(p.changes) == 0 {
		return
	}
	c := &commit{relay: p.relay, port: p, answers: bytes.Clone(p.answers)}
	p.answers = p.answers[:0]
	for i := range p.changes {
		if p.changes[i].Kind == Received {
			c.ids = append(c.ids, p.changes[i].PacketID)
		}
	}
	p.publisher.commitWith(c)
}

func (p *publisher) commitWith(c Done) {
	changes := slices.Clone(p.changes)
	clear(p.changes)
	p.changes = p.changes[:0]
	p.relay.store.Commit(changes, c)
}
