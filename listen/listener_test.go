package listen

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

func TestListenerBinds(t *testing.T) {
	g := NewGate(Options{})
	l := New(Config{ID: "a", Address: "127.0.0.1:0"}, g)
	if l.Address() != "127.0.0.1:0" || l.ID() != "a" || l.Protocol() != "tcp" {
		t.Errorf("%q %q %q", l.Address(), l.ID(), l.Protocol())
	}
	if err := l.Init(slog.Default()); err != nil {
		t.Fatal(err)
	}
	defer l.Close(nil)
	if strings.HasSuffix(l.Address(), ":0") {
		t.Errorf("address %q is not the bound one", l.Address())
	}
	l.Close(func(string) { t.Error("the server's way to close clients was used") })
	l.Close(nil)
	l.Serve(nil) // must return
}

func TestListenerBindErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live, err := net.Listen("unix", filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for _, tc := range []struct {
		cfg   Config
		text  string
		cause error
	}{
		{Config{Address: busy.Addr().String(), Key: "listeners[3].address"},
			`listener "l": address ` + busy.Addr().String() + ` is in use by another process; stop it or choose another address in listeners[3].address`, syscall.EADDRINUSE},
		{Config{Address: "192.0.2.1:0"}, "no network interface has address 192.0.2.1:0", syscall.EADDRNOTAVAIL},
		{Config{Address: "nonsense"}, "missing port", nil},
		{Config{Address: "x", Type: "carrier pigeon"}, `"carrier pigeon" is not known`, nil},
		{Config{Type: TypeUnix, Address: plain}, "not a socket", nil},
		{Config{Type: TypeUnix, Address: live.Addr().String()}, "is in use by another process", syscall.EADDRINUSE},
		{Config{Type: TypeUnix, Address: filepath.Join(dir, "no", "s")}, "does not exist; create it", fs.ErrNotExist},
		{Config{Type: TypeUnix, Address: "/" + strings.Repeat("x", 120)}, "107 at most", nil},
	} {
		tc.cfg.ID = "l"
		l := New(tc.cfg, NewGate(Options{}))
		err := l.Init(nil)
		if !errors.Is(err, ErrListen) || !strings.Contains(fmt.Sprint(err), tc.text) {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
		if tc.cause != nil && !errors.Is(err, tc.cause) {
			t.Errorf("%v does not wrap %v", err, tc.cause)
		}
		l.Close(nil)
	}
	if _, err := os.Stat(plain); err != nil {
		t.Error("a file in the way was removed")
	}
	if _, err := net.Dial("unix", live.Addr().String()); err != nil {
		t.Error("a socket in use was removed")
	}
}

func TestListenerUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	l := New(Config{ID: "u", Type: TypeUnix, Address: path, Mode: 0o617}, NewGate(Options{}))
	if err := l.Init(nil); err != nil {
		t.Fatalf("in place of a stale socket: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o617 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	l.Close(nil)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket remains: %v", err)
	}
}

// faultyListener fails to accept a number of times, then hands out conns.
type faultyListener struct {
	mu     sync.Mutex
	fails  int
	calls  int
	conns  chan net.Conn
	closed chan struct{}
}

func (l *faultyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.calls++
	fail := l.calls <= l.fails
	l.mu.Unlock()
	if fail {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *faultyListener) Close() error   { close(l.closed); return nil }
func (l *faultyListener) Addr() net.Addr { return &net.UnixAddr{Name: "faulty", Net: "unix"} }

func TestListenerSurvivesAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := newRig(t, Options{Log: slog.New(slog.NewTextHandler(&out, nil))}, &fakeServer{})
		const fails = 60
		fl := &faultyListener{fails: fails, conns: make(chan net.Conn), closed: make(chan struct{})}
		l := New(Config{ID: "w", Type: TypeUnix, Bound: fl}, r.gate)
		if err := l.Init(nil); err != nil || l.Address() != "faulty" {
			t.Fatal(l.Address(), err)
		}
		begin := time.Now()
		go l.Serve(r.server.establish)
		talk := func() {
			ours, theirs := net.Pipe()
			fl.conns <- ours
			c := newClient(t, theirs).connect(v311("c"))
			c.send(disconnect)
			r.end()
		}
		talk()
		// 5+10+...+640 ms, then a second each.
		if d, want := time.Since(begin), 1275*time.Millisecond+(fails-8)*time.Second; d != want {
			t.Errorf("accepting again after %v, want %v", d, want)
		}
		time.Sleep(time.Minute)
		talk()
		l.Close(nil)
		if n := strings.Count(out.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, out.String())
		}
		if n := strings.Count(out.String(), "accepting connections again"); n != 1 {
			t.Errorf("%d notes of recovery:\n%s", n, out.String())
		}
		if n := fl.calls; n != fails+3 {
			t.Errorf("accept was called %d times", n)
		}
	})
}

// TestListenerCloseEndsBackoff closes a listener that cannot accept.
func TestListenerCloseEndsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fl := &faultyListener{fails: 1 << 30, closed: make(chan struct{})}
		l := New(Config{ID: "w", Type: TypeUnix, Bound: fl}, NewGate(Options{}))
		go l.Serve(nil)
		time.Sleep(time.Minute)
		begin := time.Now()
		l.Close(nil)
		if d := time.Since(begin); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

func TestGateLimits(t *testing.T) {
	t.Run("unauthenticated", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxUnauthenticated: 2}}, &fakeServer{})
		l := r.listen(TypeTCP)
		first, second := r.dial(l), r.dial(l)
		eventually(t, "two connections", func() bool { return r.gate.Totals().Unauthenticated == 2 })
		third := r.dial(l)
		if got := await(t, r.refused, "refusal"); got != RefusedMaxUnauthenticated {
			t.Errorf("refused with %q", got)
		}
		if out := third.rest(); len(out) > 0 {
			t.Errorf("sent %x", out)
		}
		first.connect(v311("a")) // makes room
		r.conn()
		second.Close() // makes room
		r.end()
		eventually(t, "room", func() bool { return r.gate.Totals().Unauthenticated == 0 })
		r.dial(l).connect(v311("b"))
		if n := r.gate.Totals().Refused[RefusedMaxUnauthenticated]; n != 1 {
			t.Errorf("%d refusals counted", n)
		}
	})
	t.Run("connections", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxConnections: 1}}, &fakeServer{})
		tcp, unix := r.listen(TypeTCP), r.listen(TypeUnix)
		c := r.dial(tcp).connect(v311("a"))
		_ = r.dial(unix)
		if got := await(t, r.refused, "refusal"); got != RefusedMaxConnections {
			t.Errorf("refused with %q", got)
		}
		c.send(disconnect)
		r.end()
		eventually(t, "room", func() bool { return r.gate.Totals().Connections == 0 })
		r.dial(unix).connect(v311("b"))
	})
	t.Run("connections of one address", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxPerAddress: 2}}, &fakeServer{})
		tcp, unix := r.listen(TypeTCP), r.listen(TypeUnix)
		a := r.dial(tcp).connect(v311("a"))
		r.dial(tcp).connect(v311("b"))
		_ = r.dial(tcp)
		if got := await(t, r.refused, "refusal"); got != RefusedMaxPerAddress {
			t.Errorf("refused with %q", got)
		}
		for _, id := range []string{"c", "d", "e"} {
			r.dial(unix).connect(v311(id)) // has no address
		}
		a.send(disconnect)
		r.end()
		eventually(t, "room", func() bool { return r.gate.Totals().Connections == 4 })
		r.dial(tcp).connect(v311("f"))
	})
	t.Run("rate of one address", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectRate: 1}}, &fakeServer{})
		tcp := r.listen(TypeTCP)
		for range 20 { // in less than twenty seconds
			_ = r.dial(tcp)
		}
		if got := await(t, r.refused, "refusal"); got != RefusedConnectRate {
			t.Errorf("refused with %q", got)
		}
	})
	t.Run("bytes before authentication", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{MaxUnauthenticatedBytes: 1000}}, &fakeServer{})
		l := r.listen(TypeTCP)
		big := v311(strings.Repeat("i", 900))
		frame := connectFrame(big)
		first := r.dial(l).send(frame[:800])
		eventually(t, "the first half", func() bool { return r.gate.unauthBytes.Load() == 800 })
		_ = r.dial(l).send(frame[:800])
		if got := await(t, r.refused, "refusal"); got != RefusedMemory {
			t.Errorf("refused with %q", got)
		}
		r.end()
		first.send(frame[800:])
		if f := first.frame(); f.Type != wire.CONNACK {
			t.Errorf("got %v", f.Type)
		}
		eventually(t, "the bytes to be released", func() bool { return r.gate.unauthBytes.Load() == 0 })
	})
}

func TestGateTotals(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTCP)
	gone, here := r.dial(l).connect(v311("a")), r.dial(l).connect(v311("b"))
	gone.send(disconnect)
	r.end()
	here.send(pingreq)
	here.frame()
	eventually(t, "one connection", func() bool { return r.gate.Totals().Connections == 1 })
	in := uint64(2*len(connectFrame(v311("a"))) + 4)
	want := Traffic{BytesIn: in, BytesOut: 4 + 4 + 2, PacketsIn: 4, PacketsOut: 3}
	eventually(t, "the counters to agree", func() bool { return r.gate.Totals().Traffic == want })
	list := r.gate.Conns()
	if len(list) != 1 || list[0].ID() != "b" || list[0].Listener() != TypeTCP || list[0].Remote() != here.LocalAddr().String() || list[0].ConnectedAt().IsZero() {
		t.Errorf("connections %v", list)
	}
}

// A socket of another kind than the listener's type is not listened on.
func TestListenerRefusesAnotherKind(t *testing.T) {
	for _, tc := range []struct{ network, address, kind, want string }{
		{"unix", filepath.Join(t.TempDir(), "s"), TypeTCP, `is no TCP socket; set its type to "unix"`},
		{"tcp", "127.0.0.1:0", TypeUnix, `is no unix socket; set its type to "tcp"`},
	} {
		nl, err := net.Listen(tc.network, tc.address)
		if err != nil {
			t.Fatal(err)
		}
		l := New(Config{ID: "l", Type: tc.kind, Bound: nl}, NewGate(Options{}))
		if err := l.Init(nil); !errors.Is(err, ErrListen) || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s socket for type %s: %v", tc.network, tc.kind, err)
		}
		l.Close(nil)
	}
}

// A socket that a listener was given is closed with it, also if something else
// failed before it could listen.
func TestListenerClosesWhatItWasGiven(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	New(Config{ID: "l", Bound: nl}, NewGate(Options{})).Close(nil)
	if _, err := nl.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it is still open: %v", err)
	}
}
