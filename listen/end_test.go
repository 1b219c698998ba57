package listen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

func TestConnKick(t *testing.T) { over(t, testConnKick, TypeTCP, TypeTLS) }

func testConnKick(t *testing.T, kind string) {
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		want    []byte
	}{
		{"5", v5("c"), []byte{0xE0, 2, 0x8E, 0}},
		{"3.1.1", v311("c"), nil},
		{"5 with room for nothing", wire.Connect{Version: wire.V5, ClientID: "c", CleanStart: true, MaximumPacketSize: 1}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			c := r.dial(r.listen(kind))
			if tc.connect.MaximumPacketSize > 0 {
				c.send(connectFrame(tc.connect))
				if e := r.end(); e.err == nil {
					t.Error("a CONNACK was sent that the client does not take")
				}
				return
			}
			c.connect(tc.connect)
			conn := r.conn()
			var wg sync.WaitGroup
			conn.Kick(wire.SessionTakenOver, EndTakenOver)
			for range 8 {
				wg.Go(func() { conn.Kick(wire.AdministrativeAction, EndKicked); conn.Close() })
			}
			await(t, conn.Done(), "the end")
			wg.Wait()
			got := c.rest()
			if len(tc.want) > 0 { // short form or long form
				if f, n, err := wire.Scan(got, 0); err != nil || n != len(got) || f.Type != wire.DISCONNECT || f.Body[0] != tc.want[2] {
					t.Errorf("got %x", got)
				}
			} else if len(got) > 0 {
				t.Errorf("got %x", got)
			}
			if e := r.end(); e.word != EndTakenOver {
				t.Errorf("ended with %q", e.word)
			}
			if conn.Send(pingresp) != 0 || conn.SendShared(pingresp, pingresp) != 0 || conn.Pending() != 0 {
				t.Error("something can be sent after the end")
			}
			if _, err := conn.Write(connackOK); err == nil {
				t.Error("the server can write after the end")
			}
		})
	}
}

var connackOK = wire.AppendConnack(nil, wire.V5, &wire.Connack{})

// TestConnKickBeforeConnack ends a connection that the server still thinks
// about.
func TestConnKickBeforeConnack(t *testing.T) {
	for _, tc := range []struct {
		connect wire.Connect
		want    []byte
	}{
		{v5("c"), []byte{0x20, 3, 0, 0x88, 0}},
		{v311("c"), []byte{0x20, 2, 0, 3}},
	} {
		t.Run(tc.connect.Version.String(), func(t *testing.T) {
			g := NewGate(Options{})
			r := &rig{TB: t, gate: g, server: &fakeServer{}}
			c := r.pipe2(func(conn *Conn) error {
				conn.Kick(wire.SessionTakenOver, EndTakenOver)
				_, err := conn.Write(connackOK)
				return err
			})
			c.send(connectFrame(tc.connect))
			if got := c.rest(); !bytes.Equal(got, tc.want) {
				t.Errorf("got %x, want %x", got, tc.want)
			}
		})
	}
}

// pipe2 is pipe with a server of its own.
func (r *rig) pipe2(establish func(*Conn) error) *client {
	ours, theirs := net.Pipe()
	if c := r.admit(ours); c != nil {
		go c.serve(establish)
	}
	return newClient(r.TB, theirs)
}

// TestConnLastWordsSurviveUnreadInput kicks a client whose input has not been
// read: closing at once would reset the connection and lose the DISCONNECT.
func TestConnLastWordsSurviveUnreadInput(t *testing.T) {
	over(t, testConnLastWordsSurviveUnreadInput, TypeTCP, TypeTLS)
}

func testConnLastWordsSurviveUnreadInput(t *testing.T, kind string) {
	for range 20 {
		hold := make(chan struct{})
		r := newRig(t, Options{}, &fakeServer{})
		r.server.control = func(c *Conn, f wire.Frame) error {
			<-hold
			return nil
		}
		c := r.dial(r.listen(kind)).connect(v5("c"))
		conn := r.conn()
		c.send(subscribe(wire.V5, 1, "a"), bytes.Repeat(pingreq, 50000))
		conn.Kick(wire.AdministrativeAction, EndKicked)
		close(hold)
		if got := c.disconnected(); got != wire.AdministrativeAction {
			t.Fatalf("disconnected with %v", got)
		}
	}
}

// TestConnCloseDeliversRest closes right after sending more than fits.
func TestConnCloseDeliversRest(t *testing.T) {
	for _, kind := range []string{TypeTCP, TypeTLS, "pipe"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			var c *client
			size := 4 << 20 // more than the kernel takes
			if kind == "pipe" {
				c, size = r.pipe(), 256<<10 // takes nothing; all must have gone within a second
			} else {
				c = r.dial(r.listen(kind))
			}
			c.connect(v311("c"))
			conn := r.conn()
			body := bytes.Repeat([]byte("x"), size)
			conn.SendShared(nil, body)
			conn.Close()
			if got := c.rest(); !bytes.Equal(got, body) {
				t.Errorf("got %d of %d bytes", len(got), len(body))
			}
		})
	}
}

// TestConnStalledPeerEnds kicks a client that reads nothing: its end is not
// held up, and its socket is closed after a second.
func TestConnStalledPeerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		r.pipe().connect(v5("c"))
		conn := r.conn()
		conn.SendShared(nil, make([]byte, 1<<20))
		conn.Flush()
		begin := time.Now()
		conn.Kick(wire.SessionTakenOver, EndTakenOver)
		<-conn.Done()
		if d := time.Since(begin); d != 0 {
			t.Errorf("Done after %v", d)
		}
		<-r.gate.empty()
		if d := time.Since(begin); d != drainTimeout {
			t.Errorf("closed after %v", d)
		}
	})
}

// [MQTT3-4.8.0-2]
func TestConnPanics(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	r.server.control = func(c *Conn, f wire.Frame) error { panic("boom") }
	l := r.listen(TypeTCP)
	bystander := r.dial(l).connect(v311("b"))
	victim := r.dial(l).connect(v5("v"))
	victim.send(subscribe(wire.V5, 1, "a"))
	if got := victim.disconnected(); got != wire.ImplementationError {
		t.Errorf("disconnected with %v", got)
	}
	e := r.end()
	if !errors.Is(e.err, ErrPanic) || !strings.Contains(e.err.Error(), "boom") || e.word != EndInternalError {
		t.Errorf("ended with %q, %v", e.word, e.err)
	}
	bystander.send(pingreq)
	if f := bystander.frame(); f.Type != wire.PINGRESP {
		t.Errorf("the other client got %v", f.Type)
	}
	if len(r.ends) != 0 {
		t.Error("OnEnd was called again")
	}
}

func TestConnPanicsElsewhere(t *testing.T) { over(t, testConnPanicsElsewhere, TypeTCP, TypeTLS) }

func testConnPanicsElsewhere(t *testing.T, kind string) {
	t.Run("OnEnd", func(t *testing.T) {
		r := newRig(t, Options{OnEnd: func(*Conn, error) { panic("boom") }}, &fakeServer{})
		c := r.dial(r.listen(kind)).connect(v311("c"))
		conn := r.conn()
		c.send(disconnect)
		await(t, conn.Done(), "the end")
	})
	t.Run("Writable", func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		r.server.receiver = func(*Conn) Receiver {
			return &fakeReceiver{writable: func() { panic("boom") }}
		}
		c := r.dial(r.listen(kind)).connect(v5("c"))
		conn := r.conn()
		body := make([]byte, 32<<20)
		conn.SendShared(nil, body)
		conn.Flush()
		if _, err := io.CopyN(io.Discard, c.br, int64(len(body))); err != nil {
			t.Error(err)
		}
		if e := r.end(); e.word != EndInternalError {
			t.Errorf("ended with %q", e.word)
		}
	})
}

func TestConnSlowConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectTimeout: 5 * time.Second}}, &fakeServer{})
		c := r.pipe()
		begin := time.Now()
		var drip sync.WaitGroup
		drip.Go(func() {
			for _, b := range connectFrame(v311(strings.Repeat("c", 20))) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		e := r.end()
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("ended after %v", d)
		}
		if e.word != EndSlowConnect || <-r.refused != RefusedSlowConnect {
			t.Errorf("ended with %q", e.word)
		}
		if len(r.log.all()) > 0 {
			t.Error("the server saw something")
		}
		drip.Wait()
	})
}

// TestConnDeadlineLifted stays silent after CONNECT.
func TestConnDeadlineLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectTimeout: time.Second}}, &fakeServer{})
		c := r.pipe().connect(v311("c"))
		time.Sleep(time.Hour)
		c.send(pingreq)
		if f := c.frame(); f.Type != wire.PINGRESP {
			t.Errorf("got %v", f.Type)
		}
		c.send(disconnect)
		r.end()
	})
}

// [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT3-3.1.2-24]
func TestConnKeepAlive(t *testing.T) {
	server := func(s uint16) *wire.Connack {
		return &wire.Connack{HasServerKeepAlive: true, ServerKeepAlive: s}
	}
	for _, tc := range []struct {
		name    string
		version wire.Version
		client  uint16 // seconds
		server  *wire.Connack
		every   time.Duration // a PUBLISH is sent so often, for an hour
		after   time.Duration // when it must end, after the last; 0: never
	}{
		{name: "silence", version: wire.V311, client: 10, after: 15 * time.Second},
		{name: "odd", version: wire.V5, client: 1, after: 1500 * time.Millisecond},
		{name: "long", version: wire.V5, client: 600, after: 900 * time.Second},
		{name: "longest", version: wire.V5, client: 65535, after: 98302500 * time.Millisecond},
		{name: "messages count", version: wire.V311, client: 10, every: 14 * time.Second, after: 15 * time.Second},
		{name: "off", version: wire.V311, client: 0},
		{name: "server's", version: wire.V5, client: 600, server: server(4), after: 6 * time.Second},
		{name: "server's off", version: wire.V5, client: 10, server: server(0)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, &fakeServer{ack: tc.server})
				con := v311("c")
				con.Version, con.KeepAlive = tc.version, tc.client
				c := r.pipe().connect(con)
				begin := time.Now()
				for tc.every > 0 && time.Since(begin) < time.Hour {
					c.send(publish(tc.version, 0, 0, nil))
					time.Sleep(tc.every)
				}
				if tc.every > 0 {
					c.send(pingreq)
					c.frame()
				}
				begin = time.Now()
				if tc.after == 0 {
					time.Sleep(100 * time.Hour)
					c.send(pingreq)
					if f := c.frame(); f.Type != wire.PINGRESP {
						t.Errorf("got %v", f.Type)
					}
					c.send(disconnect)
					r.end()
					return
				}
				out := c.rest()
				if d := time.Since(begin); d < tc.after || d > tc.after+3*tick {
					t.Errorf("ended after %v, want %v", d, tc.after)
				}
				if (len(out) > 0) != (tc.version == wire.V5) {
					t.Errorf("sent %x", out)
				}
				if e := <-r.ends; e.word != EndKeepAlive {
					t.Errorf("ended with %q", e.word)
				}
			})
		})
	}
}

// TestWheelStops checks that an idle gate has no timer running.
func TestWheelStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		con := v311("c")
		con.KeepAlive = 60
		for range 2 { // it starts again
			c := r.pipe().connect(con)
			time.Sleep(70 * time.Second)
			c.send(disconnect)
			r.end()
			r.gate.wheel.wait()
		}
	})
}

func TestGateShutdown(t *testing.T) { over(t, testGateShutdown, TypeTCP, TypeTLS) }

func testGateShutdown(t *testing.T, kind string) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(kind)
	c5, c3, silent := r.dial(l).connect(v5("a")), r.dial(l).connect(v311("b")), r.dial(l)
	eventually(t, "all connections", func() bool { return r.gate.Totals().Connections == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l.Close(nil)
	for range 2 {
		if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
			t.Fatal(err)
		}
	}
	if got := c5.disconnected(); got != wire.ServerShuttingDown {
		t.Errorf("disconnected with %v", got)
	}
	if out := append(c3.rest(), silent.rest()...); len(out) > 0 {
		t.Errorf("sent %x", out)
	}
	for range 3 {
		if e := r.end(); e.word != EndServerShutdown {
			t.Errorf("ended with %q", e.word)
		}
	}
	if n := r.gate.Totals(); n.Connections != 0 || n.Unauthenticated != 0 || n.Accepted != 3 || n.Maximum != 3 {
		t.Errorf("totals %+v", n)
	}
	if r.pipe(); await(t, r.refused, "refusal") != RefusedShuttingDown {
		t.Error("admitted after the shutdown")
	}
}

// TestGateShutdownGivesUp has a server that never returns.
func TestGateShutdownGivesUp(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	stuck := make(chan struct{})
	r.server.control = func(*Conn, wire.Frame) error { <-stuck; return io.EOF }
	c := r.pipe().connect(v311("c"))
	c.send(subscribe(wire.V311, 1, "a"))
	r.conn()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(stuck)
	r.end()
}
