package hooks

import (
	"crypto/x509"
	"time"

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
	Accepted     time.Time           // when its connection was

	conn *listen.Conn
}

// Members returns the clients that are connected now, or about to be, in no
// order.
func (h *Sessions) Members() []Member {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Member, 0, len(h.byConn))
	for _, b := range h.byConn {
		if b.stranger {
			continue // it has been turned away
		}
		list = append(list, b.member())
	}
	return list
}

func (b *binding) member() Member {
	return Member{b.id, b.grant.identity, b.grant.rights.subject, b.conn.Version(), b.conn.Certificates(), b.conn.ConnectedAt(), b.conn}
}

// Expel disconnects a client that may not stay, with "not authorized".
func (m Member) Expel() { m.conn.Kick(wire.NotAuthorized, listen.EndNotAuthorized) }
