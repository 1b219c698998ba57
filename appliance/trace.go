package appliance

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/trace"
)

// Trace begins to trace the packets of the clients that q asks for, those that
// are connected and those that come, until end is called. It fails with what is
// wrong with q, with trace.ErrTooMany, or with ErrState.
func (b *Broker) Trace(q trace.Query) (t *trace.Trace, end func(), err error) {
	if !b.assembled() {
		return nil, nil, fmt.Errorf("trace: %w: it has not started", ErrState)
	}
	if t, err = b.tracer.Start(q); err != nil {
		return nil, nil, err
	}
	remove := b.gate.Tap(tracing{t})
	return t, sync.OnceFunc(func() { remove(); t.Close() }), nil
}

// tracing taps the connections that a trace is to follow.
type tracing struct{ trace *trace.Trace }

func (t tracing) Tap(c *listen.Conn, client string, before int) listen.Tap {
	p := trace.Party{Client: client, Remote: c.Remote(), Listener: c.Listener(),
		Connected: c.ConnectedAt(), Version: c.Version(), Before: before, AliasTopic: c.AliasTopic}
	if a, err := netip.ParseAddrPort(p.Remote); err == nil { // a unix socket's has none
		p.Address = a.Addr()
	}
	if tap := t.trace.Join(p); tap != nil {
		return tap
	}
	return nil
}

func (k backend) Trace(q trace.Query) (*trace.Trace, func(), error) { return k.b.Trace(q) }
