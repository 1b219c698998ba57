package listen

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// A server that lets go of connections sees the same control frames, in the same
// order among the messages, however the stream is cut; but for DISCONNECT, of
// which there is nothing left to do.
func TestAloneSplitsStream(t *testing.T) {
	sub, unsub := subscribe(wire.V5, 7, "a/#"), wire.AppendUnsubscribe(nil, wire.V5, &wire.Unsubscribe{PacketID: 8, Filters: []string{"a/#"}})
	one, two := publish(wire.V5, 1, 1, []byte("one")), publish(wire.V5, 0, 0, []byte("two"))
	stream := bytes.Join([][]byte{connectFrame(v5("c")), sub, one, pingreq, unsub, two, sub, disconnect}, nil)
	want := []string{
		fmt.Sprintf("control CONNECT %x", connectFrame(v5("c"))), fmt.Sprintf("control SUBSCRIBE %x", sub), fmt.Sprintf("message PUBLISH %x", one),
		fmt.Sprintf("control UNSUBSCRIBE %x", unsub), fmt.Sprintf("message PUBLISH %x", two), fmt.Sprintf("control SUBSCRIBE %x", sub),
	}
	for cut := 1; cut < len(stream); cut++ {
		r := newRig(t, Options{}, &fakeServer{letsGo: true})
		c := r.pipe()
		go func() { _, _ = c.Write(stream[:cut]); _, _ = c.Write(stream[cut:]) }() // a pipe holds nothing
		for _, want := range []wire.Type{wire.CONNACK, wire.SUBACK, wire.PINGRESP, wire.UNSUBACK, wire.SUBACK} {
			if f := c.frame(); f.Type != want {
				t.Fatalf("cut at %d: got %v, want %v", cut, f.Type, want)
			}
		}
		if rest := c.rest(); len(rest) > 0 {
			t.Errorf("cut at %d: surplus output %x", cut, rest)
		}
		if e := r.end(); e.word != EndNormal || e.err != nil {
			t.Errorf("cut at %d: ended with %q, %v", cut, e.word, e.err)
		}
		if got := r.log.all(); !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got\n%s\nwant\n%s", cut, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What ends a connection whose server has let go, ends it once and for the
// reason that it has.
func TestAloneEnds(t *testing.T) {
	over(t, func(t *testing.T, kind string) {
		failed := errors.New("the server cannot")
		for name, tc := range map[string]struct {
			control func(c *Conn, f wire.Frame) error
			then    func(c *client, conn *Conn)
			word    string
			err     error
		}{
			"the client goes":          {nil, func(c *client, _ *Conn) { c.Close() }, EndTCPClosed, io.EOF},
			"it says so":               {nil, func(c *client, _ *Conn) { c.send(disconnect) }, EndNormal, nil},
			"it is kicked":             {nil, func(_ *client, conn *Conn) { conn.Kick(wire.AdministrativeAction, EndKicked) }, EndKicked, errEnded},
			"the server fails":         {func(*Conn, wire.Frame) error { return failed }, nil, EndInternalError, failed},
			"the server panics":        {func(*Conn, wire.Frame) error { panic("bomb") }, nil, EndInternalError, ErrPanic},
			"it is kicked meanwhile":   {func(c *Conn, _ wire.Frame) error { c.Kick(wire.NotAuthorized, EndKicked); return nil }, nil, EndKicked, errEnded},
			"what it sends is no MQTT": {nil, func(c *client, _ *Conn) { c.send([]byte{0x82, 1, 0}) }, EndProtocolError, nil},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Options{}, &fakeServer{letsGo: true, control: tc.control})
				c := r.dial(r.listen(kind)).connect(v5("c"))
				conn := r.conn()
				if tc.control != nil {
					c.send(subscribe(wire.V5, 1, "a"))
				} else {
					tc.then(c, conn)
				}
				e := r.end()
				if e.word != tc.word || tc.err != nil && !errors.Is(e.err, tc.err) {
					t.Errorf("ended with %q, %v", e.word, e.err)
				}
				eventually(t, "no connection", func() bool { return r.gate.Totals().Connections == 0 })
				select {
				case e := <-r.ends:
					t.Errorf("ended again, with %q", e.word)
				default:
				}
			})
		}
	}, TypeTCP, TypeTLS)
}

// The server's Close, which it calls when it lets go, ends nothing from then on.
func TestAloneIgnoresClose(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{letsGo: true})
	c := r.dial(r.listen(TypeTCP)).connect(v5("c"))
	conn := r.conn()
	eventually(t, "that the server lets go", conn.alone.Load)
	_ = conn.Close()
	c.send(subscribe(wire.V5, 1, "a"), pingreq)
	for _, want := range []wire.Type{wire.SUBACK, wire.PINGRESP} {
		if f := c.frame(); f.Type != want {
			t.Fatalf("got %v, want %v", f.Type, want)
		}
	}
}

// A connection that is frozen while the server works on a frame of it stops when
// that is done, and not before.
func TestAloneFreezesAfterWork(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	r := newRig(t, Options{}, &fakeServer{letsGo: true, control: func(c *Conn, f wire.Frame) error {
		close(began)
		<-finish
		_, err := c.Write(wire.AppendSuback(nil, wire.V5, packetID(f), nil))
		return err
	}})
	c := r.dial(r.listen(TypeTCP)).connect(v5("c"))
	conn := r.conn()
	c.send(subscribe(wire.V5, 1, "a"))
	await(t, began, "work")
	stopped := make(chan []*Conn, 1)
	go func() { stopped <- r.gate.Freeze(t.Context()) }()
	eventually(t, "the wish to stop it", conn.frozen)
	select {
	case <-stopped:
		t.Fatal("stopped in the middle of a frame")
	default:
	}
	close(finish)
	if got := await(t, stopped, "that it stops"); !slices.Equal(got, []*Conn{conn}) {
		t.Fatalf("stopped %v", got)
	}
	conn.Thaw()
	if f := c.frame(); f.Type != wire.SUBACK {
		t.Errorf("got %v", f.Type)
	}
}

// A connection that is let go of has one goroutine.
func TestAloneGoroutines(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{letsGo: true})
	l := r.listen(TypeTCP)
	before := runtime.NumGoroutine()
	const n = 20
	for i := range n {
		r.dial(l).connect(v5(fmt.Sprint(i)))
		r.conn()
	}
	eventually(t, "one goroutine each, and the wheel's", func() bool { return runtime.NumGoroutine() <= before+n+1 })
}
