package appliance_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// hole accepts connections and never says a word.
func hole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, nc)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		mu.Lock()
		defer mu.Unlock()
		for _, nc := range held {
			_ = nc.Close()
		}
	})
	return l.Addr().String()
}

// Uplinks that cannot connect, in every way there is, cost clients nothing: no
// message between them waits, QoS 0 for an uplink is not kept, and what is kept
// for it stays within its bound. docs/LESSONS.md
func TestLessonUplinksThatDoNotConnect(t *testing.T) {
	brokertest.NoLeaks(t)
	silent := hole(t)
	const most = 50
	ways := map[string]func(*appliance.BridgeConfig){
		"refused":      func(c *appliance.BridgeConfig) { c.Address = "mqtt://" + brokertest.Ports(t, 1)[0] },
		"silent":       func(c *appliance.BridgeConfig) { c.Address = "mqtt://" + silent },
		"silent-tls":   func(c *appliance.BridgeConfig) { c.Address = "mqtts://" + silent },
		"silent-ws":    func(c *appliance.BridgeConfig) { c.Address = "ws://" + silent + "/mqtt" },
		"silent-proxy": func(c *appliance.BridgeConfig) { c.Address, c.Proxy = "mqtt://far.invalid:1883", "http://"+silent },
		"silent-socks": func(c *appliance.BridgeConfig) { c.Address, c.Proxy = "mqtt://far.invalid:1883", "socks5://"+silent },
		"silent-nats":  func(c *appliance.BridgeConfig) { c.Address = "nats://" + silent },
		"refused-proxy": func(c *appliance.BridgeConfig) {
			c.Address, c.Proxy = "mqtt://far.invalid:1883", "http://"+brokertest.Ports(t, 1)[0]
		},
	}
	cfg := config(t)
	for name, change := range ways {
		c := uplinkTo("", appliance.BridgeTopic{Filter: "#", QoS: 1})
		c.Name, c.ClientID, c.MaxQueuedMessages = name, name, most
		change(&c)
		cfg.Bridges = append(cfg.Bridges, c)
	}
	b := launch(t, cfg)
	pub, sub := client(t, b, "pub"), client(t, b, "sub")
	sub.Subscribe(1, "t/#")
	var slowest time.Duration
	for i := range 2000 {
		topic, began := fmt.Sprint("t/", i%10), time.Now()
		pub.Publish(topic, "x", byte(i%2), false)
		sub.ExpectMessage(topic, "x")
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 2*time.Second { // a fraction of what one attempt to connect may take
		t.Errorf("a message took %v", slowest)
	}
	brokertest.WaitFor(t, "attempts", func() bool {
		for _, st := range b.Uplinks() {
			if st.Attempts < 1 && !strings.HasPrefix(st.Name, "silent") {
				return false
			}
		}
		return true
	})
	for _, st := range b.Uplinks() {
		if st.State == bridge.Up || st.Queued > most {
			t.Errorf("%s is %s, and %d messages wait", st.Name, st.State, st.Queued)
		}
	}
	balanced(t, b)
}

// What waits for an uplink waits for longer than sessions may, across restarts,
// and goes on by itself when the far side comes at last.
func TestLessonUplinkOutlastsSessions(t *testing.T) {
	brokertest.NoLeaks(t)
	const n = 10
	port := brokertest.Ports(t, 1)[0]
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Sessions.MaxExpiry, cfg.Sys.Interval = time.Second, time.Second
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(port, appliance.BridgeTopic{Filter: "t/#", QoS: 2})}
	expires := func(b *appliance.Broker) { // in this time a session does
		c := brokertest.Dial(t, address(b), brokertest.Kept(wire.V5, "device"))
		c.Drop()
		brokertest.WaitFor(t, "a session to expire", func() bool { return b.Stats().Sessions.Expired > 0 })
	}
	for round := range 2 {
		near := newBroker(t, cfg)
		if err := near.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			pub := client(t, near, "pub")
			for i := range n {
				pub.Publish(fmt.Sprint("t/", i), "x", byte(1+i%2), true)
			}
		}
		expires(near)
		if st := near.Uplinks()[0]; st.Queued != n {
			t.Fatalf("%d messages wait; want %d", st.Queued, n)
		}
		stop(t, near)
	}
	near := launch(t, cfg)
	brokertest.WaitFor(t, "an attempt", func() bool { return near.Uplinks()[0].Attempts > 0 })
	above := config(t)
	above.Listeners[0].Address = port
	far := launch(t, above)
	is(t, near, bridge.Up)
	brokertest.WaitFor(t, "all to be passed on", func() bool { return near.Uplinks()[0].Acked == n && far.Stats().Retained.Messages == n })
	if st := near.Uplinks()[0]; st.Dropped != 0 || st.Queued+st.InFlight != 0 {
		t.Errorf("got %+v", st)
	}
}

// An uplink reads what it trusts and what it shows for each attempt: who renews
// the files need not tell anybody.
func TestLessonUplinkReadsRenewedCertificates(t *testing.T) {
	brokertest.NoLeaks(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority, err := certs.CreateAuthority(at("ca"), "plant")
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.CreateAuthority(at("other"), "plant")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	device := func(a *certs.Authority) {
		t.Helper()
		i, err := a.IssueClient(certs.Request{Name: "gateway"})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Write(at("device.crt"), at("device.key"), true); err != nil {
			t.Fatal(err)
		}
	}
	trust := func(a *certs.Authority) {
		t.Helper()
		pem, err := os.ReadFile(a.CertificateFile())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at("trust.crt"), pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Write(at("server.crt"), at("server.key"), true); err != nil {
		t.Fatal(err)
	}
	yes := true
	above := config(t)
	above.Listeners = []appliance.ListenerConfig{{Name: "tls", Type: appliance.ListenTLS, Address: "127.0.0.1:0", AllowAnonymous: &yes,
		Certificate: at("server.crt"), PrivateKey: at("server.key"), ClientCA: authority.CertificateFile()}}
	far := launch(t, above)

	device(other)
	trust(other)
	cfg := config(t)
	up := uplinkTo("", appliance.BridgeTopic{Filter: "t", QoS: 1})
	up.Address, up.CA, up.Certificate, up.PrivateKey = "mqtts://"+far.Addr("tls"), at("trust.crt"), at("device.crt"), at("device.key")
	cfg.Bridges = []appliance.BridgeConfig{up}
	near := launch(t, cfg)
	failing := func(why string) {
		t.Helper()
		brokertest.WaitFor(t, why, func() bool {
			st := near.Uplinks()[0]
			return st.State != bridge.Up && strings.Contains(st.LastError, why)
		})
	}
	failing("unknown authority")
	trust(authority)
	failing("tls: ") // the far side's alert: it does not know ours
	device(authority)
	is(t, near, bridge.Up)
}
