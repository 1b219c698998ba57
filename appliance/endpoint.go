package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/listen"
)

// endpoint is one listener, with what belongs to it.
type endpoint struct {
	cfg    ListenerConfig
	certs  *certs.Source // nil without TLS
	listen *listen.Listener
	cancel context.CancelFunc // ends the watch over certs; nil if there is none
	lost   bool               // it could not be bound again: see transition.lose

	given     bool               // it has a socket that the service manager has passed to this process
	inherited *handover.Listener // of the process before, whose socket it has; nil: its own
}

// newEndpoint makes an endpoint that has neither read nor bound anything yet.
// It stands at i in the configuration.
func (b *Broker) newEndpoint(i int, l ListenerConfig) *endpoint {
	e := &endpoint{cfg: l, certs: newCertificates(l, b.rest, b.hints, func(r certs.Report) { b.certificateReport(l.Name, r) })}
	e.put(b.gate, i, nil, nil)
	return e
}

// put gives e a new listener, on a socket that is bound already or, if that is
// nil, on one that is to be bound.
func (e *endpoint) put(g *listen.Gate, i int, bound net.Listener, after *endpoint) {
	c := listen.Config{ID: e.cfg.Name, Type: e.cfg.Type, Address: e.cfg.Address, Bound: bound, Mode: e.cfg.Mode,
		Policy: e.cfg.policy(), Key: listenerPath(i, "address")}
	if e.certs != nil {
		c.TLS = e.certs.TLSConfig()
	}
	if after != nil && after.cfg.Name == e.cfg.Name {
		c.After = after.listen
	}
	e.listen = listen.New(c, g)
}

// watch looks after e's certificates until ctx or the endpoint ends.
func (b *Broker) watch(ctx context.Context, e *endpoint) {
	if e.certs == nil {
		return
	}
	ctx, e.cancel = context.WithCancel(ctx)
	b.running.Go(func() { _ = e.certs.Run(ctx) })
}

// unwatch ends what watch has begun.
func (e *endpoint) unwatch() {
	if e.cancel != nil {
		e.cancel()
	}
}

// places returns the endpoints in the order of the configuration. They must not
// be changed.
func (b *Broker) places() []*endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.endpoints
}

// bindAll binds every endpoint for the start of the broker.
func (b *Broker) bindAll() error {
	var errs []error
	for _, e := range b.endpoints {
		errs = append(errs, loadCertificates(e.cfg, e.certs))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	if err := b.giveSockets(); err != nil {
		return err
	}
	b.inherit()
	for _, e := range b.endpoints {
		if err := b.server.AddListener(e.listen); err != nil {
			return err
		}
	}
	return nil
}

// Addr returns the address that a listener has bound, once Start has
// returned; useful when the configured port is 0. It is empty for a name that
// does not exist.
func (b *Broker) Addr(listener string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.endpoints, func(e *endpoint) bool { return e.cfg.Name == listener }); i >= 0 {
		return b.endpoints[i].listen.Address()
	}
	return ""
}
