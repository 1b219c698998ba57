package e2e_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// A PROXY header of a client at 198.51.100.n.
type proxyHeader func(n byte, port int) []byte

var proxyHeaders = map[string]proxyHeader{
	"v1": func(n byte, port int) []byte {
		return fmt.Appendf(nil, "PROXY TCP4 198.51.100.%d 192.0.2.1 %d 1883\r\n", n, port)
	},
	"v2": func(n byte, port int) []byte {
		b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x22\xc6\x33\x64")
		b = append(b, n, 192, 0, 2, 1)
		b = binary.BigEndian.AppendUint16(b, uint16(port))
		b = append(b, 0x07, 0x5b)
		// What TLS has said of the client, if the proxy is to be believed: its
		// certificate is good, and its common name is root.
		return append(b, "\x20\x00\x0c\x07\x00\x00\x00\x00\x22\x00\x04root\x04\x00\x04\x00\x00\x00\x00"...)
	},
}

// proxy passes connections on, each with a header that says that it comes from
// 198.51.100.n, at the port that it does come from. It returns its address.
func proxy(t *testing.T, network, broker string, n byte, header proxyHeader) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(nc net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, nc)
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, nc := range open {
			nc.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			keep(client)
			server, err := net.Dial(network, broker)
			if err != nil {
				client.Close()
				continue
			}
			keep(server)
			if _, err := server.Write(header(n, client.RemoteAddr().(*net.TCPAddr).Port)); err != nil {
				client.Close()
			}
			all.Go(func() { pass(server, client) })
			all.Go(func() { pass(client, server) })
		}
	})
	return l.Addr().String()
}

// behindProxy trusts proxies on this machine, on every listener.
func behindProxy(c *appliance.Config) {
	yes := true
	for i := range c.Listeners {
		l := &c.Listeners[i]
		l.ProxyProtocol, l.AllowAnonymous = []string{"127.0.0.1"}, &yes
		if l.Type == appliance.ListenUnix {
			l.ProxyProtocol = []string{appliance.ProxyUnix}
		}
	}
}

// Clients behind a proxy are known by their own addresses, on every transport.
func TestBehindProxy(t *testing.T) {
	p := newPKI(t)
	b := start(t, func(c *appliance.Config) {
		withWebSocket(c)
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS), p.listener("wss", appliance.ListenWebSocketTLS))
		behindProxy(c)
	})
	connections, disconnections := b.watch(events.Connection), b.watch(events.Disconnection)
	config := p.clientConfig(t, "")
	n := 0
	for version, header := range proxyHeaders {
		for listener, url := range map[string]string{"tcp": "tcp://%s", "unix": "tcp://%s", "tls": "mqtts://%s", "web": "ws://%s/mqtt", "wss": "wss://%s/mqtt"} {
			network := "tcp"
			if listener == "unix" {
				network = "unix"
			}
			addr := proxy(t, network, b.Addr(listener), 7, header)
			id := listener + version
			c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf(url, addr)).SetClientID(id).SetTLSConfig(config).SetAutoReconnect(false))
			settled(t, "connect", c.Connect())
			got := make(chan mqtt.Message, 1)
			settled(t, "subscribe", c.Subscribe("t/"+id, 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
			settled(t, "publish", c.Publish("t/"+id, 1, false, strings.Repeat("x", 50_000)))
			if m := receive(t, "message", got); len(m.Payload()) != 50_000 {
				t.Errorf("%s: %d bytes", id, len(m.Payload()))
			}
			ours := mustClient(t, b, id).Remote
			if !strings.HasPrefix(ours, "198.51.100.7:") {
				t.Errorf("%s: the client is at %s", id, ours)
			}
			if u := mustClient(t, b, id).Username; u != "" {
				t.Errorf("%s: the client is %q", id, u)
			}
			if d := connections.await(t, n+1)[n].Data.(events.ConnectionData); d.Remote != ours || d.Listener != listener {
				t.Errorf("%s: connection %+v", id, d)
			}
			c.Disconnect(0)
			if d := disconnections.await(t, n+1)[n].Data.(events.DisconnectionData); d.Remote != ours {
				t.Errorf("%s: disconnection %+v", id, d)
			}
			n++
		}
	}
}

// Sources of authentication, and so the lockout, see where a client really is.
func TestProxiedSignIn(t *testing.T) {
	addrs := make(chan string, 10)
	see := auth.SourceFunc(func(_ context.Context, a *auth.Attempt) (auth.Identity, error) {
		addrs <- a.Addr.String()
		return auth.Identity{Name: "ann", Source: "test"}, nil
	})
	b := start(t, behindProxy, appliance.WithAuthSource(see))
	for version, header := range proxyHeaders {
		for n := range byte(3) {
			c := brokertest.Dial(t, proxy(t, "tcp", b.addr, n, header), as(brokertest.Clean(wire.V5, "c"), "ann", "ann"))
			if got, want := receive(t, "an attempt", addrs), fmt.Sprint("198.51.100.", n); got != want {
				t.Errorf("%s: from %s; want %s", version, got, want)
			}
			c.Disconnect()
		}
	}
}

// Bounds count clients by their own addresses; the proxy's has none.
func TestProxiedLimits(t *testing.T) {
	for name, bound := range map[string]func(*appliance.Config){
		"limits":       func(c *appliance.Config) { c.Limits.MaxPerAddress = 2 },
		"the listener": func(c *appliance.Config) { c.Listeners[0].MaxPerAddress = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(c *appliance.Config) { behindProxy(c); bound(c) })
			refusals := b.watch(events.Refusal)
			seven, eight := proxy(t, "tcp", b.addr, 7, proxyHeaders["v1"]), proxy(t, "tcp", b.addr, 8, proxyHeaders["v2"])
			for i := range 2 {
				brokertest.Dial(t, seven, brokertest.Clean(wire.V5, fmt.Sprint("seven", i)))
				brokertest.Dial(t, eight, brokertest.Clean(wire.V5, fmt.Sprint("eight", i)))
			}
			for i, addr := range []string{seven, eight} {
				if rest := brokertest.DialRaw(t, addr, wire.V5).ReadRest(); len(rest) > 0 {
					t.Errorf("sent %v", rest)
				}
				d := refusals.await(t, i+1)[i].Data.(events.RefusalData)
				if d.Reason != "max_connections_per_address" || !strings.HasPrefix(d.Remote, []string{"198.51.100.7:", "198.51.100.8:"}[i]) {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// Who is no proxy cannot say that it is somebody else, and who is must say for
// whom it speaks.
func TestForgedProxyHeader(t *testing.T) {
	b := start(t, func(c *appliance.Config) {
		behindProxy(c)
		forged := c.Listeners[0]
		forged.Name, forged.ProxyProtocol = "forged", []string{"127.0.0.2", "192.0.2.0/24", "::1"}
		c.Listeners = append(c.Listeners, forged)
	})
	refusals := b.watch(events.Refusal)
	con := brokertest.Clean(wire.V5, "c")
	n := 0
	turned := func(addr string, in []byte, reason string) {
		t.Helper()
		c := brokertest.DialRaw(t, addr, wire.V5)
		c.Send(in)
		if rest := c.ReadRest(); len(rest) > 0 {
			t.Errorf("got %v", rest)
		}
		d := refusals.await(t, n+1)[n].Data.(events.RefusalData)
		if d.Reason != reason || d.Remote != c.Conn().LocalAddr().String() {
			t.Errorf("%+v; want %s", d, reason)
		}
		n++
	}
	for _, header := range proxyHeaders {
		turned(b.Addr("forged"), append(header(7, 1), wire.AppendConnect(nil, &con)...), "not_mqtt")
	}
	turned(b.addr, wire.AppendConnect(nil, &con), "proxy_header")
	brokertest.Dial(t, b.Addr("forged"), con).Disconnect() // needs none
	if got := b.Stats().Refusals; got["not_mqtt"] != 2 || got["proxy_header"] != 1 {
		t.Errorf("counted %v", got)
	}
}

// Headers that do not end cost little, and no longer than CONNECT may take.
func TestHalfSentProxyHeaders(t *testing.T) {
	const n = 1000
	b := start(t, func(c *appliance.Config) {
		behindProxy(c)
		c.Limits.MaxUnauthenticated = 2 * n
		c.Limits.ConnectTimeout = time.Minute
	})
	for name, half := range map[string][]byte{
		"v1":                    proxyHeaders["v1"](7, 1)[:20],
		"v2":                    proxyHeaders["v2"](7, 1)[:20],
		"v2, as long as may be": []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x10\x00\xc6"),
		"v2, longer":            []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff\xc6"),
	} {
		t.Run(name, func(t *testing.T) {
			before := footprint()
			for range n {
				nc, err := net.Dial("tcp", b.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				if _, err := nc.Write(half); err != nil && name != "v2, longer" {
					t.Fatal(err)
				}
			}
			brokertest.Dial(t, proxy(t, "tcp", b.addr, 8, proxyHeaders["v2"]), brokertest.Clean(wire.V5, "new")).Ping()
			if after := footprint(); after > before+n*20<<10 { // both ends are in this process
				t.Errorf("memory grew from %d to %d KB, by %d bytes a socket", before>>10, after>>10, (after-before)/n)
			}
		})
	}
}
