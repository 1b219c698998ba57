package listen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/synthetism/edgebroker/wire"
)

// The opcodes of WebSocket frames.
const (
	wsContinue = 0
	wsText     = 1
	wsBinary   = 2
	wsClose    = 8
	wsPing     = 9
	wsPong     = 10
)

// wsFrame is one frame as a client sends it, masked.
func wsFrame(op byte, final bool, payload []byte) []byte {
	b := []byte{op}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

func wsMessage(payload ...[]byte) []byte { return wsFrame(wsBinary, true, bytes.Join(payload, nil)) }

// wsRequest is a handshake with the given header lines in place of the usual.
func wsRequest(path string, replace ...string) []byte {
	lines := []string{"Host: broker:9001", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: mqtt"}
	for _, r := range replace {
		name, value, _ := strings.Cut(r, ":")
		for i, l := range lines {
			if strings.HasPrefix(l, name+":") {
				lines[i] = ""
			}
		}
		if value != "" {
			lines = append(lines, r)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	for _, l := range lines {
		if l != "" {
			b.WriteString(l + "\r\n")
		}
	}
	return []byte(b.String() + "\r\n")
}

// wsClient is the far end of a WebSocket that shows every frame.
type wsClient struct{ *client }

// dialWS connects without shaking hands.
func (r *rig) dialWS(l *Listener) *wsClient {
	r.Helper()
	return &wsClient{r.dial(l)}
}

func (c *wsClient) response() *http.Response {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.Fatal(err)
	}
	return res
}

func (c *wsClient) upgrade() *wsClient {
	c.Helper()
	c.send(wsRequest("/mqtt"))
	if res := c.response(); res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Protocol") != "mqtt" || res.Header.Get("Sec-WebSocket-Extensions") != "" {
		c.Fatalf("%+v", res)
	}
	return c
}

// wsConnect shakes hands and logs in.
func (c *wsClient) wsConnect(con wire.Connect) *wsClient {
	c.Helper()
	c.upgrade().send(wsMessage(connectFrame(con)))
	if p := c.want(wsBinary); wire.Type(p[0]>>4) != wire.CONNACK {
		c.Fatalf("got %x instead of CONNACK", p)
	}
	return c
}

// next reads one frame; a server's are not masked and not in parts.
func (c *wsClient) next() (op byte, payload []byte) {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var h [2]byte
	if _, err := io.ReadFull(c.br, h[:]); err != nil {
		c.Fatalf("read frame: %v", err)
	}
	n := uint64(h[1])
	if ext := map[byte]int{126: 2, 127: 8}[h[1]]; ext > 0 {
		var b [8]byte
		if _, err := io.ReadFull(c.br, b[8-ext:]); err != nil {
			c.Fatalf("read frame: %v", err)
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	if h[0]&0xf0 != 0x80 || h[1]&0x80 != 0 || n > 1<<20 {
		c.Fatalf("frame begins with %x", h)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(c.br, payload); err != nil {
		c.Fatalf("read frame: %v", err)
	}
	return h[0] & 0xf, payload
}

func (c *wsClient) want(op byte) []byte {
	c.Helper()
	got, payload := c.next()
	if got != op {
		c.Fatalf("got a frame of type %d, %q", got, payload)
	}
	return payload
}

// wantClose reads the close frame that must be all that is left, and answers.
func (c *wsClient) wantClose(code websocket.StatusCode) {
	c.Helper()
	p := c.want(wsClose)
	if len(p) < 2 || websocket.StatusCode(binary.BigEndian.Uint16(p)) != code {
		c.Errorf("closed with %x, want %d", p, code)
	}
	c.send(wsFrame(wsClose, true, p))
	if b := c.rest(); len(b) > 0 {
		c.Errorf("%x after the close frame", b)
	}
}

// pipeWS connects a client without a listener.
func (r *rig) pipeWS() *wsClient {
	ours, theirs := net.Pipe()
	if c := r.admit(newWebSocket(ours, nil)); c != nil {
		go c.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
	}
	return &wsClient{newClient(r.TB, theirs)}
}
