package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// hello is the beginning of a TLS handshake: a message of the given length, of
// which as much is there as asked for.
func hello(length, there int) []byte {
	msg := append([]byte{1, byte(length >> 16), byte(length >> 8), byte(length)}, make([]byte, there)...)
	var out []byte
	for len(msg) > 0 {
		n := min(len(msg), 16<<10)
		out = append(out, 22, 3, 1)
		out = binary.BigEndian.AppendUint16(out, uint16(n))
		out, msg = append(out, msg[:n]...), msg[n:]
	}
	return out
}

func TestTLSRefusals(t *testing.T) {
	mqtt := connectFrame(v5("c"))
	for _, tc := range []struct {
		name   string
		kind   string
		limits Limits
		plain  []byte            // is sent without TLS
		config func(*tls.Config) // of the client, if plain is nil
		want   string
		says   string
	}{
		{name: "MQTT in the clear", kind: TypeTLS, plain: mqtt, want: RefusedNotTLS, says: "does not speak TLS"},
		{name: "HTTP in the clear", kind: TypeWebSocketTLS, plain: wsRequest("/mqtt"), want: RefusedNotTLS, says: "does not speak TLS"},
		{name: "TLS where there is none", kind: TypeTCP, config: func(*tls.Config) {}, want: RefusedNotMQTT, says: "speaks TLS, this listener does not"},
		{name: "TLS where there is none, for browsers", kind: TypeWebSocket, config: func(*tls.Config) {}, want: RefusedNotWebSocket},
		{name: "1.1", kind: TypeTLS, config: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, want: RefusedTLS, says: "version"},
		{name: "client does not trust us", kind: TypeTLS, config: func(c *tls.Config) { c.RootCAs = nil }, want: RefusedTLS, says: "remote error"},
		{name: "client does not trust us, 1.2", kind: TypeTLS, config: func(c *tls.Config) { c.RootCAs, c.MaxVersion = nil, tls.VersionTLS12 }, want: RefusedTLS, says: "remote error"},
		{name: "certificate of nobody", kind: TypeTLS, config: func(c *tls.Config) { c.Certificates = []tls.Certificate{testCert(t)} }, want: RefusedCertificate, says: "client certificate"},
		{name: "certificate of nobody, for browsers", kind: TypeWebSocketTLS, config: func(c *tls.Config) { c.Certificates = []tls.Certificate{testCert(t)} }, want: RefusedCertificate, says: "client certificate"},
		{name: "handshake without end", kind: TypeTLS, plain: hello(64<<10, 64<<10), want: RefusedTLS, says: "65536 bytes"},
		{name: "too much held", kind: TypeTLS, limits: Limits{MaxUnauthenticatedBytes: 5000}, plain: hello(10000, 6000), want: RefusedMemory, says: "too many bytes"},
		{name: "handshake and not a word", kind: TypeTLS, limits: Limits{ConnectTimeout: 100 * time.Millisecond}, config: func(*tls.Config) {}, want: RefusedSlowConnect, says: "no complete CONNECT"},
		{name: "nothing", kind: TypeTLS, limits: Limits{ConnectTimeout: 50 * time.Millisecond}, plain: []byte{}, want: RefusedSlowConnect, says: "TLS handshake"},
		{name: "half a handshake", kind: TypeTLS, limits: Limits{ConnectTimeout: 50 * time.Millisecond}, plain: hello(200, 100), want: RefusedSlowConnect, says: "TLS handshake"},
		{name: "half a handshake, for browsers", kind: TypeWebSocketTLS, limits: Limits{ConnectTimeout: 50 * time.Millisecond}, plain: hello(200, 100), want: RefusedSlowConnect, says: "TLS handshake"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ends := make(chan error, 1)
			r := newRig(t, Options{Limits: tc.limits, OnEnd: func(c *Conn, err error) {
				if c.Connect() != nil || c.Certificates() != nil {
					t.Error("there is a CONNECT, or a certificate")
				}
				ends <- err
			}}, &fakeServer{})
			l := r.listen(tc.kind)
			var c *client
			if tc.plain != nil {
				nc, err := net.Dial("tcp", l.Address())
				if err != nil {
					t.Fatal(err)
				}
				c = newClient(t, nc)
				_, _ = c.Write(tc.plain)
			} else {
				c = r.dialTLS(l, tc.config)
				go func() { _ = c.Conn.(*tls.Conn).Handshake() }() // as far as it goes
			}
			if got := await(t, r.refused, "the refusal"); got != tc.want {
				t.Errorf("refused with %q, want %q", got, tc.want)
			}
			if err := await(t, ends, "the end"); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("ended with %v", err)
			}
			eventually(t, "an empty gate", func() bool { return r.gate.Totals().Connections == 0 })
			if n := r.gate.unauthBytes.Load(); n != 0 {
				t.Errorf("%d bytes are still charged", n)
			}
		})
	}
}

// TestTLSAlertArrives has a client that sends on while it is refused: closing
// at once would reset the connection, and the client would not know why.
func TestTLSAlertArrives(t *testing.T) {
	for range 20 {
		r := newRig(t, Options{}, &fakeServer{})
		c := r.dialTLS(r.listen(TypeTLS), func(c *tls.Config) { c.Certificates = []tls.Certificate{testCert(t)} })
		_, err := c.Write(connectFrame(v5("c"))) // TLS 1.3: the client is done before the server has looked
		for i := 0; err == nil && i < 3; i++ {
			_, err = c.Write(make([]byte, 1000))
		}
		if _, err := io.ReadAll(c.Conn); err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
			t.Fatalf("the client heard %v", err)
		}
		if _, err := io.ReadAll(tcpOf(c.Conn)); err != nil {
			t.Fatalf("the connection was reset: %v", err)
		}
	}
}

// TestTLSHandshakeHeldOpen has many clients that do not finish their handshake:
// others are served meanwhile, the limit holds, and ending them needs no time.
func TestTLSHandshakeHeldOpen(t *testing.T) {
	over(t, func(t *testing.T, kind string) {
		r := newRig(t, Options{Limits: Limits{MaxUnauthenticated: 11}}, &fakeServer{})
		l := r.listen(kind)
		for i := range 10 {
			nc, err := net.Dial("tcp", l.Address())
			if err != nil {
				t.Fatal(err)
			}
			newClient(t, nc).send(hello(500, 40*i))
		}
		eventually(t, "ten handshakes", func() bool { return r.gate.Totals().Unauthenticated == 10 })
		connect := func() {
			if kind == TypeTLS {
				r.dial(l).connect(v5("c")).send(pingreq).frame()
			} else {
				r.dialWS(l).wsConnect(v5("c"))
			}
		}
		connect()
		connect()
		nc, err := net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, nc)
		eventually(t, "the eleventh", func() bool { return r.gate.Totals().Unauthenticated == 11 })
		nc, err = net.Dial("tcp", l.Address())
		if err != nil {
			t.Fatal(err)
		}
		newClient(t, nc)
		if got := await(t, r.refused, "the refusal of one too many"); got != RefusedMaxUnauthenticated {
			t.Errorf("refused with %q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
			t.Error(err)
		}
		for range 13 {
			if e := r.end(); e.word != EndServerShutdown {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
		}
	}, TypeTLS, TypeWebSocketTLS)
}

// helloConn keeps what a client says first, and never answers.
type helloConn struct {
	net.Conn
	said chan []byte
}

func (c *helloConn) Write(p []byte) (int, error) { c.said <- bytes.Clone(p); return len(p), nil }
func (c *helloConn) Read([]byte) (int, error)    { return 0, io.EOF }

// TestTLSEndsWhileShaking ends a connection whose peer does not take our part of
// the handshake.
func TestTLSEndsWhileShaking(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	server, config := r.tlsConfigs()
	dumb := &helloConn{said: make(chan []byte, 8)}
	_ = tls.Client(dumb, config).Handshake()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	conn := r.admit(newTLSSocket(ours, server, false))
	go conn.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
	if _, err := theirs.Write(await(t, dumb.said, "a client's first words")); err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	if _, err := io.ReadFull(theirs, one[:]); err != nil { // the rest of the answer waits for us
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.gate.Shutdown(ctx, wire.ServerShuttingDown, EndServerShutdown); err != nil {
		t.Error(err)
	}
	if e := r.end(); e.word != EndServerShutdown {
		t.Errorf("ended with %q, %v", e.word, e.err)
	}
}

// TestTLSPeerGone has clients that vanish in the middle of the handshake: that
// is no refusal.
func TestTLSPeerGone(t *testing.T) {
	for _, sent := range [][]byte{nil, hello(500, 100)} {
		for _, linger := range []int{-1, 0} {
			r := newRig(t, Options{}, &fakeServer{})
			nc, err := net.Dial("tcp", r.listen(TypeTLS).Address())
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, nc).send(sent)
			_ = tcpOf(c.Conn).SetLinger(linger)
			_ = c.Close()
			if e := r.end(); e.word != EndTCPClosed || e.err == nil {
				t.Errorf("ended with %q, %v", e.word, e.err)
			}
			if n := r.gate.Totals().Refused; len(n) > 0 {
				t.Errorf("refused %v", n)
			}
		}
	}
}

func TestTLSCertificates(t *testing.T) {
	over(t, func(t *testing.T, kind string) {
		for _, shown := range []bool{true, false} {
			r := newRig(t, Options{}, &fakeServer{})
			l := r.listen(kind)
			c := r.dialTLS(l, func(c *tls.Config) {
				if shown {
					c.Certificates = []tls.Certificate{r.cert}
				}
			})
			if kind == TypeTLS {
				c.connect(v5("c"))
			} else {
				(&wsClient{c}).wsConnect(v5("c"))
			}
			list := r.conn().Certificates()
			switch {
			case !shown && list != nil:
				t.Error("there are certificates, and none was shown")
			case shown && (len(list) == 0 || list[0].Subject.CommonName != "device"):
				t.Errorf("got %v", list)
			}
		}
	}, TypeTLS, TypeWebSocketTLS)
}

// recorder keeps the types of the records that come in.
type recorder struct {
	net.Conn
	mu  sync.Mutex
	buf []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p[:n]...)
	return n, err
}

func (r *recorder) types() (list []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for b := r.buf; len(b) >= 5; b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):] {
		list = append(list, b[0])
	}
	return list
}

// TestTLSLastWords ends connections, and expects MQTT's last word, then that of
// TLS, then the end of the stream. TLS 1.2 shows its records' types.
func TestTLSLastWords(t *testing.T) {
	const alert, data = 21, 23
	for _, tc := range []struct {
		name string
		end  func(*Conn, *client)
		want []byte
	}{
		{"kicked", func(c *Conn, _ *client) { c.Kick(wire.AdministrativeAction, EndKicked) }, []byte{data, alert}},
		{"bad frame", func(_ *Conn, c *client) { c.send([]byte{0xF7, 0}) }, []byte{data, alert}},
		{"DISCONNECT", func(_ *Conn, c *client) { c.send(disconnect) }, []byte{data, alert}}, // that data is CONNACK
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			nc, err := net.Dial("tcp", r.listen(TypeTLS).Address())
			if err != nil {
				t.Fatal(err)
			}
			_, config := r.tlsConfigs()
			config.MaxVersion = tls.VersionTLS12
			records := &recorder{Conn: nc}
			c := newClient(t, tls.Client(records, config)).connect(v5("c"))
			tc.end(r.conn(), c)
			rest := c.rest()
			if tc.name != "DISCONNECT" {
				if f, n, err := wire.Scan(rest, 0); err != nil || n != len(rest) || f.Type != wire.DISCONNECT {
					t.Errorf("last words %x", rest)
				}
			}
			if got := records.types(); !bytes.HasSuffix(got, tc.want) {
				t.Errorf("records of types %v", got)
			}
		})
	}
}

// TestTLSWithoutDescriptor speaks TLS over what is not a socket, so that every
// write has to wait.
func TestTLSWithoutDescriptor(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	server, config := r.tlsConfigs()
	ours, theirs := net.Pipe()
	conn := r.admit(newTLSSocket(ours, server, false))
	go conn.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
	c := newClient(t, tls.Client(theirs, config)).connect(v5("c"))
	r.conn()
	want := bytes.Repeat([]byte("x"), 300_000)
	conn.Send(publish(wire.V5, 0, 0, want))
	conn.Flush()
	if f := c.frame(); f.Type != wire.PUBLISH || !bytes.HasSuffix(f.Raw, want) {
		t.Errorf("got %v of %d bytes", f.Type, len(f.Raw))
	}
	conn.Kick(wire.AdministrativeAction, EndKicked)
	if got := c.disconnected(); got != wire.AdministrativeAction {
		t.Errorf("got %v", got)
	}
	r.end()
}

// pair are the ends of a TCP connection.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// TestBelowTLS writes to a peer that does not read: no write waits, what the
// kernel does not take is kept, in order and bounded.
func TestBelowTLS(t *testing.T) {
	fill := func(t *testing.T, b *belowTLS) (sent []byte) {
		for n := byte(0); !b.waiting(); n++ {
			p := bytes.Repeat([]byte{n}, 5000)
			if k, err := b.Write(p); k != len(p) || err != nil {
				t.Fatal(k, err)
			}
			sent = append(sent, p...)
		}
		return sent
	}
	t.Run("in order", func(t *testing.T) {
		ours, theirs := pair(t)
		b := newBelowTLS(ours, false)
		b.finish()
		sent := fill(t, b)
		flushed := make(chan error, 1)
		go func() { flushed <- b.flush() }()
		eventually(t, "a flush that waits", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.sending
		})
		for n := byte(100); n < 105; n++ { // this must not wait for it
			p := bytes.Repeat([]byte{n}, 1000)
			if _, err := b.Write(p); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, p...)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("what came is not what was sent; %v", err)
		}
		if err := await(t, flushed, "flush"); err != nil || b.waiting() {
			t.Errorf("%v, waiting %v", err, b.waiting())
		}
	})
	t.Run("bounded", func(t *testing.T) {
		ours, _ := pair(t)
		b := newBelowTLS(ours, false)
		b.finish()
		fill(t, b)
		var err error
		for i := 0; err == nil; i++ {
			if i*1000 > maxTLSRest {
				t.Fatal("it takes without end")
			}
			_, err = b.Write(make([]byte, 1000))
		}
		if !errors.Is(err, errTLSRest) || len(b.rest) > 0 {
			t.Errorf("%v, and %d bytes are kept", err, len(b.rest))
		}
		if _, err := b.Write([]byte{1}); err == nil || b.flush() == nil {
			t.Error("it goes on after it has failed")
		}
	})
	t.Run("peer gone", func(t *testing.T) {
		ours, theirs := pair(t)
		b := newBelowTLS(ours, false)
		b.finish()
		fill(t, b)
		_ = theirs.(*net.TCPConn).SetLinger(0)
		_ = theirs.Close()
		if err := b.flush(); err == nil {
			t.Error("flushed to nobody")
		}
	})
}

// TestTLSIdleCost opens connections that do nothing any more.
func TestTLSIdleCost(t *testing.T) {
	const n = 200
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listen(TypeTLS)
	clients := make([]*client, n)
	heap, routines := heapInUse(), runtime.NumGoroutine()
	for i := range clients {
		clients[i] = r.dial(l).connect(v311("c"))
		clients[i].send(publish(wire.V311, 0, 0, make([]byte, 100)), pingreq).frame()
		clients[i].br = nil
	}
	if got := runtime.NumGoroutine() - routines; got > n+10 {
		t.Errorf("%d goroutines for %d connections", got, n)
	}
	each := (heapInUse() - heap) / n
	t.Logf("%d bytes of heap per connection, both ends", each)
	if limit := int64(32 << 10); each > limit && !raceEnabled { // with a page of ours it would be 16 KiB more
		t.Errorf("%d bytes of heap per connection, want at most %d", each, limit)
	}
	runtime.KeepAlive(clients)
}

func TestTLSNeedsConfiguration(t *testing.T) {
	for _, kind := range []string{TypeTLS, TypeWebSocketTLS} {
		err := New(Config{ID: "x", Type: kind, Address: "127.0.0.1:0"}, NewGate(Options{})).Init(nil)
		if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), "needs a TLS configuration") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
