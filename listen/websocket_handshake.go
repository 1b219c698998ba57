package listen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

// maxHandshake bounds the bytes of a handshake; browsers with cookies of
// other services on the same host need a few thousand.
const maxHandshake = 16 << 10

// WebSocketPath is the path at which to tell clients to connect.
const WebSocketPath = "/mqtt"

// webSocketPaths are those that MQTT clients use unless told otherwise. A
// request for another one was most likely not meant for us.
var webSocketPaths = [...]string{WebSocketPath, "/", "/ws"}

// webSocketProtocols are the names of MQTT as a WebSocket subprotocol: the one
// of the standard [MQTT-6.0.0-3], and that of clients of MQTT 3.1.
var webSocketProtocols = [...]string{"mqtt", "mqttv3.1"}

// upgrade makes the connection a WebSocket if its listener is for these.
func (c *Conn) upgrade() error {
	w, ok := c.nc.(*webSocket)
	if !ok {
		return nil
	}
	word, err := w.accept()
	switch {
	case err == nil:
		return nil
	case c.closed.Load(): // ended meanwhile: that is why reading ended
		return errEnded
	case word == "":
		return c.readFailed(err)
	}
	return c.refuse(word, nil, err)
}

// accept does the handshake, bounded by the socket's read deadline. When it
// fails, the client has been told why, as far as it would understand; the word
// is the reason for refusing it, or empty if it went away.
func (w *webSocket) accept() (word string, err error) {
	w.left = maxHandshake
	w.br = bufio.NewReaderSize(w.transport, webSocketInput)
	var req *http.Request
	first, err := w.br.Peek(1)
	if err == nil {
		if first[0] < 'A' || first[0] > 'Z' {
			return RefusedNotWebSocket, fmt.Errorf("first byte %#x is not that of an HTTP request", first[0])
		}
		req, err = http.ReadRequest(w.br)
	}
	r := &response{ws: w, header: http.Header{}}
	switch {
	case err == nil:
	case errors.Is(w.readErr, os.ErrDeadlineExceeded):
		return RefusedSlowConnect, errors.New("no complete WebSocket handshake in time")
	case w.lost.Load():
		return "", w.readErr
	case w.readErr == errTooMuch:
		return r.refuse(http.StatusRequestHeaderFieldsTooLarge, RefusedNotWebSocket,
			fmt.Sprintf("the request is larger than %d bytes", maxHandshake))
	default:
		return r.refuse(http.StatusBadRequest, RefusedNotWebSocket, "this is not an HTTP request")
	}
	if word, err := w.check(r, req); err != nil {
		return word, err
	}
	ws, err := websocket.Accept(r, req, &websocket.AcceptOptions{
		Subprotocols:       webSocketProtocols[:],
		InsecureSkipVerify: true, // check has verified the origin
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     w.pinged,
	})
	switch {
	case err == nil:
	case r.status == http.StatusSwitchingProtocols:
		return "", err // it could not be sent
	default:
		return RefusedNotWebSocket, errors.Join(err, r.send())
	}
	ws.SetReadLimit(-1) // MQTT has limits of its own
	w.ws, w.left = ws, math.MaxInt
	return "", nil
}

// check refuses a request that WebSocket itself would have allowed.
func (w *webSocket) check(r *response, req *http.Request) (word string, err error) {
	switch {
	case !slices.ContainsFunc(headerTokens(req.Header, "Upgrade"), func(t string) bool { return strings.EqualFold(t, "websocket") }):
		r.header.Set("Upgrade", "websocket")
		r.header.Set("Connection", "Upgrade")
		return r.refuse(http.StatusUpgradeRequired, RefusedNotWebSocket,
			"this is MQTT over WebSocket, there is no page to see; point an MQTT client to "+w.scheme()+"://"+req.Host+WebSocketPath)
	case !slices.Contains(webSocketPaths[:], req.URL.Path):
		return r.refuse(http.StatusNotFound, RefusedNotWebSocket, "MQTT is at path "+WebSocketPath)
	case !slices.ContainsFunc(headerTokens(req.Header, "Sec-WebSocket-Protocol"), func(t string) bool {
		return slices.ContainsFunc(webSocketProtocols[:], func(p string) bool { return strings.EqualFold(p, t) })
	}): // [MQTT-6.0.0-3]
		return r.refuse(http.StatusBadRequest, RefusedNotWebSocket, `this is MQTT over WebSocket; ask for subprotocol "mqtt" (Sec-WebSocket-Protocol)`)
	case !w.originAllowed(req):
		return r.refuse(http.StatusForbidden, RefusedOrigin,
			"pages of "+strconv.QuoteToASCII(req.Header.Get("Origin"))+" may not connect; the broker's owner can add it to allowed_origins")
	}
	return "", nil
}

func (w *webSocket) scheme() string {
	if _, ok := w.Conn.(*tlsSocket); ok {
		return "wss"
	}
	return "ws"
}

// originAllowed tells whether the page that the request comes from may
// connect: one of the same host and port may, and those that are listed.
// Requests without an Origin do not come from a browser.
func (w *webSocket) originAllowed(req *http.Request) bool {
	values := req.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if slices.Contains(w.origins, "*") {
		return true
	}
	if len(values) > 1 {
		return false
	}
	if slices.ContainsFunc(w.origins, func(o string) bool { return strings.EqualFold(o, values[0]) }) {
		return true
	}
	u, err := url.Parse(values[0])
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, req.Host) && !w.rebound(u.Hostname())
}

// rebound tells whether a page of host may have come to us by a trick: a web
// site can let its own name stand for this machine (DNS rebinding), and so
// reach what listens for this machine only.
func (w *webSocket) rebound(host string) bool {
	local, ok := w.local.(*net.TCPAddr)
	if w.local == nil {
		local, ok = w.LocalAddr().(*net.TCPAddr)
	}
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil && !strings.EqualFold(host, "localhost")
}

// headerTokens are the elements of a header that is a list.
func headerTokens(h http.Header, name string) []string {
	var list []string
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(t))
		}
	}
	return list
}

// response is the answer to a handshake: an http.ResponseWriter that sends
// when it is complete, and hands out the socket.
type response struct {
	ws     *webSocket
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// Hijack sends the answer and hands out the socket with what has been read of
// it. It implements http.Hijacker.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := r.send(); err != nil {
		return nil, nil, err
	}
	return r.ws.transport, bufio.NewReadWriter(r.ws.br, bufio.NewWriterSize(r.ws.transport, webSocketOutput)), nil
}

// refuse answers with status and text, and returns word and an error.
func (r *response) refuse(status int, word, text string) (string, error) {
	http.Error(r, text, status)
	err := fmt.Errorf("WebSocket handshake answered with %d %s", status, http.StatusText(status))
	return word, errors.Join(err, r.send())
}

func (r *response) send() error {
	if r.status != http.StatusSwitchingProtocols {
		r.header.Add("Connection", "close")
		r.header.Set("Content-Length", strconv.Itoa(r.body.Len()))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	_ = r.header.Write(&b) // a Buffer takes all
	b.WriteString("\r\n")
	b.Write(r.body.Bytes())
	r.ws.said = true
	_, err := r.ws.transport.Write(b.Bytes())
	return err
}
