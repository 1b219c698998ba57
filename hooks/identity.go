package hooks

import (
	"context"
	"errors"
	"slices"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/internal/peer"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// grant is with what a connection was let in. It is the connection's Note.
type grant struct {
	rules    *Rules        // by which it was let in
	identity auth.Identity // the zero Identity: none was proven
	rights   *rights
	carried  *Carried // nil: it has come to this process
}

// stale reports whether the rules have changed since, so that what they expel
// may not have been expelled yet.
func (g *grant) stale() bool { return g.rights.rules.Load() != g.rules }

func grantOf(conn *listen.Conn) *grant {
	g, _ := conn.Note.(*grant)
	return g
}

// identify finds out who the client is, puts that into g, and reports whether
// it is let in. A client that shows nothing is nobody, and comes in where nobody
// may.
func (h *Access) identify(conn *listen.Conn, client string, g *grant) bool {
	rules := g.rules
	ask := rules.sources(conn.Listener())
	a := attempt(conn, client)
	if !ask.Certificates {
		a.Certificates = nil
	}
	if ask.Source == nil || a.Anonymous() {
		if rules.Anonymous[conn.Listener()] {
			return true
		}
		h.refuse(conn, client, "connect", wire.NotAuthorized)
		conn.RefuseWith(wire.NotAuthorized, "this listener lets nobody in who does not say who they are")
		return false
	}
	err := conn.Consult(func(ctx context.Context) (err error) {
		g.identity, err = ask.Source.Authenticate(ctx, &a)
		return err
	})
	if err == nil && len(g.identity.ClientIDs) > 0 && !slices.Contains(g.identity.ClientIDs, client) {
		h.refuse(conn, client, "connect", wire.ClientIDNotValid)
		conn.RefuseWith(wire.ClientIDNotValid, "the credentials are for another client identifier")
		return false
	}
	if err == nil {
		conn.SetUsername(g.identity.Name)
		return true
	}
	if word, _ := conn.EndReason(); word != "" { // the connection has ended, and that was reported
		return false
	}
	reason := h.verdict(conn, client, err)
	h.refuse(conn, client, "connect", reason)
	conn.RefuseWith(reason, "")
	return false
}

// verdict is the reason for which err keeps a client out. It does not say
// whether a user is known, or for how long they are locked out.
func (h *Access) verdict(conn *listen.Conn, client string, err error) wire.Reason {
	switch {
	case errors.Is(err, auth.ErrBusy):
		return wire.ServerBusy
	case errors.Is(err, auth.ErrRefused):
		return wire.BadUserNameOrPassword
	}
	h.keptOut(conn, client, err)
	return wire.ServerUnavailable
}

// keptOut says that nobody could tell who a client is.
func (h *Access) keptOut(conn *listen.Conn, client string, err error) {
	h.log.Warn("authentication failed, the client is kept out", "client", client, "listener", conn.Listener(), "error", err)
}

// attempt is what a client shows of itself.
func attempt(conn *listen.Conn, client string) auth.Attempt {
	con := conn.Connect()
	a := auth.Attempt{Listener: conn.Listener(), ClientID: client, Addr: peer.Address(conn.RemoteAddr()),
		Username: con.Username, HasUsername: con.HasUsername, Certificates: conn.Certificates()}
	if con.HasPassword {
		a.Password = auth.NewSecret(con.Password)
	}
	return a
}

// certName is the common name in the certificate that the client has shown, ""
// if there is none.
func certName(conn *listen.Conn) string {
	if chain := conn.Certificates(); len(chain) > 0 {
		return chain[0].Subject.CommonName
	}
	return ""
}
