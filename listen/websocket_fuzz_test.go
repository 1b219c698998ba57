package listen

import (
	"bytes"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// mute is a scripted socket that takes everything written, from any goroutine.
type mute struct{ *scripted }

func (mute) Write(p []byte) (int, error) { return len(p), nil }

// FuzzWebSocket feeds arbitrary bytes to a WebSocket listener's connection,
// from the handshake on or after it. Whatever they are, it ends once with a
// reason that is not our fault, and holds no more memory than arrived.
func FuzzWebSocket(f *testing.F) {
	connect, rest := connectFrame(v5("c")), bytes.Join([][]byte{publish(wire.V5, 1, 1, []byte("x")), pingreq, disconnect}, nil)
	f.Add(append(wsRequest("/mqtt"), wsMessage(connect)...), false, uint16(100))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false, uint16(1))
	f.Add(connect, false, uint16(1000))
	f.Add(bytes.Join([][]byte{wsMessage(connect), wsFrame(wsPing, true, []byte("p")), wsMessage(rest), wsFrame(wsClose, true, []byte{3, 0xE8})}, nil), true, uint16(5000))
	f.Add(append(wsFrame(wsBinary, false, connect), wsFrame(wsContinue, true, rest)...), true, uint16(2))
	f.Add(append(wsMessage(connect), wsFrame(wsText, true, rest)...), true, uint16(3))
	f.Add(append(wsFrame(wsBinary, false, connect), wsMessage(rest)...), true, uint16(0))
	f.Add(append(wsMessage(connect), 0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0x30), true, uint16(9))
	f.Fuzz(func(t *testing.T, in []byte, shaken bool, chunk uint16) {
		if shaken {
			in = append(wsRequest("/mqtt"), in...)
		}
		ends := 0
		g := NewGate(Options{
			Limits: Limits{MaxConnectSize: 1 << 10, MaxPacketSize: 1 << 16},
			OnEnd: func(c *Conn, err error) {
				ends++
				if word, _ := c.EndReason(); word == "" || word == EndInternalError {
					t.Errorf("ended with %q, %v", word, err)
				}
				if n := cap(c.in.buf); n > 2*len(in)+pageSize {
					t.Errorf("%d bytes arrived, %d are held", len(in), n)
				}
			},
		})
		messages := 0
		s := &fakeServer{log: &journal{}, bound: func(*Conn) {}, receiver: func(*Conn) Receiver {
			return &fakeReceiver{receive: func(fr wire.Frame) error { messages++; return nil }}
		}}
		c := admit(g, newWebSocket(mute{&scripted{in: in, chunk: int(chunk) + 1}}, nil))
		c.serve(func(c *Conn) error { return s.establish("f", c) })
		if ends != 1 {
			t.Errorf("OnEnd called %d times", ends)
		}
		if n := len(s.log.all()) + messages; n > len(in)/2 {
			t.Errorf("%d frames of %d bytes", n, len(in))
		}
		if n := g.Totals(); n.Connections != 0 || n.Unauthenticated != 0 {
			t.Errorf("left over: %+v", n)
		}
	})
}
