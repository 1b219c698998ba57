package listen

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/wire"
)

// The words that say why a connection ended; see [Conn.EndReason].
const (
	EndNormal         = "normal"            // the client sent DISCONNECT
	EndTCPClosed      = "tcp_closed"        // the client went away without DISCONNECT
	EndKeepAlive      = "keepalive_timeout" // nothing heard for 1.5 times keep alive
	EndTakenOver      = "takenover"         // another connection came with the same client id
	EndKicked         = "kicked"            // an operator ended it
	EndListenerClosed = "listener_closed"   // the listener is not there any more, or is another one
	EndNotAuthorized  = "not_authorized"    // refused for what it is or did
	EndDiscarded      = "discarded"         // its session was discarded
	EndInternalError  = "internal_error"    // our fault
	EndProtocolError  = "protocol_error"    // the client broke the protocol
	EndServerShutdown = "server_shutdown"   // we are stopping
	EndSlowConnect    = "slow_connect"      // no complete CONNECT in time
	EndRefused        = "refused"           // CONNECT was answered with a refusal that has no word above
	EndMemory         = "memory"            // it held memory that others waited for
)

// The reasons given to Options.OnRefuse and counted in [Totals]. They concern
// sockets that never became an MQTT connection.
const (
	RefusedMaxConnections     = "max_connections"
	RefusedMaxPerAddress      = "max_connections_per_address"
	RefusedConnectRate        = "connect_rate"
	RefusedMaxUnauthenticated = "max_unauthenticated"
	RefusedMemory             = "unauthenticated_memory"
	RefusedPressure           = "memory_pressure" // memory is short, and others are connecting
	RefusedShuttingDown       = "shutting_down"
	RefusedSlowConnect        = "slow_connect"
	RefusedTooLarge           = "connect_too_large"
	RefusedNotMQTT            = "not_mqtt"
	RefusedNotWebSocket       = "not_websocket"
	RefusedOrigin             = "origin" // a web page that may not connect
	RefusedNotTLS             = "not_tls"
	RefusedTLS                = "tls_handshake"      // it failed; often the client does not trust our certificate
	RefusedCertificate        = "client_certificate" // that is not good
	RefusedProxyHeader        = "proxy_header"       // missing or broken, from a proxy
	RefusedVersion            = "unsupported_version"
	RefusedVersionNotAllowed  = "version_not_allowed" // on this listener
	RefusedClientID           = "client_id_not_valid"
	RefusedMalformed          = "malformed_connect"
)

// endWord is the word for an end that reason code r explains.
func endWord(r wire.Reason) string {
	switch r {
	case wire.SessionTakenOver:
		return EndTakenOver
	case wire.KeepAliveTimeout:
		return EndKeepAlive
	case wire.ServerShuttingDown:
		return EndServerShutdown
	case wire.AdministrativeAction:
		return EndKicked
	case wire.NotAuthorized, wire.BadUserNameOrPassword, wire.Banned, wire.BadAuthMethod:
		return EndNotAuthorized
	case wire.UnspecifiedError, wire.ImplementationError:
		return EndInternalError
	}
	return EndProtocolError
}

// connackWord is the word for a connection whose CONNECT was refused with r.
func connackWord(r wire.Reason) string {
	switch r {
	case wire.ServerUnavailable, wire.ServerBusy, wire.QuotaExceeded, wire.ConnectionRateExceeded,
		wire.UseAnotherServer, wire.ServerMoved:
		return EndRefused
	}
	return endWord(r)
}

// errorWord is the word for a connection that the server gave up with err.
func errorWord(err error) string {
	var we *wire.Error
	if errors.As(err, &we) {
		return endWord(we.Reason)
	}
	var code packets.Code
	if errors.As(err, &code) && code.Code >= byte(wire.UnspecifiedError) {
		return endWord(wire.Reason(code.Code))
	}
	return EndInternalError
}
