// Package dial connects the project's own MQTT clients, and uplinks, to a broker:
// over TCP, a unix socket or WebSocket, encrypted or not, as the address says, and
// through a proxy if need be. It knows no MQTT; who gets a connection speaks it, and
// closes the connection.
package dial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// Broker connects to address: "host:port", also with "tcp://" or "mqtt://"
// before it, "unix:/path", "ws://host:port/path", or, over TLS,
// "mqtts://host:port" or "wss://host:port/path". wait bounds connecting, the
// handshakes of TLS and WebSocket included; ctx does too, but ends nothing once
// Broker has returned. Over TLS the broker must have a certificate of an
// authority that the system trusts; see Secure.
func Broker(ctx context.Context, address string, wait time.Duration) (net.Conn, error) {
	return Secure(ctx, address, wait, nil)
}

// Secure is Broker with a configuration of TLS, for addresses over TLS. A
// broker that does not show a certificate for its host is an error that wraps
// a *tls.CertificateVerificationError.
func Secure(ctx context.Context, address string, wait time.Duration, config *tls.Config) (net.Conn, error) {
	return Through(ctx, &net.Dialer{Timeout: wait}, address, wait, config)
}

// Through is Secure by connections that dialer makes; wait bounds those, too.
func Through(ctx context.Context, dialer Dialer, address string, wait time.Duration, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return dialer.DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
	}
	scheme, where, ok := strings.Cut(address, "://")
	if !ok {
		return dialer.DialContext(ctx, "tcp", address)
	}
	switch scheme {
	case "tcp", "mqtt":
		return dialer.DialContext(ctx, "tcp", where)
	case "mqtts":
		return dialTLS(ctx, dialer, where, config)
	case "ws", "wss":
		return dialWebSocket(ctx, dialer, address, config)
	}
	return nil, fmt.Errorf("scheme %q is not known; write host:port, mqtts://host:port, unix:/path, ws:// or wss://host:port/path", scheme)
}
