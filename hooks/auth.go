package hooks

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// AuthMethod is one method of enhanced authentication, which MQTT 5 has
// (section 4.12). Clients that name it in CONNECT are let in when an exchange
// of it says so, on any listener and whatever else their CONNECT holds. Its
// methods are called from many goroutines.
type AuthMethod interface {
	// Name is how CONNECT names the method. It never changes.
	Name() string

	// Begin starts an exchange with a client that connects, or that is
	// connected and authenticates anew.
	Begin(AuthPeer) AuthExchange
}

// AuthPeer is with whom an exchange is held. All but Listener is the client's
// word: untrusted.
type AuthPeer struct {
	ClientID string // the broker's choice if the client brought none
	Username string // of CONNECT, often empty: most methods carry a name of their own
	Remote   string // address
	Listener string
}

// AuthExchange is one client on its way to be let in. One goroutine uses it.
// It is dropped without notice when the connection ends in the middle, so it
// must hold nothing that wants to be closed.
type AuthExchange interface {
	// Step takes the authentication data of CONNECT or AUTH, nil if it had
	// none, and says what is next. data may be kept. ctx ends with the
	// connection, or when the time is up that limits.connect_timeout gives to
	// the whole of CONNECT, or to one step of a re-authentication.
	//
	// An error refuses the client. What the error says is kept from it: it
	// hears "not authorized" (0x87), or the reason of a *wire.Error in the
	// error's chain if it is one for this purpose, such as wire.ServerBusy
	// when the fault is not the client's.
	Step(ctx context.Context, data []byte) (AuthStep, error)
}

// AuthStep is the outcome of one step.
type AuthStep struct {
	Data []byte // for the client; nil for none
	Done bool   // the client is let in; otherwise it is asked for more

	// Username is who the client has turned out to be, once Done. Events,
	// statistics and access control know it by this name, not by the one in
	// its CONNECT.
	Username string
}

// errUsername is a method's fault.
var errUsername = errors.New("authenticated user name is not a string that MQTT can carry")

// exchange wraps what m does with a client, and notes who it is.
func exchange(m AuthMethod, conn *listen.Conn, client string, user *string) listen.AuthStep {
	e := m.Begin(AuthPeer{ClientID: client, Username: conn.Connect().Username, Remote: conn.Remote(), Listener: conn.Listener()})
	return func(ctx context.Context, data []byte) ([]byte, bool, error) {
		s, err := e.Step(ctx, data)
		if err == nil && s.Done && (!utf8.ValidString(s.Username) || strings.ContainsRune(s.Username, 0)) {
			err = errUsername
		}
		if err != nil {
			return nil, false, err
		}
		*user = s.Username
		return s.Data, s.Done, nil
	}
}

// authenticate holds the exchange before CONNACK and reports whether the
// client is let in. [MQTT-4.12.0-4]
func (h *Access) authenticate(conn *listen.Conn, client string) bool {
	var user string
	err := conn.Authenticate(exchange(h.methods[conn.Connect().AuthMethod], conn, client, &user))
	if err == nil {
		conn.SetUsername(user)
		return true
	}
	switch word, _ := conn.EndReason(); word {
	case "":
		reason := h.judged(conn, client, err)
		h.refuse(conn, client, "connect", reason)
		conn.RefuseWith(reason, "")
	case listen.EndProtocolError: // the other ends are no refusals, or have been reported
		if _, said := conn.Disconnect(); !said {
			h.refuse(conn, client, "connect", wire.ReasonOf(err))
		}
	}
	return false
}

// OnAuthPacket takes part in a re-authentication. [MQTT-4.12.1-2]
func (h *Access) OnAuthPacket(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	conn := connOf(cl)
	if conn == nil {
		return pk, nil
	}
	err := conn.Reauthenticate(func() listen.AuthStep {
		user := new(string)
		step := exchange(h.methods[conn.Connect().AuthMethod], conn, cl.ID, user)
		return func(ctx context.Context, data []byte) ([]byte, bool, error) {
			answer, done, err := step(ctx, data)
			if err == nil && done && *user != conn.Username() {
				err = errAnotherUser
			}
			return answer, done, err
		}
	})
	if word, _ := conn.EndReason(); err != nil && word == "" {
		reason := h.judged(conn, cl.ID, err)
		h.refuse(conn, cl.ID, "authenticate", reason)
		conn.Kick(disconnectReason(reason), listen.EndNotAuthorized)
	}
	return pk, nil // the connection has ended or goes on; the server has nothing to add
}

// errAnotherUser keeps a session with the user to whom it was opened.
var errAnotherUser = errors.New("re-authentication shows another user")

// judged is the reason for which a method keeps a client out. Where that is not the
// client's fault, the owner of the broker gets to know.
func (h *Access) judged(conn *listen.Conn, client string, err error) wire.Reason {
	reason := authReason(err)
	switch reason {
	case wire.UnspecifiedError, wire.ImplementationError, wire.ServerUnavailable, wire.ServerBusy:
		h.keptOut(conn, client, err)
	default:
		if errors.Is(err, errUsername) {
			h.keptOut(conn, client, err)
		}
	}
	return reason
}

// authReason is the reason with which a client is refused because of err.
func authReason(err error) wire.Reason {
	var we *wire.Error
	if errors.As(err, &we) {
		switch we.Reason {
		case wire.UnspecifiedError, wire.MalformedPacket, wire.ProtocolError, wire.ImplementationError,
			wire.BadUserNameOrPassword, wire.ServerUnavailable, wire.ServerBusy, wire.Banned,
			wire.BadAuthMethod, wire.QuotaExceeded, wire.ConnectionRateExceeded:
			return we.Reason
		}
	}
	return wire.NotAuthorized
}

// disconnectReason is the reason code nearest to r, one of authReason, that a
// DISCONNECT may carry.
func disconnectReason(r wire.Reason) wire.Reason {
	switch r {
	case wire.ServerUnavailable:
		return wire.ServerBusy
	case wire.BadUserNameOrPassword, wire.Banned:
		return wire.NotAuthorized
	}
	return r
}
