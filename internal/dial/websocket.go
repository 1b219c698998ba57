package dial

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	defaultPath = "/mqtt"     // of a URL without one; what most brokers use
	closeWait   = time.Second // for the broker to agree to the end
)

// webSocket is MQTT over WebSocket: binary messages as a stream of bytes.
// Deadlines and addresses are those of the socket below.
type webSocket struct {
	net.Conn
	below net.Conn
}

func (w *webSocket) SetDeadline(t time.Time) error      { return w.below.SetDeadline(t) }
func (w *webSocket) SetReadDeadline(t time.Time) error  { return w.below.SetReadDeadline(t) }
func (w *webSocket) SetWriteDeadline(t time.Time) error { return w.below.SetWriteDeadline(t) }
func (w *webSocket) LocalAddr() net.Addr                { return w.below.LocalAddr() }
func (w *webSocket) RemoteAddr() net.Addr               { return w.below.RemoteAddr() }

// Close does the closing handshake, and waits for it a second at most.
func (w *webSocket) Close() error {
	_ = w.below.SetDeadline(time.Now().Add(closeWait))
	return w.Conn.Close()
}

func dialWebSocket(ctx context.Context, dialer Dialer, address string, config *tls.Config) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL; write ws://host:port/path", address)
	}
	if u.Path == "" {
		u.Path = defaultPath
	}
	var below net.Conn
	transport := &http.Transport{TLSClientConfig: configFor(config, u.Hostname(), "http/1.1"), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dialer.DialContext(ctx, network, addr)
		if err == nil {
			below = nc
		}
		return nc, err
	}}
	defer transport.CloseIdleConnections()
	ws, res, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Subprotocols: []string{"mqtt"}, // [MQTT-6.0.0-3]
	})
	switch {
	case err == nil:
	case res != nil:
		return nil, refused(res)
	default:
		return nil, err
	}
	if ws.Subprotocol() != "mqtt" { // [MQTT-6.0.0-4]
		_ = ws.CloseNow()
		return nil, fmt.Errorf("the server at %s does not speak MQTT (it agreed to subprotocol %q)", u.Host, ws.Subprotocol())
	}
	return &webSocket{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), below}, nil
}

// refused words the answer of a server that did not agree to the handshake.
func refused(res *http.Response) error {
	var text string
	if res.Body != nil {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		text, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	}
	if text == "" {
		return fmt.Errorf("the server did not agree to a WebSocket: HTTP status %d", res.StatusCode)
	}
	return fmt.Errorf("the server did not agree to a WebSocket: HTTP status %d, %q", res.StatusCode, text)
}
