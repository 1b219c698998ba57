package e2e_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// What a listener asks for holds at that listener, and what CONNACK says is
// what holds. [MQTT-3.1.2-2] [MQTT3-3.1.2-2] [MQTT-3.2.2-15]
func TestListenerPolicies(t *testing.T) {
	b := start(t, func(c *appliance.Config) {
		c.Limits.MaxPacketSize = 8 * appliance.KiB
		for name, change := range map[string]func(*appliance.ListenerConfig){
			"old":   func(l *appliance.ListenerConfig) { l.MQTTVersions = []appliance.MQTTVersion{"3.1", "3.1.1"} },
			"new":   func(l *appliance.ListenerConfig) { l.MQTTVersions = []appliance.MQTTVersion{"5"} },
			"small": func(l *appliance.ListenerConfig) { l.MaxPacketSize = 2 * appliance.KiB },
			"large": func(l *appliance.ListenerConfig) { l.MaxPacketSize = 64 * appliance.KiB },
			"two":   func(l *appliance.ListenerConfig) { l.MaxConnections = 2 },
		} {
			l := appliance.ListenerConfig{Name: name, Address: "127.0.0.1:0"}
			change(&l)
			c.Listeners = append(c.Listeners, l)
		}
	})
	refusals := b.watch(events.Refusal)
	n := 0
	refused := func(want string) {
		t.Helper()
		if got := refusalReason(refusals.await(t, n+1)[n]); got != want {
			t.Errorf("refused for %s, want %s", got, want)
		}
		n++
	}
	t.Run("versions", func(t *testing.T) {
		for _, v := range every {
			for name, allowed := range map[string]bool{"tcp": true, "old": v != wire.V5, "new": v == wire.V5} {
				con := brokertest.Clean(v, "c")
				if allowed {
					brokertest.Dial(t, b.Addr(name), con).Disconnect()
					continue
				}
				c := brokertest.DialRaw(t, b.Addr(name), v)
				c.Send(wire.AppendConnect(nil, &con))
				body := c.Expect(wire.CONNACK).Body
				if want := map[bool]byte{true: 0x84, false: 1}[v == wire.V5]; body[1] != want {
					t.Errorf("%v at %s: CONNACK % x", v, name, body)
				}
				c.ExpectClosed()
				refused("version_not_allowed")
			}
		}
		if got := b.Stats().Refusals["version_not_allowed"]; got != uint64(n) || n != 3 {
			t.Errorf("%d counted, of %d", got, n)
		}
	})
	t.Run("packet size", func(t *testing.T) {
		for name, size := range map[string]int{"tcp": 8 << 10, "small": 2 << 10, "large": 64 << 10} {
			c := brokertest.Dial(t, b.Addr(name), brokertest.Clean(wire.V5, "c"))
			if got := c.Connack.MaximumPacketSize; got != uint32(size) {
				t.Errorf("%s: CONNACK says %d", name, got)
			}
			frame := func(size int) []byte { // as large as that
				out := wire.Out{Version: wire.V5, Topic: []byte("t"), Payload: make([]byte, size)}
				out.Payload = out.Payload[:2*size-len(wire.AppendPublish(nil, &out, 0))]
				return wire.AppendPublish(nil, &out, 0)
			}
			if f := frame(size); len(f) != size {
				t.Fatalf("a frame of %d bytes", len(f))
			}
			c.Send(frame(size))
			c.Ping()
			c.Send(frame(size + 1))
			if got := c.ExpectDisconnect(); got != wire.PacketTooLarge {
				t.Errorf("%s: disconnected with %v", name, got)
			}
		}
	})
	t.Run("connections", func(t *testing.T) {
		first := brokertest.Dial(t, b.Addr("two"), brokertest.Clean(wire.V5, "first"))
		brokertest.Dial(t, b.Addr("two"), brokertest.Clean(wire.V5, "second"))
		brokertest.DialRaw(t, b.Addr("two"), wire.V5).ExpectClosed()
		refused("max_connections")
		brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "elsewhere"))
		first.Disconnect()
		con := brokertest.Clean(wire.V5, "third")
		brokertest.WaitFor(t, "room", func() bool {
			nc, err := net.Dial("tcp", b.Addr("two"))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Write(wire.AppendConnect(nil, &con)); err != nil {
				return false
			}
			n, _ := nc.Read(make([]byte, 1))
			return n == 1
		})
	})
}

// Each listener asks whom it is told to ask, and no others.
func TestListenerSources(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "pump-1")
	g := guard(t, "allow any all #", []string{"ann"}, func(c *appliance.Config) {
		c.Access.Certificates = auth.CommonName
		yes := true
		for name, change := range map[string]func(*appliance.ListenerConfig){
			"all":          func(*appliance.ListenerConfig) {},
			"certificates": func(l *appliance.ListenerConfig) { l.Sources = []appliance.AccessSource{"certificates"} },
			"passwords":    func(l *appliance.ListenerConfig) { l.Sources = []appliance.AccessSource{"passwords"} },
			"both":         func(l *appliance.ListenerConfig) { l.Sources = []appliance.AccessSource{"passwords", "certificates"} },
			"open": func(l *appliance.ListenerConfig) {
				l.Sources, l.AllowAnonymous = []appliance.AccessSource{"passwords"}, &yes
			},
		} {
			l := p.listener(name, appliance.ListenTLS)
			l.ClientCA, l.ClientCertificates = p.CertificateFile(), appliance.ClientCertificatesOptional
			change(&l)
			c.Listeners = append(c.Listeners, l)
		}
	})
	testSources(t, p, g.broker, map[string][]string{ // certificate alone, with a password, password alone, nothing
		"all":          {"pump-1", "pump-1", "ann", ""},
		"certificates": {"pump-1", "pump-1", "", ""},
		"passwords":    {"", "ann", "ann", ""},
		"both":         {"pump-1", "pump-1", "ann", ""},
		"open":         {"nobody", "ann", "ann", "nobody"},
	})
}

// The sources of a program that embeds the broker are asked everywhere.
func TestListenerSourcesOfProgram(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "pump-1")
	certificates, err := auth.NewCertificateSource(auth.CommonName, false)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, func(c *appliance.Config) {
		g := &guarded{users: t.TempDir() + "/users", rules: t.TempDir() + "/rules"}
		g.setUsers(t, "ann")
		g.setRules(t, "allow any all #")
		c.Access.Passwords, c.Access.Rules = g.users, []string{g.rules}
		l := p.listener("passwords", appliance.ListenTLS)
		l.ClientCA, l.ClientCertificates = p.CertificateFile(), appliance.ClientCertificatesOptional
		l.Sources = []appliance.AccessSource{"passwords"}
		c.Listeners = append(c.Listeners, l)
	}, appliance.WithAuthSource(certificates))
	testSources(t, p, b, map[string][]string{"passwords": {"pump-1", "pump-1", "ann", ""}})
}

// testSources compares who clients are taken for, by listener: "" is refused.
func testSources(t *testing.T, p *plantPKI, b *broker, want map[string][]string) {
	for listener, users := range want {
		for i, client := range []struct{ device, user string }{{"pump-1", ""}, {"pump-1", "ann"}, {"", "ann"}, {"", ""}} {
			con := brokertest.Clean(wire.V5, fmt.Sprint("c", i)) // one each: a session belongs to its user
			if client.user != "" {
				con = as(con, client.user, client.user)
			}
			nc, err := brokerdial.Secure(t.Context(), "mqtts://"+b.Addr(listener), patience, p.clientConfig(t, client.device))
			if err != nil {
				t.Fatal(err)
			}
			got := takenFor(t, b, nc, con)
			nc.Close()
			if got != users[i] {
				t.Errorf("listener %q, certificate %q, user %q: taken for %q; want %q", listener, client.device, client.user, got, users[i])
			}
		}
	}
}

// takenFor connects and is the client's user, "nobody" if it is none, "" if it
// is refused.
func takenFor(t *testing.T, b *broker, nc net.Conn, con wire.Connect) string {
	t.Helper()
	if connackOver(t, nc, con).Reason != wire.Success {
		return ""
	}
	if user := mustClient(t, b, con.ClientID).Username; user != "" {
		return user
	}
	return "nobody"
}
