package listen

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/wire"
)

// The words that say why a connection ended; see [Conn.EndReason].
// docs/REFERENCE.md lists them by these comments.
const (
	EndNormal         = "normal"            // the client has sent DISCONNECT
	EndTCPClosed      = "tcp_closed"        // the client went away without
	EndKeepAlive      = "keepalive_timeout" // nothing was heard of it for one and a half times its keep alive
	EndTakenOver      = "takenover"         // another connection came with its client identifier
	EndKicked         = "kicked"            // an operator ended it
	EndListenerClosed = "listener_closed"   // its listener is not there any more, or is another one: docs/RELOAD.md
	EndNotAuthorized  = "not_authorized"    // refused for what it is or did
	EndInternalError  = "internal_error"    // our fault
	EndProtocolError  = "protocol_error"    // it broke the protocol; the event says how
	EndServerShutdown = "server_shutdown"   // the broker stops
	EndSlowConnect    = "slow_connect"      // no complete CONNECT in time
	EndRefused        = "refused"           // CONNECT was answered with a refusal that has no word of its own
	EndMemory         = "memory"            // it held memory that others waited for: docs/MEMORY.md
	EndStoreFull      = "store_full"        // it spoke MQTT 3, and there was no room for what it had published: docs/DURABILITY.md
)

// The reasons given to Options.OnRefuse and counted in [Totals]. They concern
// sockets that never became an MQTT connection. docs/REFERENCE.md lists them by
// these comments.
const (
	RefusedMaxConnections     = "max_connections"             // there are as many as `limits.max_connections`, or the listener's own bound, allows
	RefusedMaxPerAddress      = "max_connections_per_address" // there are as many from its address as may be
	RefusedConnectRate        = "connect_rate"                // its address has come too often within a second
	RefusedMaxUnauthenticated = "max_unauthenticated"         // too many others have not finished CONNECT: `limits.max_unauthenticated`
	RefusedMemory             = "unauthenticated_memory"      // those who have not finished CONNECT hold all the memory that they may
	RefusedPressure           = "memory_pressure"             // memory is short, and others are connecting: docs/MEMORY.md
	RefusedShuttingDown       = "shutting_down"               // the broker stops
	RefusedSlowConnect        = "slow_connect"                // no complete CONNECT within `limits.connect_timeout`
	RefusedTooLarge           = "connect_too_large"           // its CONNECT is longer than `limits.max_connect_size`
	RefusedNotMQTT            = "not_mqtt"                    // what came is no CONNECT: another protocol, such as TLS or HTTP to a plain port
	RefusedNotWebSocket       = "not_websocket"               // what came is no WebSocket handshake for MQTT
	RefusedOrigin             = "origin"                      // a web page that `allowed_origins` does not name
	RefusedNotTLS             = "not_tls"                     // what came to a port for TLS is none, such as plain MQTT
	RefusedTLS                = "tls_handshake"               // it failed; often the client does not trust our certificate
	RefusedCertificate        = "client_certificate"          // the client's is missing, revoked, expired, or of another authority
	RefusedProxyHeader        = "proxy_header"                // missing or broken, from a proxy
	RefusedVersion            = "unsupported_version"         // a version of MQTT that nobody here speaks
	RefusedVersionNotAllowed  = "version_not_allowed"         // one that `mqtt_versions` of the listener leaves out
	RefusedClientID           = "client_id_not_valid"         // it is empty where there must be one, or no text
	RefusedMalformed          = "malformed_connect"           // its CONNECT breaks the rules of MQTT
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
