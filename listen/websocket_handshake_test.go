package listen

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/synthetism/edgebroker/wire"
)

// listenWS starts a WebSocket listener that pages of the given origins may use.
func (r *rig) listenWS(origins ...string) *Listener {
	r.Helper()
	return r.start(Config{ID: TypeWebSocket, Type: TypeWebSocket, Address: "127.0.0.1:0", Policy: Policy{Origins: origins}})
}

// [MQTT-6.0.0-4] [MQTT3-6.0.0-4]
func TestWebSocketHandshake(t *testing.T) {
	const own = "Origin: http://broker:9001"
	for _, tc := range []struct {
		name    string
		path    string
		replace []string
		origins []string
		status  int
		word    string // the refusal
		text    string // part of the answer's header or body
	}{
		{name: "plain", path: "/mqtt", status: 101, text: "Sec-Websocket-Protocol: mqtt\r"},
		{name: "root", path: "/", status: 101},
		{name: "path of other brokers", path: "/ws", status: 101},
		{name: "query", path: "/mqtt?token=x", status: 101},
		{name: "other path", path: "/mqtt/x", status: 404, word: RefusedNotWebSocket, text: "MQTT is at path /mqtt"},
		{name: "old subprotocol", path: "/mqtt", replace: []string{"Sec-WebSocket-Protocol: mqttv3.1"}, status: 101, text: "Sec-Websocket-Protocol: mqttv3.1\r"},
		{name: "both subprotocols", path: "/mqtt", replace: []string{"Sec-WebSocket-Protocol: mqttv3.1, foo,mqtt"}, status: 101, text: "Sec-Websocket-Protocol: mqtt\r"},
		{name: "no subprotocol", path: "/mqtt", replace: []string{"Sec-WebSocket-Protocol:"}, status: 400, word: RefusedNotWebSocket, text: `ask for subprotocol "mqtt"`},
		{name: "other subprotocol", path: "/mqtt", replace: []string{"Sec-WebSocket-Protocol: amqp, mqtt5"}, status: 400, word: RefusedNotWebSocket, text: `ask for subprotocol "mqtt"`},
		{name: "compression offered", path: "/mqtt", replace: []string{"Sec-WebSocket-Extensions: permessage-deflate"}, status: 101},
		{name: "a browser that wants a page", path: "/", replace: []string{"Upgrade:", "Connection: close"}, status: 426, word: RefusedNotWebSocket, text: "this is MQTT over WebSocket, there is no page to see; point an MQTT client to ws://broker:9001/mqtt"},
		{name: "upgrade to something else", path: "/", replace: []string{"Upgrade: h2c"}, status: 426, word: RefusedNotWebSocket, text: "Upgrade: websocket"},
		{name: "connection not upgraded", path: "/", replace: []string{"Connection: close"}, status: 426, word: RefusedNotWebSocket},
		{name: "old version", path: "/", replace: []string{"Sec-WebSocket-Version: 8"}, status: 400, word: RefusedNotWebSocket, text: "Sec-Websocket-Version: 13"},
		{name: "no key", path: "/", replace: []string{"Sec-WebSocket-Key:"}, status: 400, word: RefusedNotWebSocket},
		{name: "header too large", path: "/", replace: []string{"X-Long: " + strings.Repeat("x", maxHandshake)}, status: 431, word: RefusedNotWebSocket, text: "larger than 16384 bytes"},
		{name: "header as large as allowed", path: "/", replace: []string{"X-Long: " + strings.Repeat("x", maxHandshake-500)}, status: 101},
		{name: "broken request", path: "/ x", status: 400, word: RefusedNotWebSocket, text: "not an HTTP request"},
		{name: "own origin", path: "/", replace: []string{own}, status: 403, word: RefusedOrigin, text: `pages of "http://broker:9001" may not connect; the broker's owner can add it to allowed_origins`}, // rebinding, see below
		{name: "own origin by address", path: "/", replace: []string{"Host: 127.0.0.1:9001", "Origin: http://127.0.0.1:9001"}, status: 101},
		{name: "own origin as localhost", path: "/", replace: []string{"Host: LocalHost:9001", "Origin: http://localhost:9001"}, status: 101},
		{name: "own origin, other port", path: "/", replace: []string{"Host: localhost:9001", "Origin: http://localhost"}, status: 403, word: RefusedOrigin},
		{name: "other origin", path: "/", replace: []string{"Origin: https://evil.example"}, status: 403, word: RefusedOrigin},
		{name: "listed origin", path: "/", origins: []string{"https://a.example", "https://b.example:8443"}, replace: []string{"Origin: https://B.example:8443"}, status: 101},
		{name: "listed origin, other scheme", path: "/", origins: []string{"https://a.example"}, replace: []string{"Origin: http://a.example"}, status: 403, word: RefusedOrigin},
		{name: "listed origin as a prefix", path: "/", origins: []string{"https://a.example"}, replace: []string{"Origin: https://a.example.evil"}, status: 403, word: RefusedOrigin},
		{name: "own origin, listed", path: "/", origins: []string{"http://broker:9001"}, replace: []string{own}, status: 101},
		{name: "page without origin", path: "/", replace: []string{"Origin: null"}, status: 403, word: RefusedOrigin},
		{name: "any origin", path: "/", origins: []string{"*"}, replace: []string{"Origin: null"}, status: 101},
		{name: "origin with quotes", path: "/", replace: []string{"Origin: \"\x1b[31m<b>"}, status: 400, word: RefusedNotWebSocket},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			c := r.dialWS(r.listenWS(tc.origins...))
			c.send(wsRequest(tc.path, tc.replace...))
			res := c.response()
			var text strings.Builder
			_ = res.Header.Write(&text)
			if tc.status != http.StatusSwitchingProtocols {
				body, err := io.ReadAll(res.Body)
				if err != nil || len(body) == 0 || !res.Close {
					t.Errorf("body %q, %v, close %v", body, err, res.Close)
				}
				text.Write(body)
			} else if got := res.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || res.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Errorf("accepted with %v", res.Header)
			}
			if res.StatusCode != tc.status || !strings.Contains(text.String(), tc.text) {
				t.Errorf("answered %s\n%s", res.Status, &text)
			}
			if tc.word == "" {
				c.send(wsMessage(connectFrame(v311("c"))))
				c.want(wsBinary)
				return
			}
			if b := c.rest(); len(b) > 0 {
				t.Errorf("%q after the answer", b)
			}
			if got := await(t, r.refused, "refusal"); got != tc.word {
				t.Errorf("refused with %q", got)
			}
			if e := r.end(); e.word != EndProtocolError || e.conn.Connect() != nil || strings.Contains(e.err.Error(), "\n") {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
		})
	}
}

// TestWebSocketRebound looks at pages whose host name may have been made to
// stand for this machine.
func TestWebSocketRebound(t *testing.T) {
	for _, tc := range []struct {
		local, host string
		want        bool
	}{
		{"127.0.0.1", "evil.example", true},
		{"::1", "evil.example", true},
		{"::ffff:127.0.0.1", "localhost.evil.example", true},
		{"127.0.0.1", "127.0.0.1", false},
		{"::1", "::1", false},
		{"127.0.0.1", "localhost", false},
		{"192.0.2.1", "gateway.example", false},
	} {
		w := newWebSocket(&addressed{local: &net.TCPAddr{IP: net.ParseIP(tc.local)}}, nil)
		if got := w.rebound(tc.host); got != tc.want {
			t.Errorf("%s at %s: %v", tc.host, tc.local, got)
		}
	}
}

// addressed is a conn with a local address.
type addressed struct {
	net.Conn
	local net.Addr
}

func (a *addressed) LocalAddr() net.Addr { return a.local }

// TestWebSocketNotHTTP connects what does not speak HTTP.
func TestWebSocketNotHTTP(t *testing.T) {
	for name, in := range map[string][]byte{
		"MQTT": connectFrame(v5("c")), "TLS": {0x16, 0x03, 0x01, 0x02, 0x00}, "zeros": make([]byte, 100),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			c := r.dialWS(r.listenWS()).send(in)
			if got := await(t, r.refused, "refusal"); got != RefusedNotWebSocket {
				t.Errorf("refused with %q", got)
			}
			if n, _ := c.Read(make([]byte, 1)); n > 0 {
				t.Error("there was an answer")
			}
			if e := r.end(); e.word != EndProtocolError {
				t.Errorf("ended with %q", e.word)
			}
		})
	}
	t.Run("gone before the handshake is complete", func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		r.dialWS(r.listenWS()).send(wsRequest("/")[:50]).Close()
		if e := r.end(); e.word != EndTCPClosed {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
		if n := r.gate.Totals(); len(n.Refused) > 0 {
			t.Errorf("refused %v", n.Refused)
		}
	})
}

// TestWebSocketSlow bounds the time until CONNECT is complete, handshake
// included, whatever arrives meanwhile.
func TestWebSocketSlow(t *testing.T) {
	for name, tc := range map[string]struct {
		first []byte // at once, and its answer read
		drip  []byte // a byte per second
	}{
		"nothing comes":                 {},
		"a handshake byte by byte":      {nil, wsRequest("/mqtt")},
		"nothing after the handshake":   {wsRequest("/mqtt"), nil},
		"a CONNECT byte by byte":        {wsRequest("/mqtt"), wsMessage(connectFrame(v311("client")))},
		"empty messages, no CONNECT":    {wsRequest("/mqtt"), bytes.Repeat(wsMessage(), 3)},
		"pings, the answers never read": {wsRequest("/mqtt"), bytes.Repeat(wsFrame(wsPing, true, nil), 3)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{Limits: Limits{ConnectTimeout: 10 * time.Second}}, &fakeServer{})
				begin := time.Now()
				c := r.pipeWS()
				done := make(chan struct{})
				go func() {
					defer close(done)
					if tc.first != nil {
						c.send(tc.first)
						c.response()
					}
					for _, b := range tc.drip {
						time.Sleep(time.Second)
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
					}
				}()
				word, refusals := EndSlowConnect, uint64(1)
				if strings.HasPrefix(name, "pings") { // ends it even earlier
					word, refusals = EndTCPClosed, 0
				}
				if e := r.end(); e.word != word {
					t.Errorf("ended with %q, %v", e.word, e.err)
				}
				if n := r.gate.Totals().Refused[RefusedSlowConnect]; n != refusals {
					t.Errorf("%d refusals", n)
				}
				if d := time.Since(begin); d > 11*time.Second {
					t.Errorf("took %v", d)
				}
				eventuallyGone(t, r.gate)
				c.Close()
				<-done
			})
		})
	}
}

// eventuallyGone waits, on virtual time, until the gate has no connections.
func eventuallyGone(t *testing.T, g *Gate) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
		t.Error(err)
	}
}

// TestWebSocketUnauthenticated counts a connection from accept on, not from
// the handshake.
func TestWebSocketUnauthenticated(t *testing.T) {
	r := newRig(t, Options{Limits: Limits{MaxUnauthenticated: 2}}, &fakeServer{})
	l := r.listenWS()
	silent, shaken := r.dialWS(l), r.dialWS(l).upgrade()
	eventually(t, "two connections", func() bool { return r.gate.Totals().Unauthenticated == 2 })
	third := r.dialWS(l)
	if got := await(t, r.refused, "refusal"); got != RefusedMaxUnauthenticated {
		t.Errorf("refused with %q", got)
	}
	if out := third.rest(); len(out) > 0 {
		t.Errorf("sent %q", out)
	}
	shaken.send(wsMessage(connectFrame(v311("a"))))
	shaken.want(wsBinary)
	eventually(t, "room", func() bool { return r.gate.Totals().Unauthenticated == 1 })
	silent.wsConnect(v311("b"))
}

// TestWebSocketOtherClient talks with the library's own client.
func TestWebSocketOtherClient(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listenWS()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+l.Address()+"/mqtt", &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, websocket.NetConn(ctx, ws, websocket.MessageBinary)).connect(v5("c"))
	conn := r.conn()
	if conn.Listener() != TypeWebSocket || !strings.HasPrefix(conn.Remote(), "127.0.0.1:") {
		t.Errorf("listener %q, remote %q", conn.Listener(), conn.Remote())
	}
	conn.Kick(wire.SessionTakenOver, EndTakenOver)
	if got := wire.Reason(c.frame().Body[0]); got != wire.SessionTakenOver {
		t.Errorf("disconnected with %v", got)
	}
	if _, err := c.br.ReadByte(); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v", err)
	}
	if e := r.end(); e.word != EndTakenOver {
		t.Errorf("ended with %q", e.word)
	}
}
