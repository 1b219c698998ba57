package listen

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/wire"
)

// binder is the least that hooks must do.
type binder struct {
	mqtt.HookBase
	log   *journal
	conns chan *Conn
}

func (h *binder) ID() string { return "binder" }

func (h *binder) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished, mqtt.OnSubscribe, mqtt.OnUnsubscribe}, b) >= 0
}

func (h *binder) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	return string(pk.Connect.Username) != "mallory"
}

func (h *binder) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*Conn)
	if !cl.Properties.Clean || cl.Properties.Will.Flag != 0 {
		h.log.add("the server keeps state")
	}
	c.Bind(&fakeReceiver{log: h.log})
	h.conns <- c
}

func (h *binder) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*Conn)
	s, _ := c.Subscribe()
	codes := make([]wire.Reason, len(s.Filters))
	for i := range codes {
		codes[i] = wire.GrantedQoS1
	}
	c.AnswerWith(codes)
	pk.Filters = nil
	return pk
}

func (h *binder) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*Conn)
	u, _ := c.Unsubscribe()
	c.AnswerWith(make([]wire.Reason, len(u.Filters)))
	pk.Filters = nil
	return pk
}

// TestConnUnderServer runs a conversation under the real server.
func TestConnUnderServer(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	hook := &binder{log: r.log, conns: r.conns}
	if err := server.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	l := New(Config{ID: "real", Address: "127.0.0.1:0"}, r.gate)
	if err := server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		l.Close(nil)
		if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		t.Run(v.String(), func(t *testing.T) {
			con := v5("c")
			con.Version, con.CleanStart, con.KeepAlive = v, false, 60
			con.Will = &wire.Will{Topic: "w"} // the server refuses a will without payload
			con.HasUsername, con.Username, con.HasPassword, con.Password = true, "u", true, []byte{}
			c := r.dial(l).connect(con)
			conn := r.conn()
			expect := func(want []byte) {
				t.Helper()
				if f := c.frame(); !bytes.Equal(f.Raw, want) {
					t.Errorf("got %x, want %x", f.Raw, want)
				}
			}
			c.send(publish(v, 1, 1, []byte("x")), subscribe(v, 2, "a", "b/#"), publish(v, 2, 2, nil), pingreq)
			expect(wire.AppendSuback(nil, v, 2, []wire.Reason{1, 1}))
			expect(pingresp)
			c.send(wire.AppendUnsubscribe(nil, v, &wire.Unsubscribe{PacketID: 3, Filters: []string{"a", "b/#"}}))
			expect(wire.AppendUnsuback(nil, v, 3, []wire.Reason{0, 0}))
			c.send(disconnect)
			if e := r.end(); e.word != EndNormal || e.conn != conn {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
		})
	}
	for _, line := range r.log.all() {
		if line == "the server keeps state" {
			t.Error(line)
		}
	}
	if n := len(r.log.all()); n != 6 {
		t.Errorf("%d messages received, want 6", n)
	}
	t.Run("refused", func(t *testing.T) {
		con := v5("m")
		con.HasUsername, con.Username = true, "mallory"
		c := r.dial(l).send(connectFrame(con))
		f := c.frame()
		if ack, err := wire.DecodeConnack(f, wire.V5); err != nil || ack.Reason != wire.BadUserNameOrPassword {
			t.Errorf("got %x, %v", f.Raw, err)
		}
		if e := r.end(); e.word != EndNotAuthorized {
			t.Errorf("ended with %q", e.word)
		}
	})
	t.Run("assigned client id", func(t *testing.T) {
		c := r.dial(l).connect(v5(""))
		if conn := r.conn(); conn.ID() == "" {
			t.Error("no client id")
		}
		c.send(disconnect)
		r.end()
	})
	t.Run("SUBSCRIBE that kills the server's decoder", func(t *testing.T) {
		for _, bad := range [][]byte{{0x82, 5, 0, 1, 0, 0, 0}, {0x82, 4, 0, 1, 0, 0}, {0x82, 6, 0, 1, 0, 0, 1, 'a'}, {0x82, 2, 0, 1}} {
			c := r.dial(l).connect(v5("k"))
			r.conn()
			c.send(bad)
			c.disconnected()
			if e := r.end(); e.word != EndProtocolError {
				t.Errorf("%x: ended with %q, %v", bad, e.word, e.err)
			}
		}
	})
	t.Run("kicked", func(t *testing.T) {
		c := r.dial(l).connect(v5("k"))
		r.conn().Kick(wire.AdministrativeAction, EndKicked)
		if got := c.disconnected(); got != wire.AdministrativeAction {
			t.Errorf("disconnected with %v", got)
		}
		r.end()
	})
}
