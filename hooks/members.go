package hooks

import (
	"crypto/x509"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// Member is a client that has been let in: as whom, and how it came.
type Member struct {
	ID           string
	Identity     auth.Identity // the zero Identity: it has proven nothing
	Subject      acl.Subject   // the same as rules see it, with its listener
	Version      wire.Version
	Certificates []*x509.Certificate // see listen.Conn.Certificates

	conn *listen.Conn
}

// Members returns the clients that are connected now, or about to be, in no
// order.
func (h *Sessions) Members() []Member {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Member, 0, len(h.byConn))
	for conn, b := range h.byConn {
		if b.stranger {
			continue // it has been turned away
		}
		list = append(list, Member{b.id, b.identity, b.subject, conn.Version(), conn.Certificates(), conn})
	}
	return list
}

// Expel disconnects a client that may not stay, with "not authorized".
func (m Member) Expel() { m.conn.Kick(wire.NotAuthorized, listen.EndNotAuthorized) }
