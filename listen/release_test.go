package listen_test

import (
	"net"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// A socket goes from one listener to the next without turning anybody away.
func TestRelease(t *testing.T) {
	g := listen.NewGate(listen.Options{})
	serve := func(l *listen.Listener) (served chan struct{}) {
		served = make(chan struct{})
		go func() {
			defer close(served)
			l.Serve(func(_ string, c net.Conn) error { return c.Close() })
		}()
		return served
	}
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := listen.New(listen.Config{ID: "0", Bound: nl}, g)
	if err := l.Init(nil); err != nil {
		t.Fatal(err)
	}
	served := serve(l)
	stop := make(chan struct{})
	dialed := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				dialed <- n
				return
			default:
			}
			c, err := net.DialTimeout("tcp", nl.Addr().String(), 5*time.Second)
			if err != nil {
				t.Errorf("turned away: %v", err)
				dialed <- n
				return
			}
			n++
			c.Close()
		}
	}()
	for i := range 20 {
		nl := l.Release()
		<-served
		if nl == nil {
			t.Fatal("no socket")
		}
		if again := l.Release(); again != nil {
			t.Fatal("a socket twice")
		}
		l.Close(nil) // does not touch what is another's now
		next := listen.New(listen.Config{ID: string(rune('a' + i)), Type: listen.TypeTCP, Bound: nl}, g)
		if err := next.Init(nil); err != nil {
			t.Fatal(err)
		}
		l, served = next, serve(next)
		c, err := net.Dial("tcp", nl.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	close(stop)
	if n := <-dialed; n == 0 {
		t.Error("nobody came")
	}
	l.Close(nil)
	<-served
	if l.Release() != nil {
		t.Error("a closed listener has released a socket")
	}
}

// Connections count for the listener that takes the place of theirs.
func TestTakingThePlace(t *testing.T) {
	g := listen.NewGate(listen.Options{})
	policy := listen.Policy{MaxConnections: 2, MaxPerAddress: 2}
	l := listen.New(listen.Config{ID: "l", Address: "127.0.0.1:0", Policy: policy}, g)
	if err := l.Init(nil); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	serve := func(l *listen.Listener) {
		go l.Serve(func(_ string, c net.Conn) error {
			<-hold
			return c.Close()
		})
	}
	serve(l)
	dial := func() {
		c, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		connect := wire.AppendConnect(nil, &wire.Connect{Version: wire.V5, CleanStart: true})
		_, _ = c.Write(connect) // who is refused may be gone already
	}
	dial()
	brokertest.WaitFor(t, "the first", func() bool { return g.Totals().Accepted == 1 })
	next := listen.New(listen.Config{ID: "l", Bound: l.Release(), Policy: policy, After: l}, g)
	if err := next.Init(nil); err != nil {
		t.Fatal(err)
	}
	l = next
	serve(l)
	dial()
	brokertest.WaitFor(t, "the second", func() bool { return g.Totals().Accepted == 2 })
	if n := l.Connections(); n != 2 {
		t.Errorf("%d connections, want both", n)
	}
	dial()
	brokertest.WaitFor(t, "the refusal", func() bool { return g.Totals().Refused[listen.RefusedMaxConnections] == 1 })
	close(hold)
	brokertest.WaitFor(t, "the end of all", func() bool { return g.Totals().Connections == 0 })
	if n := l.Connections(); n != 0 {
		t.Errorf("%d connections after the end of all", n)
	}
	for range 2 {
		dial()
	}
	brokertest.WaitFor(t, "two more", func() bool { return g.Totals().Accepted == 4 })
	l.Close(nil)
}
