package hooks

import (
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
)

// Carried is what another process needs to know of a client whose connection
// goes on there: who it has proven to be, and what its disconnection event will
// tell. It is the Note of a connection that is adopted.
type Carried struct {
	Identity  auth.Identity
	Connected time.Duration // ago: its connection event
	Before    relay.PortTraffic
}

// Carry returns what is to be carried of a connection, nil if it has no session,
// and the input that its session gives back; see [relay.Port.Part].
func (h *Sessions) Carry(conn *listen.Conn) (k *Carried, early []byte) {
	b := h.binding(conn)
	if b == nil || b.port == nil || b.connected.IsZero() {
		return nil, nil
	}
	return &Carried{b.grant.identity, time.Since(b.connected), b.before}, b.port.Part()
}

// reopen binds a connection that goes on to its session.
func (h *Sessions) reopen(conn *listen.Conn, b *binding, c relay.Connect) error {
	h.mu.Lock()
	h.last[b.id] = b
	h.mu.Unlock()
	port, err := h.relay.Reopen(c)
	if err != nil {
		return err
	}
	h.mu.Lock()
	b.port = port
	h.mu.Unlock()
	return nil
}

// resume takes the place of the connection event, which there has been.
func (h *Sessions) resume(b *binding, k *Carried) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.connected, b.before = time.Now().Add(-k.Connected), k.Before
	h.counters.Connected++
	h.counters.MaxConnected = max(h.counters.MaxConnected, h.counters.Connected)
}
