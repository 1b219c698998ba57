package listen

import (
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// However long it takes until all are underway, a client that has shown in time
// that it is there is heard, and one that has not is ended soon after.
func TestAdoptedKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		l := New(Config{ID: "pipe"}, r.gate)
		begin := make(chan struct{})
		adopt := func(id string) *client {
			ours, theirs := net.Pipe()
			con := v5(id)
			con.KeepAlive = 10
			k := &Carried{Listener: "pipe", ID: id, Connect: wire.AppendConnect(nil, &con), Silence: 9 * time.Second, Age: time.Minute, MaxPacket: 1 << 20}
			c, err := l.Adopt(ours, k, 8*time.Second, nil, begin, func(c *Conn) error { return r.server.establish("pipe", c) })
			if err != nil {
				t.Fatal(err)
			}
			<-c.Underway()
			return newClient(t, theirs)
		}
		there, gone := adopt("there"), adopt("gone")
		go func() { _, _ = there.Write(wire.AppendPing(nil, wire.PINGREQ)) }() // as if it waited in the socket
		time.Sleep(5 * time.Second)
		close(begin)
		if f := there.frame(); f.Type != wire.PINGRESP {
			t.Errorf("who is there gets %v", f.Type)
		}
		began := time.Now()
		if got := gone.disconnected(); got != wire.KeepAliveTimeout || time.Since(began) > 2*time.Second {
			t.Errorf("who is gone is told %v after %v", got, time.Since(began))
		}
		there.Close()
		if err := r.gate.Shutdown(t.Context(), wire.ServerShuttingDown, EndServerShutdown); err != nil {
			t.Error(err)
		}
	})
}

// What was carried for a CONNECT and is none is told as it is.
func TestAdoptChecksConnect(t *testing.T) {
	con := v5("c")
	whole := wire.AppendConnect(nil, &con)
	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"cut":            {whole[:len(whole)-1], "carried CONNECT: 0 of "},
		"with more":      {append(slices.Clone(whole), 0), "are a packet"},
		"not a packet":   {[]byte{0}, "malformed packet"},
		"another packet": {wire.AppendPing(nil, wire.PINGREQ), "expected CONNECT"},
	} {
		_, err := New(Config{ID: "pipe"}, NewGate(Options{})).Adopt(nil, &Carried{Connect: tc.raw}, 0, nil, nil, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v; want %s", name, err, tc.want)
		}
	}
}

// A client that cannot go on here, and has had its CONNACK from another process,
// gets no second one.
func TestAdoptedAndKicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, &fakeServer{})
		ours, theirs := net.Pipe()
		con := v5("c")
		k := &Carried{Listener: "pipe", ID: "c", Connect: wire.AppendConnect(nil, &con), MaxPacket: 1 << 20}
		_, err := New(Config{ID: "pipe"}, r.gate).Adopt(ours, k, 0, nil, nil, func(c *Conn) error {
			c.Kick(wire.QuotaExceeded, EndRefused)
			return errEnded
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := newClient(t, theirs).disconnected(); got != wire.QuotaExceeded {
			t.Errorf("it is told %v", got)
		}
		if e := r.end(); e.word != EndRefused {
			t.Errorf("ended with %q", e.word)
		}
		if err := r.gate.Shutdown(t.Context(), wire.ServerShuttingDown, EndServerShutdown); err != nil {
			t.Error(err)
		}
	})
}
