package listen

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// TestPolicyVersions connects with every version where only some are allowed.
// [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
func TestPolicyVersions(t *testing.T) {
	all := []wire.Version{wire.V31, wire.V311, wire.V5}
	answers := map[wire.Version][]byte{wire.V31: {0x20, 2, 0, 1}, wire.V311: {0x20, 2, 0, 1}, wire.V5: {0x20, 3, 0, 0x84, 0}}
	for set := range 1 << len(all) {
		var allowed []wire.Version
		for i, v := range all {
			if set&(1<<i) != 0 {
				allowed = append(allowed, v)
			}
		}
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			r := newRig(t, Options{}, &fakeServer{})
			l := r.start(Config{ID: "l", Address: "127.0.0.1:0", Policy: Policy{Versions: allowed}})
			for _, v := range all {
				con := wire.Connect{Version: v, CleanStart: true, ClientID: "c"}
				if len(allowed) == 0 || slices.Contains(allowed, v) {
					r.dial(l).connect(con).send(disconnect)
					r.end()
					continue
				}
				seen := len(r.log.all())
				c := r.dial(l).send(connectFrame(con), pingreq)
				if got := c.rest(); !bytes.Equal(got, answers[v]) {
					t.Errorf("%v: answered with %x", v, got)
				}
				if got := await(t, r.refused, "refusal"); got != RefusedVersionNotAllowed {
					t.Errorf("%v: refused with %q", v, got)
				}
				if e := r.end(); e.word != EndProtocolError || len(r.log.all()) != seen {
					t.Errorf("%v: ended with %q, and the server saw %d frames", v, e.word, len(r.log.all())-seen)
				}
			}
		})
	}
}

// TestPolicyVersionSmallPacket does not answer with more than the client takes.
// [MQTT-3.1.2-24]
func TestPolicyVersionSmallPacket(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.start(Config{ID: "l", Address: "127.0.0.1:0", Policy: Policy{Versions: []wire.Version{wire.V311}}})
	con := v5("c")
	con.MaximumPacketSize = 4
	if got := r.dial(l).send(connectFrame(con)).rest(); len(got) > 0 {
		t.Errorf("answered with %x", got)
	}
}

// TestPolicyTimeout gives a listener more time, and less, than the gate has.
func TestPolicyTimeout(t *testing.T) {
	for _, own := range []time.Duration{0, time.Second, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{Limits: Limits{ConnectTimeout: 5 * time.Second}}, &fakeServer{})
			ours, theirs := net.Pipe()
			defer theirs.Close()
			begin := time.Now()
			p := Policy{ConnectTimeout: own}
			c := r.gate.admit(New(Config{}, r.gate), &p, ours)
			go c.serve(func(*Conn) error { return nil })
			want := own
			if own == 0 {
				want = 5 * time.Second
			}
			if e := r.end(); time.Since(begin) != want || e.word != EndSlowConnect {
				t.Errorf("%v: ended after %v with %q", own, time.Since(begin), e.word)
			}
		})
	}
}

// TestPolicyPacketSize changes it while a client is connected, who has been
// told the one before.
func TestPolicyPacketSize(t *testing.T) {
	r := newRig(t, Options{Limits: Limits{MaxPacketSize: 1000}}, &fakeServer{})
	l := r.listen(TypeTCP)
	sized := func(n int) []byte { return publish(wire.V5, 0, 0, make([]byte, n-7)) }
	old := r.dial(l).connect(v5("old"))
	if n := r.conn().MaxPacketSize(); n != 1000 {
		t.Errorf("%d bytes", n)
	}
	l.SetPolicy(Policy{MaxPacketSize: 300})
	now := r.dial(l).connect(v5("new"))
	if n := r.conn().MaxPacketSize(); n != 300 {
		t.Errorf("%d bytes", n)
	}
	now.send(sized(300), pingreq)
	if f := now.frame(); f.Type != wire.PINGRESP {
		t.Errorf("300 bytes: %v", f.Type)
	}
	now.send(sized(301))
	if got := now.disconnected(); got != wire.PacketTooLarge {
		t.Errorf("301 bytes: %v", got)
	}
	old.send(sized(1000), pingreq)
	if f := old.frame(); f.Type != wire.PINGRESP {
		t.Errorf("1000 bytes: %v", f.Type)
	}
	old.send(sized(1001))
	if got := old.disconnected(); got != wire.PacketTooLarge {
		t.Errorf("1001 bytes: %v", got)
	}
}

// TestPolicyOrigins changes them while the listener is open.
func TestPolicyOrigins(t *testing.T) {
	r := newRig(t, Options{}, &fakeServer{})
	l := r.listenWS("https://a.example")
	for _, want := range []map[string]int{
		{"https://a.example": 101, "https://b.example": 403},
		{"https://a.example": 403, "https://b.example": 101},
	} {
		for origin, status := range want {
			c := r.dialWS(l)
			c.send(wsRequest("/mqtt", "Origin: "+origin))
			if got := c.response().StatusCode; got != status {
				t.Errorf("%s: status %d; want %d", origin, got, status)
			}
		}
		l.SetPolicy(Policy{Origins: []string{"https://b.example"}})
	}
}

// TestPolicyCounts compares who is let in at several listeners, directly and
// through proxies, with a plain count, while policies change.
func TestPolicyCounts(t *testing.T) {
	proxy := &net.TCPAddr{IP: net.IP{10, 0, 0, 1}, Port: 1}
	rapid.Check(t, func(t *rapid.T) {
		limit := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		policy := func() Policy {
			return Policy{MaxConnections: limit("listener's"), MaxPerAddress: limit("listener's per address"),
				Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		}
		all := Limits{MaxConnections: 3 * limit("all"), MaxPerAddress: limit("per address")}
		g := NewGate(Options{Limits: all})
		at := make([]*Listener, 3)
		for i := range at {
			at[i] = New(Config{ID: fmt.Sprint(i), Policy: policy()}, g)
		}
		type member struct {
			*Conn
			at   *Listener
			from string // "": not known
		}
		var open []member
		count := func(at *Listener, from string) (n int) {
			for _, m := range open {
				if (at == nil || m.at == at) && (from == "" || m.from == from) {
					n++
				}
			}
			return n
		}
		full := func(limit, n int) bool { return limit > 0 && n >= limit }
		pick := func() (*Listener, string) {
			return rapid.SampledFrom(at).Draw(t, "listener"), rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}).Draw(t, "from")
		}
		tooMany := func(l *Listener, from string) bool {
			return full(l.policy.Load().MaxPerAddress, count(l, from)) || full(all.MaxPerAddress, count(nil, from))
		}
		noRoom := func(l *Listener) bool {
			return full(all.MaxConnections, len(open)) || full(l.policy.Load().MaxConnections, count(l, ""))
		}
		admit := func(l *Listener, remote net.Addr) *Conn {
			p := l.policy.Load()
			return g.admit(l, p, from{&scripted{}, remote})
		}
		t.Repeat(map[string]func(*rapid.T){
			"direct": func(t *rapid.T) {
				l, ip := pick()
				refused := noRoom(l) || tooMany(l, ip)
				c := admit(l, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1})
				if (c == nil) != refused {
					t.Fatalf("let in: %v", c != nil)
				}
				if c != nil {
					open = append(open, member{c, l, ip})
				}
			},
			"through a proxy": func(t *rapid.T) {
				l, ip := pick()
				refused := noRoom(l)
				c := admit(l, proxy)
				if (c == nil) != refused {
					t.Fatalf("let in: %v", c != nil)
				}
				if c != nil {
					open = append(open, member{c, l, ""})
				}
				if c == nil || rapid.Bool().Draw(t, "silent") {
					return
				}
				word := g.locate(c, network(&net.TCPAddr{IP: net.ParseIP(ip)}))
				if (word != "") != tooMany(l, ip) {
					t.Fatalf("located: %q", word)
				}
				if word == "" {
					open[len(open)-1].from = ip
				}
			},
			"end": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nobody is there")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				g.release(open[i].Conn)
				open = slices.Delete(open, i, i+1)
			},
			"another policy": func(t *rapid.T) {
				l, _ := pick()
				l.SetPolicy(policy())
			},
		})
		for _, m := range open {
			g.release(m.Conn)
		}
		for _, l := range at {
			if l.load.open != 0 || len(l.load.from.open) != 0 {
				t.Fatalf("listener %s still counts %d, %v", l.ID(), l.load.open, l.load.from.open)
			}
		}
		if len(g.from.open) != 0 || g.Totals().Connections != 0 {
			t.Fatalf("the gate still counts %v", g.from.open)
		}
	})
}

func TestPolicyTrusts(t *testing.T) {
	p := Policy{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/64")}}
	for address, want := range map[string]bool{
		"192.0.2.1:1": true, "192.0.2.2:1": false, "10.255.255.255:1": true, "11.0.0.0:1": false,
		"[::ffff:10.0.0.1]:1": true, "[::10.0.0.1]:1": false, "[fe80::1%eth0]:1": true, "[fe80:0:0:1::1]:1": false,
	} {
		if got := p.trusts(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for _, a := range []net.Addr{nil, &net.UnixAddr{Name: "10.0.0.1"}, pipeAddr{}} {
		if p.trusts(a) {
			t.Errorf("%v is trusted", a)
		}
	}
	if p := (Policy{ProxyUnix: true}); !p.trusts(&net.UnixAddr{}) || p.trusts(&net.TCPAddr{}) || p.trusts(nil) {
		t.Error("a unix socket's word is taken for another's")
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "10.0.0.1:1" }
