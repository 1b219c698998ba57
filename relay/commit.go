package relay

import (
	"bytes"

	"github.com/synthetism/edgebroker/wire"
)

// commit is what waits for the store: acknowledgements, and messages that are
// held back.
type commit struct {
	relay   *Relay
	port    *Port // nil when the broker itself has published
	then    Done  // whom to tell beside; may be nil
	answers []byte
	ids     []uint16 // QoS 2 publishes received
	gates   []*gate
}

// Committed lets go what waits. When the store has failed, the client must
// not believe that its messages are kept: it is disconnected without
// acknowledgements and will send again, and what it sends again is stored
// again.
func (c *commit) Committed(err error) {
	switch {
	case err != nil && c.port != nil:
		for _, id := range c.ids {
			c.port.forget(id)
		}
		c.port.link.Kick(wire.QuotaExceeded, "internal_error")
	case c.port != nil && len(c.answers) > 0:
		c.port.link.Send(c.answers)
		c.port.link.Flush()
		c.port.Writable() // the answers may have been what filled the link
	}
	for _, g := range c.gates {
		g.lift(c.relay, err)
	}
	if err != nil && len(c.gates) > 0 {
		c.relay.purge()
	}
	if c.port != nil {
		c.port.uncommitted.Add(-1)
	}
	if c.then != nil {
		c.then.Committed(err)
	}
}

// commit hands what was recorded since the last one, and the answers that rely
// on it, to the store.
func (p *Port) commit() {
	if len(p.answers) == 0 && p.need == Memory && len(p.gates) == 0 {
		return
	}
	c := &commit{relay: p.relay, port: p, answers: bytes.Clone(p.answers), ids: p.ids}
	p.answers, p.ids = p.answers[:0], nil
	p.uncommitted.Add(1)
	p.commitWith(c)
}

func (p *publisher) commitWith(c *commit) {
	need := p.need
	c.gates = p.gates
	p.need, p.gate, p.gates = Memory, nil, nil
	p.relay.store.Commit(need, c)
}
