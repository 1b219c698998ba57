package listen

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/synthetism/edgebroker/wire"
)

// conversation is what a client says in the tests of framing, and what the
// server and the receiver must have got of it.
func conversation() (stream []byte, heard []string) {
	pub, sub := publish(wire.V311, 1, 7, []byte("hello")), subscribe(wire.V311, 8, "a/b")
	stream = bytes.Join([][]byte{pub, sub, pingreq, disconnect}, nil)
	return stream, []string{fmt.Sprintf("message PUBLISH %x", pub), fmt.Sprintf("control SUBSCRIBE %x", sub), fmt.Sprintf("control DISCONNECT %x", disconnect)}
}

// TestWebSocketFrames sends one conversation in frames and segments split and
// joined everywhere. [MQTT-6.0.0-2] [MQTT3-6.0.0-2]
func TestWebSocketFrames(t *testing.T) { over(t, testWebSocketFrames, TypeWebSocket, TypeWebSocketTLS) }

func testWebSocketFrames(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(kind)
	stream, heard := conversation()
	connect := connectFrame(v311("c"))
	seen := 0
	run := func(name string, parts ...[]byte) {
		t.Helper()
		c := r.dialWS(l).upgrade()
		for _, p := range parts {
			c.send(p)
		}
		var back []byte
		for len(back) < 4+4+2 { // CONNACK, SUBACK, PINGRESP
			back = append(back, c.want(wsBinary)...)
		}
		c.wantClose(websocket.StatusNormalClosure)
		if e := r.end(); e.word != EndNormal {
			t.Errorf("%s: ended with %q, %v", name, e.word, e.err)
		}
		lines := r.log.all()
		if got, want := strings.Join(lines[seen+1:], "\n"), strings.Join(heard, "\n"); got != want {
			t.Errorf("%s: heard\n%s\nwant\n%s", name, got, want)
		}
		seen = len(lines)
	}
	whole := append(bytes.Clone(connect), stream...)
	var single, fragments []byte
	for i, b := range whole {
		single = append(single, wsMessage([]byte{b})...)
		fragments = append(fragments, wsFrame(map[bool]byte{true: wsBinary, false: wsContinue}[i == 0], i == len(whole)-1, []byte{b})...)
	}
	run("one message", wsMessage(whole))
	run("a message per byte", single)
	run("a fragment per byte", fragments)
	run("empty messages between", wsMessage(), wsMessage(connect), wsMessage(), wsMessage(stream), wsMessage())
	for i := 1; i < len(whole); i++ {
		run(fmt.Sprintf("messages split at %d", i), append(wsMessage(whole[:i]), wsMessage(whole[i:])...))
		run(fmt.Sprintf("fragments split at %d", i), append(wsFrame(wsBinary, false, whole[:i]), wsFrame(wsContinue, true, whole[i:])...))
	}
	raw := append(wsMessage(connect), wsMessage(stream)...)
	for i := 1; i < len(raw); i++ {
		run(fmt.Sprintf("segments split at %d", i), raw[:i], raw[i:])
	}
}

// TestWebSocketPipelined begins to talk without waiting for the handshake.
func TestWebSocketPipelined(t *testing.T) {
	over(t, testWebSocketPipelined, TypeWebSocket, TypeWebSocketTLS)
}

func testWebSocketPipelined(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	c := r.dialWS(r.listen(kind))
	c.send(wsRequest("/"), wsMessage(connectFrame(v311("c"))), wsMessage(pingreq))
	if res := c.response(); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	var got []byte
	for len(got) < 6 {
		got = append(got, c.want(wsBinary)...)
	}
	if !bytes.Equal(got[4:], pingresp) {
		t.Errorf("got %x", got)
	}
}

// TestWebSocketEarlyUse delivers packets from the front of a message that is
// not complete.
func TestWebSocketEarlyUse(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	c := r.dialWS(r.listen(TypeWebSocket)).wsConnect(v311("c"))
	long := wsMessage(pingreq, bytes.Repeat(pingreq, 20000))
	c.send(long[:8+2]) // header with mask, one PINGREQ
	if p := c.want(wsBinary); !bytes.Equal(p, pingresp) {
		t.Errorf("got %x", p)
	}
}

// [MQTT-6.0.0-1] [MQTT3-6.0.0-1]
func TestWebSocketViolations(t *testing.T) {
	over(t, testWebSocketViolations, TypeWebSocket, TypeWebSocketTLS)
}

func testWebSocketViolations(t *testing.T, kind string) {
	for _, tc := range []struct {
		name   string
		in     []byte
		code   websocket.StatusCode // 0: none
		reason bool                 // whether a DISCONNECT tells it
	}{
		{"text message", wsFrame(wsText, true, pingreq), websocket.StatusUnsupportedData, true},
		{"text message, first fragment", wsFrame(wsText, false, pingreq), websocket.StatusUnsupportedData, true},
		{"continuation of nothing", wsFrame(wsContinue, true, pingreq), websocket.StatusProtocolError, false},
		{"compressed", append([]byte{0xC2}, wsMessage(pingreq)[1:]...), websocket.StatusProtocolError, false},
		{"unknown opcode", wsFrame(3, true, pingreq), websocket.StatusProtocolError, false},
		{"new message inside another", append(wsFrame(wsBinary, false, pingreq[:1]), wsMessage(pingreq)...), websocket.StatusProtocolError, false},
		{"long ping", wsFrame(wsPing, true, make([]byte, 200)), websocket.StatusProtocolError, false},
		{"not masked", []byte{0x82, 2, 0xC0, 0}, websocket.StatusProtocolError, true},
		{"MQTT that is wrong", wsMessage([]byte{0xF1, 0}), websocket.StatusProtocolError, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			c := r.dialWS(r.listen(kind)).wsConnect(v5("c"))
			c.send(tc.in)
			if tc.reason {
				p := c.want(wsBinary)
				if wire.Type(p[0]>>4) != wire.DISCONNECT || wire.Reason(p[2]) < wire.UnspecifiedError {
					t.Errorf("got %x instead of DISCONNECT", p)
				}
			}
			p := c.want(wsClose)
			if got := websocket.StatusCode(binary.BigEndian.Uint16(p)); got != tc.code {
				t.Errorf("closed with %d, want %d", got, tc.code)
			}
			if e := r.end(); e.word != EndProtocolError {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
		})
	}
	t.Run("before CONNECT", func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		c := r.dialWS(r.listen(kind)).upgrade()
		c.send(wsFrame(wsText, true, []byte("hi")))
		c.wantClose(websocket.StatusUnsupportedData)
		if got := await(t, r.refused, "refusal"); got != RefusedNotWebSocket {
			t.Errorf("refused with %q", got)
		}
		if e := r.end(); e.word != EndProtocolError || e.conn.Connect() != nil {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
	})
}

func TestWebSocketControlFrames(t *testing.T) {
	over(t, testWebSocketControlFrames, TypeWebSocket, TypeWebSocketTLS)
}

func testWebSocketControlFrames(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(kind)
	t.Run("pings, also inside a message", func(t *testing.T) {
		c := r.dialWS(l).wsConnect(v311("p"))
		r.conn()
		c.send(wsFrame(wsPing, true, []byte("one")))
		if p := c.want(wsPong); string(p) != "one" {
			t.Errorf("pong %q", p)
		}
		c.send(wsFrame(wsBinary, false, pingreq[:1]), wsFrame(wsPing, true, nil), wsFrame(wsPong, true, []byte("unasked")), wsFrame(wsContinue, true, pingreq[1:]))
		if p := c.want(wsPong); len(p) > 0 {
			t.Errorf("pong %q", p)
		}
		if p := c.want(wsBinary); !bytes.Equal(p, pingresp) {
			t.Errorf("got %x", p)
		}
	})
	for _, tc := range []struct {
		name    string
		payload []byte
		err     string
	}{
		{"close without a code", nil, "EOF"},
		{"close", []byte{0x03, 0xE8}, "EOF"},
		{"going away", []byte{0x03, 0xE9, 'b'}, "EOF"},
		{"close with an error", []byte{0x03, 0xF3}, "client closed the WebSocket"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := r.dialWS(l).wsConnect(v5("c"))
			r.conn()
			c.send(wsFrame(wsClose, true, tc.payload))
			if p := c.want(wsClose); len(tc.payload) > 0 && !bytes.Equal(p, tc.payload) {
				t.Errorf("answered %x", p)
			}
			c.rest()
			if e := r.end(); e.word != EndTCPClosed || !strings.Contains(fmt.Sprint(e.err), tc.err) {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
		})
	}
	t.Run("gone without a word", func(t *testing.T) {
		c := r.dialWS(l).wsConnect(v5("c"))
		r.conn()
		c.Close()
		if e := r.end(); e.word != EndTCPClosed {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
	})
}

// TestWebSocketOwedPong pings while messages are written: the reader does not
// wait for that, and the pong goes out between them.
func TestWebSocketOwedPong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := newWebSocket(ours, nil)
	c := &wsClient{newClient(t, theirs)}
	done := make(chan error, 1)
	go func() { _, err := w.accept(); done <- err }()
	c.upgrade()
	if err := await(t, done, "handshake"); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := w.Write(bytes.Repeat([]byte("x"), 3*webSocketFrame)); done <- err }()
	if _, err := c.br.Peek(1); err != nil { // it writes, and waits for us
		t.Fatal(err)
	}
	read := make(chan []byte, 1)
	go func() {
		p := make([]byte, 10)
		n, _ := w.Read(p)
		read <- p[:n]
	}()
	c.send(wsFrame(wsPing, true, []byte("first")))
	c.send(wsFrame(wsPing, true, []byte("last")))
	c.send(wsMessage([]byte("more")))
	if got := await(t, read, "what follows the pings"); string(got) != "more" {
		t.Errorf("read %q", got)
	}
	var got []string
	for len(got) < 4 {
		op, p := c.next()
		got = append(got, fmt.Sprintf("%d:%d", op, len(p)))
	}
	if want := "2:8192 10:4 2:8192 2:8192"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if err := await(t, done, "writing"); err != nil {
		t.Error(err)
	}
}

// TestWebSocketShutdown tells clients of every version, then closes as the
// protocol wants it.
func TestWebSocketShutdown(t *testing.T) {
	over(t, testWebSocketShutdown, TypeWebSocket, TypeWebSocketTLS)
}

func testWebSocketShutdown(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(kind)
	five, three, shaking := r.dialWS(l).wsConnect(v5("a")), r.dialWS(l).wsConnect(v311("b")), r.dialWS(l)
	shaking.send([]byte("GET /mq"))
	eventually(t, "three connections", func() bool { return r.gate.Totals().Connections == 3 })
	l.Close(nil)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown)
	}()
	if p := five.want(wsBinary); !bytes.Equal(p, wire.AppendDisconnect(nil, wire.V5, wire.ServerShuttingDown, "")) {
		t.Errorf("told %x", p)
	}
	five.wantClose(websocket.StatusGoingAway)
	three.wantClose(websocket.StatusGoingAway)
	// Closing a socket with something unread in it resets the connection.
	if b, err := io.ReadAll(shaking.br); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("sent %q, %v", b, err)
	}
	if err := await(t, done, "shutdown"); err != nil {
		t.Error(err)
	}
	for range 3 {
		if e := r.end(); e.word != EndServerShutdown {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
	}
}

// TestWebSocketSilentClose bounds the closing handshake with a client that
// does not answer, even one that keeps sending.
func TestWebSocketSilentClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		c := r.pipeWS().wsConnect(v5("c"))
		conn := r.conn()
		begin := time.Now()
		conn.Kick(wire.AdministrativeAction, EndKicked)
		c.want(wsBinary)
		c.want(wsClose)
		if e := r.end(); e.word != EndKicked {
			t.Errorf("ended with %q, %v", e.word, e.err)
		}
		if b, err := c.br.ReadByte(); err == nil {
			t.Errorf("sent %x", b)
		}
		if d := time.Since(begin); d > lingerTimeout {
			t.Errorf("took %v", d)
		}
	})
}

// TestWebSocketStalled has one client that reads nothing: it costs the others
// nothing, its backlog is bounded by who sends, and it can be ended.
func TestWebSocketStalled(t *testing.T) {
	over(t, testWebSocketStalled, TypeWebSocket, TypeWebSocketTLS)
}

func testWebSocketStalled(t *testing.T, kind string) {
	r := newRig(t, Options{Limits: Limits{LowWater: 1 << 10}}, &fakeServer{})
	l := r.listen(kind)
	stalled := r.dialWS(l).wsConnect(v311("stalled"))
	slow := r.conn()
	other := r.dialWS(l).wsConnect(v311("other"))
	quick := r.conn()
	frame := publish(wire.V311, 0, 0, bytes.Repeat([]byte("x"), 10000))
	var sent []byte
	for slow.Pending() < 1<<20 { // more than the kernel takes
		begin := time.Now()
		slow.Send(frame)
		slow.Flush()
		if d := time.Since(begin); d > patience/2 {
			t.Fatalf("sending blocked for %v", d)
		}
	}
	for i := range 100 {
		f := publish(wire.V311, 0, 0, []byte(fmt.Sprint(i)))
		sent = append(sent, f...)
		quick.Send(f)
		quick.Flush()
	}
	var got []byte
	for len(got) < len(sent) {
		got = append(got, other.want(wsBinary)...)
	}
	if !bytes.Equal(got, sent) {
		t.Error("messages to the other client are out of order")
	}
	stalled.send(wsMessage(disconnect))
	if e := r.end(); e.conn != slow || e.word != EndNormal {
		t.Errorf("ended with %q, %v", e.word, e.err)
	}
	eventually(t, "the stalled connection to go", func() bool { return r.gate.Totals().Connections == 1 })
}

// TestWebSocketOrder sends much, in small and shared pieces, to a client that
// reads slowly at times: every byte comes once and in order.
func TestWebSocketOrder(t *testing.T) { over(t, testWebSocketOrder, TypeWebSocket, TypeWebSocketTLS) }

func testWebSocketOrder(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	c := r.dialWS(r.listen(kind)).wsConnect(v311("c"))
	conn := r.conn()
	var want []byte
	body := bytes.Repeat([]byte("0123456789"), 3000)
	for i := range 400 {
		f := publish(wire.V311, 0, 0, append([]byte(fmt.Sprint(i)), body[:i*70]...))
		want = append(want, f...)
		if i%3 == 0 {
			conn.Send(f)
		} else {
			conn.SendShared(f[:5], f[5:])
		}
		if i%5 == 0 {
			conn.Flush()
		}
	}
	conn.Flush()
	var got []byte
	for len(got) < len(want) {
		p := c.want(wsBinary)
		if len(p) > webSocketFrame {
			t.Fatalf("a message of %d bytes", len(p))
		}
		got = append(got, p...)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes than were sent")
	}
	eventually(t, "an empty backlog", func() bool { return conn.Pending() == 0 })
}

// TestWebSocketIdle holds no input buffer while nothing comes, also in the
// middle of a message.
func TestWebSocketIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		c := r.pipeWS().wsConnect(v311("c"))
		conn := r.conn()
		big := publish(wire.V311, 0, 0, make([]byte, 1000))
		c.send(wsMessage(big)[:200])
		synctest.Wait() // the reader waits for more
		if n := cap(conn.in.buf); n == 0 || n > 200 {
			t.Errorf("holds %d bytes for a part of a frame", n)
		}
		c.send(wsMessage(big)[200:], wsMessage(pingreq))
		c.want(wsBinary)
		synctest.Wait()
		if n := cap(conn.in.buf); n > 0 {
			t.Errorf("an idle connection holds %d bytes", n)
		}
		c.send(wsMessage(disconnect))
		c.wantClose(websocket.StatusNormalClosure)
		r.end()
	})
}

// TestWebSocketKeepAlive counts MQTT packets as signs of life, pings of
// WebSocket not: they do not come from the MQTT client.
func TestWebSocketKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		con := v5("c")
		con.KeepAlive = 10
		c := r.pipeWS().wsConnect(con)
		begin := time.Now()
		for range 3 {
			time.Sleep(5 * time.Second)
			c.send(wsFrame(wsPing, true, nil))
			if op, _ := c.next(); op != wsPong {
				break
			}
		}
		p := c.want(wsBinary)
		if wire.Reason(p[2]) != wire.KeepAliveTimeout || time.Since(begin) < 15*time.Second {
			t.Errorf("told %x after %v", p, time.Since(begin))
		}
		c.wantClose(websocket.StatusPolicyViolation)
		if e := r.end(); e.word != EndKeepAlive {
			t.Errorf("ended with %q", e.word)
		}
	})
}
