package listen

import (
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// What waits for peers that take nothing is accounted for to the byte of the
// buffers that it lies in, and nothing is left when they are gone.
func TestOutboundIsAccountedFor(t *testing.T) {
	for _, kind := range []string{"pipe", TypeTCP, TypeTLS, TypeWebSocket} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, Options{Limits: Limits{MaxOutboundBytes: 1 << 20}, SocketBuffer: 4 << 10}, &fakeServer{})
			connect := func() { r.pipe().connect(v5("")) }
			switch kind {
			case TypeTCP, TypeTLS:
				l := r.listen(kind)
				connect = func() { r.dial(l).connect(v5("")) }
			case TypeWebSocket:
				l := r.listen(kind)
				connect = func() { r.dialWS(l).wsConnect(v5("")) }
			}
			shared := make([]byte, 10_000)
			for range 3 {
				connect()
				c := r.conn()
				for c.Pending() < 500_000 {
					c.Send(publish(wire.V5, 0, 0, make([]byte, 300)))
					c.SendShared(publishHead(len(shared)), shared)
					c.Flush()
				}
				c.mu.Lock()
				if held := c.out.held.Load(); held < int64(c.out.pending) || held > int64(c.out.pending)*3/2+64<<10 {
					t.Errorf("%d bytes wait, %d are held", c.out.pending, held)
				}
				c.mu.Unlock()
			}
			if used, room := r.gate.outbound.Load(), r.gate.OutboundRoom(); used < 1_500_000 || room != 0 {
				t.Errorf("%d bytes are held, there is room for %d", used, room)
			}
			if n := r.gate.mayPend(); n != minPend {
				t.Errorf("%d bytes may wait before a client is not read", n)
			}
			for _, c := range r.gate.Conns() {
				c.Kick(wire.ServerShuttingDown, EndServerShutdown)
			}
			eventually(t, "all to be given back", func() bool { return r.gate.outbound.Load() == 0 && r.gate.OutboundRoom() == 1<<20 })
		})
	}
}

// publishHead is all of a PUBLISH but for its payload.
func publishHead(n int) []byte {
	return wire.AppendPublishHead(nil, &wire.Out{Version: wire.V5, Topic: []byte("t"), Payload: make([]byte, n)}, 0)
}

// A peer that takes what it gets costs no account.
func TestOutboundOfPeersThatKeepUp(t *testing.T) {
	r := newRig(t, Options{Limits: Limits{MaxOutboundBytes: 1 << 20}}, &fakeServer{})
	c := r.dial(r.listen(TypeTCP)).connect(v5(""))
	conn := r.conn()
	for range 100 {
		conn.Send(publish(wire.V5, 0, 0, make([]byte, 300)))
		conn.Flush()
		c.frame()
	}
	if used, held := r.gate.outbound.Load(), conn.out.held.Load(); used != 0 || held != 0 {
		t.Errorf("%d bytes are charged, %d held", used, held)
	}
}

// Batches grow with what waits, so that many peers with a little waiting do
// not hold much.
func TestBatchesGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outbound
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 3000), 1, 200).Draw(t, "sizes") {
			o.append(make([]byte, n))
			batches := 0
			for b := o.head; b != nil; b = b.next {
				batches++
			}
			if held := int(o.held.Load()); held > 2*o.pending+smallBatch+batches*batchCost+largeBatch/4 && o.pending > smallBatch || held < o.pending {
				t.Fatalf("%d bytes wait, %d are held", o.pending, held)
			}
		}
		o.kill()
		if held := o.held.Load(); held != 0 {
			t.Fatalf("%d bytes are still held", held)
		}
	})
}

// While memory is short, strangers get a few places, and each gives way after a
// while: who connects properly comes in all the same.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectTimeout: time.Hour}}, &fakeServer{})
		known := r.pipe().connect(v5("known"))
		strangers := func(n int) {
			for range n {
				r.pipe()
			}
			synctest.Wait()
		}
		strangers(50)
		time.Sleep(2 * strangerTime)
		r.gate.Guard(true)
		synctest.Wait()
		if n := r.gate.Totals().Unauthenticated; n != guardedStrangers {
			t.Errorf("%d strangers are left", n)
		}
		strangers(guardedStrangers) // take the places of those that were there
		strangers(100)              // are refused: those have not had their time
		totals := r.gate.Totals()
		if totals.Unauthenticated != guardedStrangers || totals.Evicted != 50 || totals.Refused[RefusedPressure] != 150 {
			t.Errorf("%d strangers are there, %d were ended, %d turned away or ended", totals.Unauthenticated, totals.Evicted, totals.Refused[RefusedPressure])
		}
		time.Sleep(2 * strangerTime)
		r.pipe().connect(v5("late"))
		known.send(pingreq)
		if f := known.frame(); f.Type != wire.PINGRESP {
			t.Errorf("who was known got %v", f.Type)
		}
		r.gate.Guard(false)
		strangers(100)
		if n := r.gate.Totals().Unauthenticated; n < 100 {
			t.Errorf("%d strangers are there when memory is not short any more", n)
		}
		r.over()
	})
}

// While memory is short, little is read at once, so that parts of packets are
// small.
func TestGuardedReads(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	r.dial(r.listen(TypeTCP)).connect(v5(""))
	c := r.conn()
	for _, tc := range []struct {
		guarded bool
		held    int64
		want    int
	}{{false, 0, pageSize}, {true, 0, smallRead}, {true, 5000, pageSize}} {
		r.gate.Guard(tc.guarded)
		probe := Conn{gate: c.gate}
		probe.share.held = tc.held
		if got := len(probe.room()); got != tc.want {
			t.Errorf("%+v: room for %d bytes", tc, got)
		}
	}
	r.gate.Guard(false)
}

// What clients say in CONNECT stays in memory as long as they are connected,
// and is bounded in total.
func TestConnectBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxConnectBytes: 100_000}}, &fakeServer{})
		willing := func() wire.Connect {
			c := v5("")
			c.Will = &wire.Will{Topic: "w", Payload: make([]byte, 30_000)}
			return c
		}
		var in []*client
		for range 3 {
			in = append(in, r.pipe().connect(willing()))
		}
		c := r.pipe()
		go func() { _, _ = c.Write(connectFrame(willing())) }()
		f := c.frame()
		if ack, err := wire.DecodeConnack(f, wire.V5); err != nil || ack.Reason != wire.QuotaExceeded {
			t.Errorf("the fourth got %v, %v", ack.Reason, err)
		}
		for range 20 { // small ones are none of that
			r.pipe().connect(v5(""))
		}
		in[0].Close()
		synctest.Wait()
		time.Sleep(time.Second)
		r.pipe().connect(willing())
		r.over()
	})
}

func TestSocketBuffer(t *testing.T) {
	for _, kind := range []string{TypeTCP, TypeUnix, TypeTLS, TypeWebSocket} {
		r := newRig(t, Options{SocketBuffer: 20_000}, &fakeServer{})
		l := r.listen(kind)
		if kind == TypeWebSocket {
			r.dialWS(l).wsConnect(v5(""))
		} else {
			r.dial(l).connect(v5(""))
		}
		nc := r.conn().nc
		switch s := nc.(type) {
		case *tlsSocket:
			nc = s.below.Conn
		case *webSocket:
			nc = s.transport.Conn
		}
		raw, err := nc.(interface {
			net.Conn
			SyscallConn() (syscall.RawConn, error)
		}).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			n := 0
			if err := raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option) }); err != nil {
				t.Fatal(err)
			}
			if n > 2*20_000 { // Linux doubles what it is told
				t.Errorf("%s: the kernel holds %d bytes", kind, n)
			}
		}
	}
}

// The window that a TCP peer is shown is never larger than what the kernel holds, so
// that it does not wait for more to open.
func TestSocketWindow(t *testing.T) {
	const most = 20_000
	r := newRig(t, Options{SocketBuffer: most}, &fakeServer{})
	nc, err := net.Dial("tcp", r.listen(TypeTCP).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	if info.Snd_wnd == 0 || info.Snd_wnd > 2*most {
		t.Errorf("the peer may send %d bytes, the kernel holds %d", info.Snd_wnd, 2*most)
	}
}

// Large packets of filters are worked on one at a time, and only up to a bound.
func TestFiltersOneAfterTheOther(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = "filter"
	}
	frame := subscribe(wire.V5, 1, many...)
	release, working := make(chan struct{}), make(chan string, 10)
	r := newRig(t, Options{Limits: Limits{MaxFilterBytes: len(frame)}}, &fakeServer{control: func(c *Conn, f wire.Frame) error {
		if f.Type == wire.SUBSCRIBE {
			working <- c.ID()
			if len(f.Raw) > smallControl {
				<-release
			}
			_, err := c.Write(wire.AppendSuback(nil, wire.V5, packetID(f), nil))
			return err
		}
		return nil
	}})
	l := r.listen(TypeTCP)
	var large []*client
	for _, id := range []string{"a", "b", "c"} {
		large = append(large, r.dial(l).connect(v5(id)).send(frame))
	}
	await(t, working, "one to be worked on")
	small := r.dial(l).connect(v5("small")).send(subscribe(wire.V5, 1, "x"))
	if id := await(t, working, "a small one"); id != "small" {
		t.Errorf("%s is worked on, too", id)
	}
	if f := small.frame(); f.Type != wire.SUBACK {
		t.Errorf("got %v", f.Type)
	}
	close(release)
	for _, c := range large {
		if f := c.frame(); f.Type != wire.SUBACK {
			t.Errorf("got %v", f.Type)
		}
	}
	c := r.dial(l).connect(v5("too large")).send(subscribe(wire.V5, 1, append(many, "one more")...))
	if got := c.disconnected(); got != wire.QuotaExceeded {
		t.Errorf("a larger one: %v", got)
	}
}
