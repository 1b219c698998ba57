package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// loopback is where the tests' proxies are.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// line is a PROXY header of version 1.
func line(rest string) []byte { return []byte("PROXY " + rest + "\r\n") }

const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// header2 is a PROXY header of version 2.
func header2(command, family byte, body ...string) []byte {
	all := strings.Join(body, "")
	b := append([]byte(signature2), command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(all))), all...)
}

// proxyHeaders are good headers of connections from 198.51.100.7:4711 and
// [2001:db8::7]:4711, and some that name nobody.
func proxyHeaders() map[string][]byte {
	v4 := "\xc6\x33\x64\x07\xc0\x00\x02\x01\x12\x67\x07\x5b"
	v6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x12\x67\x07\x5b"
	secure := "\x20\x00\x0b\x07\x00\x00\x00\x00\x22\x00\x03oot" // PP2_TYPE_SSL: verified, common name oot
	return map[string][]byte{
		"198.51.100.7:4711 v1":          line("TCP4 198.51.100.7 192.0.2.1 4711 1883"),
		"198.51.100.7:4711 v2":          header2(0x21, 0x11, v4),
		"198.51.100.7:4711 v2, TLVs":    header2(0x21, 0x11, v4, secure, "\x04\x00\x00"),
		"198.51.100.7:4711 v2, large":   header2(0x21, 0x11, v4, "\x04\x0f\xf1"+strings.Repeat("n", 4096-15)),
		"198.51.100.7:4711 v1, mapped":  line("TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.1 4711 1883"),
		"[2001:db8::7]:4711 v1":         line("TCP6 2001:db8::7 2001:db8::1 4711 1883"),
		"[2001:db8::7]:4711 v2":         header2(0x21, 0x21, v6),
		" v1, unknown":                  line("UNKNOWN"),
		" v1, unknown, the longest":     line("UNKNOWN " + strings.Repeat("f", 107-len("PROXY UNKNOWN \r\n"))),
		" v2, local":                    header2(0x20, 0x00),
		" v2, local, with an address":   header2(0x20, 0x11, v4),
		" v2, local, short of one":      header2(0x20, 0x11, "abc"),
		" v2, of a unix socket":         header2(0x21, 0x31, strings.Repeat("x", 216)),
		"0.0.0.0:0 v1, the shortest":    line("TCP4 0.0.0.0 0.0.0.0 0 0"),
		"198.51.100.7:65535 v1, a port": line("TCP4 198.51.100.7 192.0.2.1 65535 65535"),
	}
}

// badProxyHeaders are no headers.
func badProxyHeaders() map[string][]byte {
	return map[string][]byte{
		"MQTT":               connectFrame(v5("c")),
		"TLS":                {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"HTTP":               []byte("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n"),
		"POST":               []byte("POST / HTTP/1.1\r\n\r\n"),
		"other case":         []byte("proxy TCP4 1.1.1.1 2.2.2.2 1 1\r\n"),
		"no space":           []byte("PROXYTCP4 1.1.1.1 2.2.2.2 1 1\r\n"),
		"two spaces":         line("TCP4  1.1.1.1 2.2.2.2 1 1"),
		"no family":          line("1.1.1.1 2.2.2.2 1 1"),
		"one address":        line("TCP4 1.1.1.1 1 1 aaaaaaa"),
		"words behind":       line("TCP4 1.1.1.1 2.2.2.2 1 1 1"),
		"port too large":     line("TCP4 1.1.1.1 2.2.2.2 65536 1"),
		"port with a sign":   line("TCP4 1.1.1.1 2.2.2.2 +1 1"),
		"host name":          line("TCP4 localhost 2.2.2.2 1 1"),
		"octal address":      line("TCP4 010.1.1.1 2.2.2.2 1 1"),
		"zone":               line("TCP6 fe80::1%eth0 fe80::2 1 1"),
		"family mixed up":    line("TCP4 ::1 ::1 1 1"),
		"line feed alone":    []byte("PROXY TCP4 1.1.1.1 2.2.2.2 1 1\n"),
		"line feed early":    []byte("PROXY \nUNKNOWN\r\n"),
		"line feed then CR":  []byte("PROXY UNKNOWN \n\r"),
		"line too long":      line("UNKNOWN " + strings.Repeat("f", 108-len("PROXY UNKNOWN \r\n"))),
		"line without end":   []byte("PROXY UNKNOWN " + strings.Repeat("f", 1000)),
		"version 1 of 2":     header2(0x11, 0x11, strings.Repeat("\x01", 12)),
		"version 3":          header2(0x31, 0x11, strings.Repeat("\x01", 12)),
		"no such command":    header2(0x22, 0x11, strings.Repeat("\x01", 12)),
		"no such family":     header2(0x21, 0x41, strings.Repeat("\x01", 12)),
		"no such transport":  header2(0x21, 0x13, strings.Repeat("\x01", 12)),
		"datagrams":          header2(0x21, 0x12, strings.Repeat("\x01", 12)),
		"addresses cut off":  header2(0x21, 0x11, strings.Repeat("\x01", 11)),
		"from nobody":        header2(0x21, 0x00),
		"larger than taken":  header2(0x21, 0x11, strings.Repeat("\x01", 4097)),
		"wrong in signature": append([]byte("\r\n\r\n\x00\r\nQUIT\r"), 0x21, 0x11, 0, 0),
	}
}

// TestProxyHeader reads headers in pieces of every size, with something behind.
func TestProxyHeader(t *testing.T) {
	for name, b := range proxyHeaders() {
		want, _, _ := strings.Cut(name, " ")
		for _, chunk := range []int{1, 2, 3, 7, 16, 100, 10000} {
			rest := slices.Concat([]byte("\r\n"), b, []byte("PROXY"))
			src := &scripted{in: slices.Concat(b, rest), chunk: chunk}
			got, err := readProxyHeader(src, func(int) bool { return true })
			if err != nil || !bytes.Equal(got, b) || !bytes.Equal(src.in, rest) {
				t.Fatalf("%s, %d at once: read %q, %v, and left %d of %d", name, chunk, got, err, len(src.in), len(rest))
			}
			o, err := parseProxyHeader(got)
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case o == nil && want != "" || o != nil && (o.name != want || o.remote.String() != want):
				t.Errorf("%s: from %+v", name, o)
			}
		}
	}
	for name, b := range badProxyHeaders() {
		for _, chunk := range []int{1, 3, 10000} {
			got, err := readProxyHeader(&scripted{in: b, chunk: chunk}, func(int) bool { return true })
			if err == nil {
				_, err = parseProxyHeader(got)
			}
			if !errors.Is(err, errProxyHeader) {
				t.Errorf("%s, %d at once: %v", name, chunk, err)
			}
		}
	}
}

// TestProxyHeaderCut cuts headers at every byte.
func TestProxyHeaderCut(t *testing.T) {
	for name, b := range proxyHeaders() {
		for n := range len(b) {
			got, err := readProxyHeader(&scripted{in: b[:n], chunk: 10000}, func(int) bool { return true })
			if err != io.EOF || len(got) != n {
				t.Fatalf("%s, %d bytes: %d, %v", name, n, len(got), err)
			}
		}
	}
}

// proxied listens for the tests' proxies.
func (r *rig) proxied(kind string, p Policy) *Listener {
	r.Helper()
	cfg := Config{ID: kind, Type: kind, Address: "127.0.0.1:0", Policy: p}
	cfg.Policy.Proxies, cfg.Policy.ProxyUnix = loopback, true
	switch kind {
	case TypeUnix:
		cfg.Address = filepath.Join(r.TempDir(), "s")
	case TypeTLS, TypeWebSocketTLS:
		cfg.TLS, _ = r.tlsConfigs()
	}
	return r.start(cfg)
}

// through connects as a proxy that begins with header.
func (r *rig) through(l *Listener, header []byte) *client {
	r.Helper()
	network := "tcp"
	if l.Protocol() == TypeUnix {
		network = "unix"
	}
	nc, err := net.Dial(network, l.Address())
	if err != nil {
		r.Fatal(err)
	}
	if _, err := nc.Write(header); err != nil {
		r.Fatal(err)
	}
	if _, config := r.tlsConfigs(); l.cfg.TLS != nil {
		nc = tls.Client(nc, config)
	}
	return newClient(r.TB, nc)
}

// connectOver is client.connect on any type of listener.
func connectOver(kind string, c *client, con wire.Connect) {
	if kind == TypeWebSocket || kind == TypeWebSocketTLS {
		(&wsClient{c}).wsConnect(con)
		return
	}
	c.connect(con)
}

func TestProxied(t *testing.T) {
	over(t, testProxied, TypeTCP, TypeUnix, TypeTLS, TypeWebSocket, TypeWebSocketTLS)
}

func testProxied(t *testing.T, kind string) {
	r := newRig(t, Options{Limits: Limits{MaxUnauthenticatedBytes: 64 << 10}}, &fakeServer{})
	l := r.proxied(kind, Policy{})
	for name, header := range proxyHeaders() {
		want, _, _ := strings.Cut(name, " ")
		c := r.through(l, header)
		connectOver(kind, c, v5("c"))
		conn := r.conn()
		if want == "" {
			want = c.LocalAddr().String()
			if kind == TypeUnix {
				want = "unix"
			}
		}
		if got := conn.Remote(); got != want {
			t.Errorf("%s: from %s", name, got)
		}
		if got := conn.RemoteAddr().String(); got != want && kind != TypeUnix {
			t.Errorf("%s: remote address %s", name, got)
		}
		if strings.HasPrefix(want, "198") && !strings.HasPrefix(conn.LocalAddr().String(), "192.0.2.1:") {
			t.Errorf("%s: local address %s", name, conn.LocalAddr())
		}
		if got := conn.Traffic().BytesIn; got <= uint64(len(header)) {
			t.Errorf("%s: %d bytes came in, with a header of %d", name, got, len(header))
		}
		c.Close()
		r.end()
		if n := r.gate.unauthBytes.Load(); n != 0 {
			t.Errorf("%s: %d bytes still charged", name, n)
		}
	}
}

// TestProxyHeaderRequired sends a trusted proxy's connections without a good one.
func TestProxyHeaderRequired(t *testing.T) {
	over(t, func(t *testing.T, kind string) {
		r := newRig(t, Options{}, &fakeServer{})
		l := r.proxied(kind, Policy{})
		for name, bad := range badProxyHeaders() {
			network := "tcp"
			if kind == TypeUnix {
				network = kind
			}
			nc, err := net.Dial(network, l.Address())
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, nc)
			_, _ = c.Write(slices.Concat(bad, make([]byte, 100))) // it may be closed by then
			if got := await(t, r.refused, "refusal"); got != RefusedProxyHeader {
				t.Errorf("%s: refused with %q", name, got)
			}
			if e := r.end(); e.word != EndProtocolError || e.conn.Connect() != nil {
				t.Errorf("%s: ended with %q", name, e.word)
			}
			if got, _ := io.ReadAll(c.Conn); len(got) > 0 {
				t.Errorf("%s: answered with %x", name, got)
			}
		}
		if n := r.gate.Totals().Refused[RefusedProxyHeader]; n != uint64(len(badProxyHeaders())) {
			t.Errorf("%d counted", n)
		}
	}, TypeTCP, TypeUnix, TypeTLS, TypeWebSocket, TypeWebSocketTLS)
}

// TestProxyHeaderForged sends headers from where no proxy is.
func TestProxyHeaderForged(t *testing.T) {
	elsewhere := Policy{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("10.0.0.0/8")}}
	for kind, want := range map[string]string{
		TypeTCP: RefusedNotMQTT, TypeUnix: RefusedNotMQTT, TypeTLS: RefusedNotTLS, TypeWebSocket: RefusedNotWebSocket, TypeWebSocketTLS: RefusedNotTLS,
	} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			l := r.proxied(kind, Policy{})
			l.SetPolicy(elsewhere)
			for name, header := range proxyHeaders() {
				if kind == TypeWebSocket && bytes.HasPrefix(header, []byte("PROXY")) {
					header = append(header, "\r\n"...) // HTTP would wait for the end of its own header
				}
				c := r.through(l, header)
				if got := await(t, r.refused, "refusal"); got != want {
					t.Errorf("%s: refused with %q", name, got)
				}
				if e := r.end(); e.conn.Connect() != nil || e.conn.Remote() != remoteName(e.conn.nc) {
					t.Errorf("%s: taken for %s", name, e.conn.Remote())
				}
				c.Close()
			}
			if kind != TypeWebSocket && kind != TypeWebSocketTLS {
				r.dial(l).connect(v5("direct")).send(disconnect) // who sends none comes in
				r.end()
			}
		})
	}
}

// from is a socket with a peer of a given address.
type from struct {
	net.Conn
	remote net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.remote }

// pipeProxy connects a proxy without a listener.
func (r *rig) pipeProxy() *client {
	ours, theirs := net.Pipe()
	l := New(Config{ID: "pipe", Policy: Policy{ProxyUnix: true}}, r.gate)
	if c := r.gate.admit(l, l.policy.Load(), from{ours, &net.UnixAddr{}}); c != nil {
		go c.serve(func(c *Conn) error { return r.server.establish("pipe", c) })
	}
	return newClient(r.TB, theirs)
}

// TestProxyHeaderSlow sends a header a byte a second.
func TestProxyHeaderSlow(t *testing.T) {
	for name, header := range map[string][]byte{
		"v1": proxyHeaders()["198.51.100.7:4711 v1"], "v2": proxyHeaders()["198.51.100.7:4711 v2"], "nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{Limits: Limits{ConnectTimeout: 5 * time.Second, MaxUnauthenticated: 1}}, &fakeServer{})
				begin := time.Now()
				c := r.pipeProxy()
				over := make(chan struct{})
				go func() {
					defer close(over)
					for _, b := range header {
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				e := r.end()
				if d := time.Since(begin); d != 5*time.Second || e.word != EndSlowConnect || <-r.refused != RefusedSlowConnect {
					t.Errorf("ended after %v with %q", d, e.word)
				}
				<-over
			})
		})
	}
}

// TestProxyHeaderKicked ends connections that still owe their header.
func TestProxyHeaderKicked(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.proxied(TypeTCP, Policy{})
	for range 10 {
		c := r.through(l, []byte("PROXY TCP4 1"))
		eventually(t, "the connection", func() bool { return len(r.gate.Conns()) == 1 })
		conn := r.gate.Conns()[0]
		conn.Kick(wire.AdministrativeAction, EndKicked)
		_ = conn.Remote()
		if e := r.end(); e.word != EndKicked {
			t.Errorf("ended with %q", e.word)
		}
		c.Close()
		eventually(t, "the end", func() bool { return r.gate.Totals().Connections == 0 })
	}
}

// TestProxyHeaderMemory announces much and sends nothing of it.
func TestProxyHeaderMemory(t *testing.T) {
	const room = 3
	r := newRig(t, Options{Limits: Limits{MaxUnauthenticatedBytes: room*maxProxyHeader + 2000, MaxUnauthenticated: 10}}, &fakeServer{})
	l := r.proxied(TypeTCP, Policy{})
	header := proxyHeaders()["198.51.100.7:4711 v2, large"]
	for i := range int64(room) {
		r.through(l, header[:16])
		eventually(t, "the charge", func() bool { return r.gate.unauthBytes.Load() == (i+1)*maxProxyHeader })
	}
	r.through(l, header[:16])
	if got := await(t, r.refused, "refusal"); got != RefusedMemory {
		t.Errorf("refused with %q", got)
	}
	if e := r.end(); e.word != EndRefused {
		t.Errorf("ended with %q", e.word)
	}
	for range 10 - room {
		r.through(l, header[:1])
	}
	r.through(l, header[:1])
	if got := await(t, r.refused, "refusal"); got != RefusedMaxUnauthenticated {
		t.Errorf("refused with %q", got)
	}
}

// TestProxiedIsCounted counts connections by whom the proxy speaks for.
func TestProxiedIsCounted(t *testing.T) {
	for name, limits := range map[string]struct {
		all Limits
		own Policy
	}{
		"limits":       {all: Limits{MaxPerAddress: 2}},
		"the listener": {own: Policy{MaxPerAddress: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{Limits: limits.all}, &fakeServer{})
			l := r.proxied(TypeTCP, limits.own)
			for range 5 { // the proxy's own address
				r.through(l, line("UNKNOWN")).connect(v5("p"))
			}
			first := r.through(l, line("TCP4 198.51.100.7 192.0.2.1 1 1")).connect(v5("a"))
			r.through(l, line("TCP4 198.51.100.7 192.0.2.1 2 1")).connect(v5("b"))
			r.through(l, line("TCP4 198.51.100.8 192.0.2.1 1 1")).connect(v5("c"))
			r.through(l, line("TCP4 198.51.100.7 192.0.2.1 3 1"))
			if got := await(t, r.refused, "refusal"); got != RefusedMaxPerAddress {
				t.Errorf("refused with %q", got)
			}
			if e := r.end(); e.word != EndRefused || e.conn.Remote() != "198.51.100.7:3" {
				t.Errorf("ended %s with %q", e.conn.Remote(), e.word)
			}
			first.send(disconnect).Close()
			r.end()
			eventually(t, "room", func() bool { return r.gate.Totals().Connections == 7 })
			r.through(l, line("TCP4 198.51.100.7 192.0.2.1 4 1")).connect(v5("d"))
		})
	}
	t.Run("rate", func(t *testing.T) {
		r := newRig(t, Options{Limits: Limits{ConnectRate: 1 << 20}}, &fakeServer{})
		l := r.proxied(TypeTCP, Policy{ConnectRate: 1})
		seven := []byte(line("TCP4 198.51.100.7 192.0.2.1 1 1"))
		r.gate.mu.Lock() // it has had its turn, in what is long ago only for a clock that stands
		l.load.from.paces = map[netip.Prefix]arrivals{network(&net.TCPAddr{IP: net.IP{198, 51, 100, 7}}): {at: time.Now().Add(time.Hour)}}
		r.gate.mu.Unlock()
		r.through(l, seven)
		if got := await(t, r.refused, "refusal"); got != RefusedConnectRate {
			t.Errorf("refused with %q", got)
		}
		for i := range byte(5) {
			r.through(l, header2(0x21, 0x11, string([]byte{203, 0, 113, i, 192, 0, 2, 1, 0, 1, 0, 1}))).connect(v5("c"))
		}
	})
}

// TestProxiedWebSocketOrigin asks for pages by the address that the proxy was
// reached at: behind one, a loopback listener is no longer for this machine only.
func TestProxiedWebSocketOrigin(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.proxied(TypeWebSocket, Policy{})
	for header, want := range map[string]int{
		string(line("TCP4 198.51.100.7 192.0.2.1 1 1")): 101,
		string(line("TCP4 127.0.0.1 127.0.0.1 1 1")):    403,
		string(line("UNKNOWN")):                         403,
	} {
		c := &wsClient{r.through(l, []byte(header))}
		c.send(wsRequest("/mqtt", "Origin: http://broker:9001"))
		if got := c.response().StatusCode; got != want {
			t.Errorf("%q: status %d", header, got)
		}
		c.Close()
		r.end()
	}
}

// FuzzProxyHeader reads what may be a header. Whatever it is, no byte is taken
// that does not belong to it, and no more room than may be; a good one says no
// more than where it comes from.
func FuzzProxyHeader(f *testing.F) {
	for _, b := range proxyHeaders() {
		f.Add(b, uint16(1))
	}
	for _, b := range badProxyHeaders() {
		f.Add(b, uint16(100))
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint16) {
		const behind = "\r\n\n\x10"
		src := &scripted{in: append(bytes.Clone(in), behind...), chunk: int(chunk) + 1}
		asked := 0
		got, err := readProxyHeader(src, func(n int) bool { asked = n; return n <= 2000 })
		if !bytes.Equal(append(bytes.Clone(got), src.in...), append(bytes.Clone(in), behind...)) {
			t.Fatalf("read %q of %q and left %q", got, in, src.in)
		}
		if cap(got) > max(asked, 0) || asked > maxProxyHeader || len(got) > maxProxyHeader {
			t.Fatalf("%d bytes of %d asked for", cap(got), asked)
		}
		if err != nil {
			if !errors.Is(err, errProxyHeader) && err != errTooMuchHeld && err != io.EOF {
				t.Fatal(err)
			}
			return
		}
		for n := range got[:min(len(got), 300)] { // no part of it is a header
			if _, err := proxyHeaderRest(got[:n]); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if rest, _ := proxyHeaderRest(got[:n]); rest <= 0 || rest > len(got)-n {
				t.Fatalf("%d bytes and %d more, of %d", n, rest, len(got))
			}
		}
		if o, err := parseProxyHeader(got); err == nil && o != nil {
			if _, err := netip.ParseAddrPort(o.name); err != nil {
				t.Fatal(err)
			}
		} else if err != nil && !errors.Is(err, errProxyHeader) {
			t.Fatal(err)
		}
	})
}
