// Package dial connects the project's own MQTT clients to a broker: over TCP,
// a unix socket or WebSocket, as the address says.
package dial

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// Broker connects to address: "host:port", also with "tcp://" or "mqtt://"
// before it, "unix:/path", or "ws://host:port/path". wait bounds connecting,
// the handshake of WebSocket included; ctx does too, but ends nothing once
// Broker has returned.
func Broker(ctx context.Context, address string, wait time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: wait}
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
	case "ws":
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		return dialWebSocket(ctx, &dialer, address)
	}
	return nil, fmt.Errorf("scheme %q is not known; write host:port, unix:/path or ws://host:port/path", scheme)
}
