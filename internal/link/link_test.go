package link_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

const wait = 10 * time.Second

// pair is a link and what is at its other end.
func pair(t *testing.T) (*link.Link, net.Conn) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return link.New(ours, wire.V5, wait), theirs
}

// send writes each piece on its own.
func send(t *testing.T, conn net.Conn, pieces ...[]byte) {
	go func() {
		for _, p := range pieces {
			if _, err := conn.Write(p); err != nil {
				t.Error(err)
			}
		}
	}()
}

// Frames come whole and in order, in whatever pieces they arrive.
func TestRead(t *testing.T) {
	l, far := pair(t)
	ping, ack := wire.AppendPing(nil, wire.PINGRESP), wire.AppendAck(nil, wire.PUBACK, wire.V5, 7, wire.Success)
	send(t, far, ping[:1], append(ping[1:], ack...), ack[:2])
	if f, err := l.ReadWithin(wait); err != nil || f.Type != wire.PINGRESP {
		t.Fatalf("got %v, %v instead of PINGRESP", f.Type, err)
	}
	if !l.Waiting() {
		t.Error("the frame behind the first is not waiting")
	}
	f, err := l.ReadWithin(0) // it is there, so that no time is needed
	if id, _, bad := wire.DecodeAck(f, wire.V5); err != nil || bad != nil || id != 7 {
		t.Fatalf("got %v of %d, %v, %v instead of PUBACK of 7", f.Type, id, err, bad)
	}
	if l.Waiting() {
		t.Error("something is waiting, and nothing was sent")
	}
	if _, err := l.ReadWithin(10 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("half a frame: %v instead of a timeout", err)
	}
	send(t, far, ack[2:])
	if f, err = l.ReadWithin(wait); err != nil || f.Type != wire.PUBACK {
		t.Errorf("after the timeout: got %v, %v instead of PUBACK", f.Type, err)
	}
}

// Goodbye is a DISCONNECT, and the end.
func TestGoodbye(t *testing.T) {
	l, far := pair(t)
	go func() {
		if err := l.Write(nil); err != nil {
			t.Error(err)
		}
		l.Goodbye()
	}()
	other := link.New(far, wire.V5, wait)
	if f, err := other.ReadWithin(wait); err != nil || f.Type != wire.DISCONNECT {
		t.Errorf("got %v, %v instead of DISCONNECT", f.Type, err)
	}
	if f, err := other.ReadWithin(wait); err == nil {
		t.Errorf("got %v after DISCONNECT", f.Type)
	}
}

// Open is let in or says why not.
func TestOpen(t *testing.T) {
	for name, tc := range map[string]struct {
		answer []byte
		want   string
	}{
		"let in":    {wire.AppendConnack(nil, wire.V5, &wire.Connack{SessionPresent: true}), ""},
		"refused":   {wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.NotAuthorized}), "connect pump-7: refused: not authorized"},
		"no answer": {wire.AppendPing(nil, wire.PINGRESP), "connect pump-7: got PINGRESP instead of CONNACK"},
		"no MQTT":   {[]byte("HTTP/1.1 400 Bad Request\r\n"), "connect pump-7: frame from the broker: "},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if f, err := link.New(conn, wire.V5, wait).ReadWithin(wait); err != nil || f.Type != wire.CONNECT {
					t.Errorf("the broker got %v, %v", f.Type, err)
				}
				_, _ = conn.Write(tc.answer)
			}()
			l, ack, err := link.Open(t.Context(), listener.Addr().String(), &wire.Connect{Version: wire.V5, ClientID: "pump-7"}, wait)
			if tc.want == "" {
				if err != nil || !ack.SessionPresent {
					t.Fatalf("got %+v, %v", ack, err)
				}
				l.Conn.Close()
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || l != nil {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
