package listen

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/wire"
)

func TestConnConnack(t *testing.T) {
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{ack: &wire.Connack{AssignedClientID: "given", ReceiveMaximum: 10}})
			con := v5("")
			con.Version = v
			if v == wire.V31 {
				con.ClientID = "mine"
			}
			c := r.dial(r.listen(TypeTCP)).connect(con)
			conn := r.conn()
			want := "given"
			if v == wire.V31 {
				want = "mine"
			} else if v == wire.V311 {
				want = ""
			}
			if conn.ID() != want || conn.Version() != v {
				t.Errorf("client %q speaks %v", conn.ID(), conn.Version())
			}
			c.send(disconnect)
			r.end()
		})
	}
}

// direct gives a Conn to f, past CONNECT, and returns all that the client is
// sent.
func direct(t *testing.T, con wire.Connect, f func(c *Conn)) []byte {
	t.Helper()
	r := &rig{TB: t, gate: NewGate(Options{}), server: &fakeServer{}}
	c := r.pipe2(func(c *Conn) error { f(c); return c.Close() })
	return c.send(connectFrame(con)).rest()
}

func mustWrite(t *testing.T, c *Conn, frames ...[]byte) {
	t.Helper()
	p := bytes.Join(frames, nil)
	if n, err := c.Write(p); n != len(p) || err != nil {
		t.Errorf("Write returned %d, %v", n, err)
	}
}

func TestConnOnConnack(t *testing.T) {
	small := v5("c")
	small.MaximumPacketSize = 20
	huge := v5("c")
	huge.MaximumPacketSize = 0xFFFFFFFF // more than an int holds on 32 bits
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		ack     wire.Connack // as the hook wants it
		want    []byte       // nil: nothing is sent
	}{
		{"5", v5("c"), wire.Connack{SessionPresent: true, MaximumPacketSize: 9}, wire.AppendConnack(nil, wire.V5, &wire.Connack{SessionPresent: true, MaximumPacketSize: 9})},
		{"5, no limit to speak of", huge, wire.Connack{}, []byte{0x20, 3, 0, 0, 0}},
		{"3.1.1", v311("c"), wire.Connack{SessionPresent: true, MaximumPacketSize: 9}, []byte{0x20, 2, 1, 0}},
		{"trimmed to the client's size", small, wire.Connack{ReasonString: "a long story about nothing"}, []byte{0x20, 3, 0, 0, 0}},
		{"larger than the client's size", small, wire.Connack{AssignedClientID: "abcdefghijklmnopqrstuvwxyz"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := direct(t, tc.connect, func(c *Conn) {
				c.OnConnack = func(a *wire.Connack) { *a = tc.ack }
				n, err := c.Write(wire.AppendConnack(nil, tc.connect.Version, &wire.Connack{}))
				if (err == nil) != (tc.want != nil) || (n > 0) != (tc.want != nil) {
					t.Errorf("Write returned %d, %v", n, err)
				}
			})
			if !bytes.Equal(got, tc.want) {
				t.Errorf("got %x, want %x", got, tc.want)
			}
		})
	}
}

func TestConnRefusedByServer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		with    wire.Reason
		want    []byte
		word    string
	}{
		{"5", v5("c"), 0, []byte{0x20, 3, 0, 0x86, 0}, EndNotAuthorized},
		{"3.1.1", v311("c"), 0, []byte{0x20, 2, 0, 4}, EndNotAuthorized},
		{"5 banned", v5("c"), wire.Banned, wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.Banned, ReasonString: "why"}), EndNotAuthorized},
		{"3.1.1 busy", v311("c"), wire.ServerBusy, []byte{0x20, 2, 0, 3}, EndRefused},
		{"5 client id", v5("c"), wire.ClientIDNotValid, wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.ClientIDNotValid, ReasonString: "why"}), EndProtocolError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var conn *Conn
			got := direct(t, tc.connect, func(c *Conn) {
				conn = c
				if tc.with != 0 {
					c.RefuseWith(tc.with, "why")
				}
				c.OnConnack = func(*wire.Connack) { t.Error("OnConnack called for a refusal") }
				mustWrite(t, c, wire.AppendConnack(nil, tc.connect.Version, &wire.Connack{Reason: wire.BadUserNameOrPassword}))
			})
			if !bytes.Equal(got, tc.want) {
				t.Errorf("got %x, want %x", got, tc.want)
			}
			if word, err := conn.EndReason(); word != tc.word || err == nil {
				t.Errorf("ended with %q, %v", word, err)
			}
		})
	}
}

func TestConnDropsServerFrames(t *testing.T) {
	bye := wire.AppendDisconnect(nil, wire.V5, wire.SessionTakenOver, "taken over")
	for _, tc := range []struct {
		v    wire.Version
		in   []byte
		want []byte
		word string
	}{
		{wire.V311, publish(wire.V311, 0, 0, []byte("sys")), nil, EndInternalError},
		{wire.V5, publish(wire.V5, 1, 1, []byte("sys")), nil, EndInternalError},
		{wire.V5, wire.AppendAck(nil, wire.PUBREL, wire.V5, 1, wire.Success), nil, EndInternalError},
		{wire.V311, disconnect, nil, EndKicked},
		{wire.V5, bye, bye, EndTakenOver},
	} {
		con := v311("c")
		con.Version = tc.v
		ack := wire.AppendConnack(nil, tc.v, &wire.Connack{})
		var conn *Conn
		got := direct(t, con, func(c *Conn) {
			conn = c
			mustWrite(t, c, ack, tc.in)
		})
		if want := append(ack, tc.want...); !bytes.Equal(got, want) {
			t.Errorf("%x: got %x, want %x", tc.in, got, want)
		}
		await(t, conn.Done(), "the end")
		if word, _ := conn.EndReason(); word != tc.word {
			t.Errorf("%x: ended with %q, want %q", tc.in, word, tc.word)
		}
	}
	direct(t, v311("c"), func(c *Conn) {
		if n, err := c.Write([]byte{0x20, 2, 0}); n != 0 || err == nil {
			t.Error("half a frame was accepted")
		}
	})
}

func TestConnAnswers(t *testing.T) {
	codes := []wire.Reason{wire.GrantedQoS1, wire.NotAuthorized}
	r := newRig(t, Options{}, &fakeServer{})
	hold := make(chan func(), 1)
	r.server.control = func(c *Conn, f wire.Frame) error {
		switch f.Type {
		case wire.SUBSCRIBE:
			s, ok := c.Subscribe()
			if _, no := c.Unsubscribe(); !ok || no || s.PacketID != packetID(f) {
				t.Errorf("the current SUBSCRIBE is %+v, %v", s, ok)
			}
			switch s.Filters[0].Filter {
			case "codes":
				c.AnswerWith(codes)
			case "held":
				hold <- c.HoldAnswer()
				c.AnswerWith(codes)
			case "released early":
				c.HoldAnswer()()
			case "large":
				c.AnswerWith(make([]wire.Reason, 300))
			}
		case wire.UNSUBSCRIBE:
			if _, ok := c.Unsubscribe(); !ok {
				t.Error("no current UNSUBSCRIBE")
			}
			c.AnswerWith(codes[:1])
		}
		return r.server.answer(c, f, c.Version())
	}
	l := r.listen(TypeTCP)
	for _, v := range []wire.Version{wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			con := v311("c")
			con.Version = v
			if v == wire.V5 {
				con.MaximumPacketSize = 200
			}
			c := r.dial(l).connect(con)
			expect := func(want []byte) {
				t.Helper()
				if f := c.frame(); !bytes.Equal(f.Raw, want) {
					t.Errorf("got %x, want %x", f.Raw, want)
				}
			}
			c.send(subscribe(v, 1, "plain"))
			expect(wire.AppendSuback(nil, v, 1, nil))
			c.send(subscribe(v, 2, "codes", "b"))
			expect(wire.AppendSuback(nil, v, 2, codes))
			c.send(subscribe(v, 3, "held", "b"), subscribe(v, 4, "plain"), pingreq)
			expect(wire.AppendSuback(nil, v, 4, nil))
			expect(pingresp)
			release := <-hold
			release()
			release()
			expect(wire.AppendSuback(nil, v, 3, codes))
			c.send(subscribe(v, 5, "released early"))
			expect(wire.AppendSuback(nil, v, 5, nil))
			c.send(wire.AppendUnsubscribe(nil, v, &wire.Unsubscribe{PacketID: 6, Filters: []string{"a"}}))
			expect(wire.AppendUnsuback(nil, v, 6, codes[:1]))
			c.send(subscribe(v, 7, "held", "b"), pingreq)
			expect(pingresp)
			late := <-hold
			if v == wire.V5 {
				c.send(subscribe(v, 8, "large"))
				if got := c.disconnected(); got != wire.PacketTooLarge {
					t.Errorf("disconnected with %v", got)
				}
			} else {
				c.send(disconnect)
			}
			e := r.end()
			late()
			if e.conn.Pending() != 0 {
				t.Error("an answer was sent after the end")
			}
		})
	}
}

func TestErrorWord(t *testing.T) {
	for want, err := range map[string]error{
		EndInternalError: errors.New("x"),
		EndProtocolError: &wire.Error{Reason: wire.MalformedPacket},
		EndTakenOver:     &wire.Error{Reason: wire.SessionTakenOver},
		EndNotAuthorized: fmt.Errorf("read: %w", packets.ErrNotAuthorized),
	} {
		if got := errorWord(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
