package listen

import (
	"net"
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
