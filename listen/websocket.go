package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/synthetism/edgebroker/wire"
)

const (
	webSocketInput  = 2 << 10 // bytes read at once; an idle WebSocket keeps this buffer
	webSocketOutput = 1 << 10 // a message that fits, frame header included, is one write; kept too
	webSocketFrame  = 8 << 10 // largest message written: a pong never waits behind more
)

// webSocket is the socket of a client that speaks MQTT over WebSocket. Read
// yields the payloads of binary messages, wherever their frames begin and end
// [MQTT-6.0.0-2]; writeMessages sends binary messages. It begins as a plain
// socket, on which accept does the handshake. One goroutine reads, handshake
// included, and one at a time writes; deadlines are set from any.
//
// Deadlines are those of the socket below: an expired one interrupts a reader
// but leaves the WebSocket fit for a last message and the closing handshake.
// Reading can then not be taken up again.
type webSocket struct {
	*transport
	origins []string // that may connect besides the listener's own; "*" is any
	local   net.Addr // that the client has reached, if a proxy has said so

	// The reader's.
	ws     *websocket.Conn // nil before the handshake is done
	br     *bufio.Reader   // what ws reads from
	msg    io.Reader       // the current message; nil between two
	ahead  [1]byte         // the first byte of what can be read
	waited bool            // ahead is set
	err    error           // that ended reading
	text   bool            // the client sent a text message
	said   bool            // there was an answer to the handshake

	writing sync.Mutex // held while messages are written
	owed    atomic.Pointer[[]byte]
}

func newWebSocket(nc net.Conn, origins []string) *webSocket {
	return &webSocket{transport: &transport{Conn: nc, left: math.MaxInt}, origins: origins}
}

// transport is the socket below a WebSocket.
type transport struct {
	net.Conn
	left    int         // bytes that may still be read
	idle    func()      // called by Read before it waits; may be nil
	readErr error       // of the last Read, the reader's
	lost    atomic.Bool // the peer is gone, or bytes towards it have been lost
}

var errTooMuch = errors.New("more input than allowed")

func (t *transport) Read(p []byte) (int, error) {
	if t.left <= 0 {
		t.readErr = errTooMuch
		return 0, t.readErr
	}
	if t.idle != nil {
		t.idle()
	}
	n, err := t.Conn.Read(p[:min(len(p), t.left)])
	if t.left < math.MaxInt {
		t.left -= n
	}
	t.readErr = err
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.lost.Store(true)
	}
	return n, err
}

func (t *transport) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		t.lost.Store(true)
	}
	return n, err
}

// SetReadDeadline bounds the reader. One that has passed wakes the reader even
// from writing a pong to a peer that takes nothing.
func (w *webSocket) SetReadDeadline(t time.Time) error {
	if now := time.Now(); !t.IsZero() && t.Before(now) {
		_ = w.Conn.SetWriteDeadline(now.Add(drainTimeout))
	}
	return w.Conn.SetReadDeadline(t)
}

// wait returns when there is something to Read. Before it waits for the socket
// it calls idle: nobody needs a buffer then.
func (w *webSocket) wait(idle func()) error {
	w.idle = idle
	defer func() { w.idle = nil }()
	for !w.waited && w.err == nil {
		w.err = w.advance()
	}
	if w.waited {
		return nil
	}
	return w.err
}

// advance reads the first byte of the current message, if it has one left, or
// begins the next message.
func (w *webSocket) advance() error {
	if w.msg == nil {
		kind, msg, err := w.ws.Reader(context.Background())
		if err != nil {
			return w.failed(err)
		}
		if kind != websocket.MessageBinary {
			w.text = true
			return &wire.Error{Reason: wire.ProtocolError, Rule: "[MQTT-6.0.0-1]", Detail: "WebSocket message is text instead of binary"}
		}
		w.msg = msg
	}
	n, err := w.msg.Read(w.ahead[:])
	w.waited = n > 0
	return w.ended(err)
}

// ended looks at an error of reading the current message.
func (w *webSocket) ended(err error) error {
	switch err {
	case nil:
		return nil
	case io.EOF:
		w.msg = nil
		return nil
	}
	return w.failed(err)
}

// Read waits for input and returns what has come of the current frame: a
// message is used as it arrives, however long it may be.
func (w *webSocket) Read(p []byte) (int, error) {
	if err := w.wait(nil); err != nil {
		return 0, err
	}
	p[0], w.waited = w.ahead[0], false
	n := 1
	if k := min(len(p)-1, w.br.Buffered()); k > 0 && w.msg != nil {
		m, err := w.msg.Read(p[1 : 1+k])
		n += m
		w.err = w.ended(err)
	}
	return n, nil
}

// failed words an error of reading: io.EOF if the client closed in order, a
// *wire.Error if it broke the rules of WebSocket.
func (w *webSocket) failed(err error) error {
	switch code := websocket.CloseStatus(err); code {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	case -1:
	default:
		return fmt.Errorf("client closed the WebSocket: %w", err)
	}
	switch {
	case w.readErr != nil:
		return w.readErr
	case w.lost.Load(), errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return err // a pong could not be sent
	}
	return &wire.Error{Reason: wire.ProtocolError, Detail: "WebSocket: " + err.Error()}
}

// Write sends p.
func (w *webSocket) Write(p []byte) (int, error) { return w.writeMessages([][]byte{p}) }

// writeMessages sends list as one or more binary messages [MQTT-6.0.0-1] and
// returns how many of its bytes went in complete ones. It uses up list, but
// does not touch what that refers to.
func (w *webSocket) writeMessages(list [][]byte) (total int, err error) {
	p := pages.Get().(*page)
	defer pages.Put(p)
	w.writing.Lock()
	defer w.unlockWriting()
	for {
		n := 0
		for len(list) > 0 && n < webSocketFrame {
			k := copy(p[n:webSocketFrame], list[0])
			n += k
			if k < len(list[0]) {
				list[0] = list[0][k:]
			} else {
				list = list[1:]
			}
		}
		if n == 0 {
			return total, nil
		}
		if err := w.ws.Write(context.Background(), websocket.MessageBinary, p[:n]); err != nil {
			return total, err
		}
		total += n
		w.sendPong()
	}
}

// pinged decides whether the pong to a ping is sent at once. It is not while
// messages are written, since that may take as long as the peer likes and the
// reader must not wait for it: then the last ping is answered in between.
func (w *webSocket) pinged(_ context.Context, payload []byte) bool {
	if w.writing.TryLock() {
		w.unlockWriting()
		return true
	}
	pong := append([]byte{0x8A, byte(len(payload))}, payload...) // RFC 6455, 5.5.3: final frame, no mask
	w.owed.Store(&pong)
	if w.writing.TryLock() { // or else who holds it will look again
		w.unlockWriting()
	}
	return false
}

// sendPong sends the pong that is owed. The caller holds writing.
func (w *webSocket) sendPong() {
	if pong := w.owed.Swap(nil); pong != nil {
		_, _ = w.transport.Write(*pong) // who writes next sees the error
	}
}

func (w *webSocket) unlockWriting() {
	for again := true; again; again = w.owed.Load() != nil && w.writing.TryLock() {
		w.sendPong()
		w.writing.Unlock()
	}
}

// depart says goodbye and closes the socket, within lingerTimeout: with the
// closing handshake, or, if there is no WebSocket yet, as any other socket.
// Nobody may be reading or writing.
func (w *webSocket) depart(code websocket.StatusCode) error {
	if t, ok := w.Conn.(*tlsSocket); ok && !t.shaken.Load() {
		return t.depart(false)
	}
	switch {
	case w.lost.Load() && w.ws != nil:
		return w.ws.CloseNow()
	case w.lost.Load() || !w.said:
		return w.Conn.Close()
	}
	w.left = lingerBytes
	_ = w.Conn.SetDeadline(time.Now().Add(lingerTimeout))
	if w.ws != nil {
		return w.ws.Close(code, "")
	}
	if hc, ok := w.Conn.(interface{ CloseWrite() error }); ok && hc.CloseWrite() == nil {
		linger(w.transport)
	}
	return w.Conn.Close()
}

// closeCode is the WebSocket's word for the reason word of a connection's end.
func (w *webSocket) closeCode(word string) websocket.StatusCode {
	switch {
	case w.text:
		return websocket.StatusUnsupportedData
	case word == EndNormal:
		return websocket.StatusNormalClosure
	case word == EndServerShutdown:
		return websocket.StatusGoingAway
	case word == EndProtocolError:
		return websocket.StatusProtocolError
	case word == EndInternalError:
		return websocket.StatusInternalError
	}
	return websocket.StatusPolicyViolation
}
