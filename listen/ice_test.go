package listen

import (
	"bytes"
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/wire"
)

// A connection that is frozen reads nothing and writes nothing; thawed, it goes on
// as if it had not been, with the frame that was cut.
func TestFreezeAndThaw(t *testing.T) {
	log := new(journal)
	r := newRig(t, Options{}, &fakeServer{log: log})
	l := r.listen(TypeTCP)
	c := r.dial(l).connect(v5("c"))
	conn := r.conn()
	large := publish(wire.V5, 0, 0, bytes.Repeat([]byte("x"), 5000))
	c.send(large[:2000])
	eventually(t, "a part of a frame", func() bool { return conn.bytesIn.Load() > 2000 })
	for round := range 3 {
		stopped := r.gate.Freeze(t.Context())
		if !slices.Equal(stopped, []*Conn{conn}) {
			t.Fatalf("round %d: stopped %v", round, stopped)
		}
		conn.Dam()
		before := len(log.all())
		c.send(large[2000+1000*round : 3000+1000*round])
		conn.Send(wire.AppendPing(nil, wire.PINGRESP))
		conn.Flush()
		if n := conn.Pending(); n != 2 || len(log.all()) != before {
			t.Errorf("round %d: %d bytes wait, %q", round, n, log.all()[before:])
		}
		conn.Thaw()
		if f := c.frame(); f.Type != wire.PINGRESP {
			t.Errorf("round %d: %v", round, f.Type)
		}
	}
	c.send(large[5000:])
	eventually(t, "the whole frame", func() bool {
		return slices.ContainsFunc(log.all(), func(s string) bool { return strings.HasPrefix(s, "message PUBLISH") })
	})
	c.send(wire.AppendPing(nil, wire.PINGREQ))
	if f := c.frame(); f.Type != wire.PINGRESP {
		t.Errorf("at the end %v", f.Type)
	}
}

// A writer that waits for a client is stopped in the middle, and what it had left
// comes when the connection goes on.
func TestDamStopsAWriter(t *testing.T) {
	r := newRig(t, Options{SocketBuffer: 4096}, &fakeServer{})
	c := r.dial(r.listen(TypeTCP)).connect(v5("c"))
	conn := r.conn()
	for i := range 200 {
		conn.Send(publish(wire.V5, 0, 0, bytes.Repeat([]byte{byte(i)}, 20_000)))
		conn.Flush()
	}
	r.gate.Freeze(t.Context())
	conn.Dam()
	k, err := conn.Carry([]byte("early"))
	if err != nil {
		t.Fatal(err)
	}
	if string(k.Input) != "early" || len(k.Output) != conn.Pending() || len(k.Output) == 0 || k.Gone {
		t.Errorf("input %q, %d bytes of output, %d wait, gone %v", k.Input, len(k.Output), conn.Pending(), k.Gone)
	}
	conn.Thaw()
	for i := range 200 {
		if f := c.frame(); f.Type != wire.PUBLISH || f.Body[len(f.Body)-1] != byte(i) {
			t.Fatalf("frame %d: %v", i, f.Type)
		}
	}
}

// A connection that is moved ends without a word, and one that is kicked while it
// is frozen says its last one when it is thawed.
func TestMoveAndKick(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTCP)
	moves, kicked := r.dial(l).connect(v5("moves")), r.dial(l).connect(v5("kicked"))
	eventually(t, "two connections", func() bool { return len(r.gate.Conns()) == 2 })
	stopped := r.gate.Freeze(t.Context())
	if len(stopped) != 2 {
		t.Fatalf("%d have stopped", len(stopped))
	}
	for _, c := range stopped {
		c.Dam()
		if c.ID() == "kicked" {
			c.Kick(wire.ServerShuttingDown, EndServerShutdown)
			c.Thaw()
			continue
		}
		fd, err := c.Descriptor()
		if err != nil {
			t.Fatal(err)
		}
		other, err := dupConn(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		c.Move()
		<-c.Done()
		if word, err := c.EndReason(); word != EndHandedOver || err != nil {
			t.Errorf("ended with %q, %v", word, err)
		}
		eventually(t, "its end", func() bool { return !slices.Contains(r.gate.Conns(), c) })
		if _, err := other.Write([]byte{0xd0, 0}); err != nil {
			t.Fatal(err)
		}
		if f := moves.frame(); f.Type != wire.PINGRESP { // its socket is another's by now
			t.Errorf("got %v", f.Type)
		}
	}
	if got := kicked.disconnected(); got != wire.ServerShuttingDown {
		t.Errorf("told %v", got)
	}
}

// dupConn is the connection behind fd, on a descriptor of its own.
func dupConn(fd int) (net.Conn, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(d), "socket")
	defer f.Close()
	return net.FileConn(f)
}

// Who does not stop in time is not waited for.
func TestFreezeDoesNotWaitForEver(t *testing.T) {
	busy, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, Options{}, &fakeServer{receiver: func(*Conn) Receiver {
		return &fakeReceiver{receive: func(wire.Frame) error { close(busy); <-release; return nil }}
	}})
	c := r.dial(r.listen(TypeTCP)).connect(v5("c"))
	c.send(publish(wire.V5, 0, 0, nil))
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if stopped := r.gate.Freeze(ctx); len(stopped) != 0 {
		t.Errorf("stopped %v", stopped)
	}
	done := make(chan error, 1)
	go func() { done <- r.gate.Leave(t.Context(), nil, wire.ServerShuttingDown, EndServerShutdown) }()
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := c.disconnected(); got != wire.ServerShuttingDown {
		t.Errorf("told %v", got)
	}
}

// A part of a CONNECT, in which there may be a password, stays in this process; who
// has sent nothing yet does not.
func TestFreezeLeavesHalfAConnect(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTCP)
	con := v5("half")
	con.HasPassword, con.Password = true, bytes.Repeat([]byte("secret"), 20)
	half, silent := r.dial(l), r.dial(l)
	eventually(t, "two connections", func() bool { return len(r.gate.Conns()) == 2 })
	half.send(wire.AppendConnect(nil, &con)[:100])
	eventually(t, "a part of a CONNECT", func() bool {
		return slices.ContainsFunc(r.gate.Conns(), func(c *Conn) bool { return c.bytesIn.Load() == 100 })
	})
	stopped := r.gate.Freeze(t.Context())
	if len(stopped) != 1 || stopped[0].RemoteAddr().String() != silent.LocalAddr().String() {
		t.Fatalf("stopped %v", stopped)
	}
	if err := r.gate.Leave(t.Context(), stopped, wire.ServerShuttingDown, EndServerShutdown); err != nil {
		t.Error(err)
	}
	half.rest() // up to its end
	stopped[0].Thaw()
}
