package listen

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// scripted is a net.Conn that yields its input in chunks of given sizes and
// keeps nothing of the output.
type scripted struct {
	in    []byte
	chunk int
	out   int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(s.chunk, len(s.in))])
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)      { s.out += len(p); return len(p), nil }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzConn feeds arbitrary bytes to a connection. Whatever they are, it ends
// once with a reason, hands on only frames that are valid by themselves, and
// holds no more memory than arrived.
func FuzzConn(f *testing.F) {
	stream := func(con wire.Connect, frames ...[]byte) []byte {
		b := connectFrame(con)
		for _, fr := range frames {
			b = append(b, fr...)
		}
		return b
	}
	f.Add([]byte{}, uint16(1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(100))
	f.Add(stream(v5("c"), publish(wire.V5, 1, 1, []byte("x")), subscribe(wire.V5, 1, "a"), pingreq, disconnect), uint16(3))
	f.Add(stream(v5("c"), []byte{0x82, 5, 0, 1, 0, 0, 0}), uint16(1000))
	f.Add(stream(v311("c"), []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, make([]byte, 100)), uint16(7))
	f.Add(stream(v311("c"), publish(wire.V311, 2, 1, nil), wire.AppendAck(nil, wire.PUBREL, wire.V311, 1, 0), disconnect, pingreq), uint16(2))
	f.Add(stream(withAuth("go on"), auth(wire.ContinueAuthentication, "done"), auth(wire.ReAuthenticate, "go on"), pingreq,
		auth(wire.ContinueAuthentication, "done"), disconnect), uint16(5))
	f.Add(stream(withAuth("go on"), pingreq), uint16(5))
	f.Add(stream(withAuth("go on"), disconnect), uint16(100))
	f.Add(stream(withAuth("done"), auth(wire.ReAuthenticate, "no")), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint16) {
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
		s := &fakeServer{log: &journal{}, auth: toldWhatToDo, bound: func(*Conn) {}, receiver: func(*Conn) Receiver {
			return &fakeReceiver{receive: func(f wire.Frame) error {
				messages++
				if got, n, err := wire.Scan(f.Raw, 1<<16); err != nil || n != len(f.Raw) || got.Type != f.Type {
					t.Errorf("received %x", f.Raw)
				}
				return nil
			}}
		}}
		c := admit(g, &scripted{in: in, chunk: int(chunk) + 1})
		c.serve(func(c *Conn) error { return s.establish("f", c) })
		if ends != 1 {
			t.Errorf("OnEnd called %d times", ends)
		}
		if n := len(s.log.all()) + messages; n > len(in)/2+1 {
			t.Errorf("%d frames of %d bytes", n, len(in))
		}
		if n := g.Totals(); n.Connections != 0 || n.Unauthenticated != 0 || g.unauthBytes.Load() != 0 {
			t.Errorf("left over: %+v", n)
		}
		if g.wheel.mu.Lock(); g.wheel.count != 0 {
			t.Errorf("%d connections still watched", g.wheel.count)
		}
		g.wheel.mu.Unlock()
	})
}
