package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// plantPKI is the authority of a test, with a certificate for the broker.
type plantPKI struct {
	*certs.Authority
	dir string
}

func newPKI(t testing.TB) *plantPKI {
	t.Helper()
	dir := t.TempDir()
	a, err := certs.CreateAuthority(dir, "plant")
	if err != nil {
		t.Fatal(err)
	}
	p := &plantPKI{a, dir}
	p.issue(t, "server")
	return p
}

func (p *plantPKI) path(name string) string { return filepath.Join(p.dir, name) }

// issue makes a certificate: name "server" is the broker, others are devices.
func (p *plantPKI) issue(t testing.TB, name string) *certs.Issued {
	t.Helper()
	i, err := p.IssueClient(certs.Request{Name: name})
	if name == "server" {
		i, err = p.IssueServer(certs.Request{}, "127.0.0.1", "localhost")
	}
	if err == nil {
		err = i.Write(p.path(name+".crt"), p.path(name+".key"), true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// listener is one that shows the broker's certificate.
func (p *plantPKI) listener(name, kind string) appliance.ListenerConfig {
	return appliance.ListenerConfig{Name: name, Type: kind, Address: "127.0.0.1:0",
		Certificate: p.path("server.crt"), PrivateKey: p.path("server.key")}
}

// withTLS adds a listener "tls" that knows its clients as little as "tcp" does.
func withTLS(t testing.TB) func(*appliance.Config) {
	p := newPKI(t)
	return func(c *appliance.Config) {
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS))
	}
}

// clientConfig trusts the broker, and shows the certificate of a device unless
// its name is empty.
func (p *plantPKI) clientConfig(t testing.TB, device string) *tls.Config {
	t.Helper()
	config, err := brokerdial.TLS{CAFile: p.CertificateFile()}.Config()
	if device != "" {
		config, err = brokerdial.TLS{CAFile: p.CertificateFile(), CertFile: p.path(device + ".crt"), KeyFile: p.path(device + ".key")}.Config()
	}
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func pahoOver(t *testing.T, url, id string, config *tls.Config) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID(id).SetTLSConfig(config).SetAutoReconnect(false))
	settled(t, "connect", c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// TestTLSClients lets clients over TLS, over WebSocket over TLS and over TCP
// exchange messages of every size and QoS.
func TestTLSClients(t *testing.T) {
	p := newPKI(t)
	b := start(t, func(c *appliance.Config) {
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS), p.listener("wss", appliance.ListenWebSocketTLS))
	})
	config := p.clientConfig(t, "")
	clients := map[string]mqtt.Client{
		"tls": pahoOver(t, "mqtts://"+b.Addr("tls"), "tls", config),
		"wss": pahoOver(t, "wss://"+b.Addr("wss")+"/mqtt", "wss", config),
		"tcp": pahoAt(t, "tcp://"+b.addr, "tcp", 4),
	}
	got := map[string]chan mqtt.Message{}
	for id, c := range clients {
		ch := make(chan mqtt.Message, 100)
		got[id] = ch
		settled(t, "subscribe", c.Subscribe("t/#", 2, func(_ mqtt.Client, m mqtt.Message) { ch <- m }))
	}
	n := 0
	for _, size := range []int{0, 100, 4070, 4096, 16384, 65536, 1_000_000} {
		for qos := range byte(3) {
			for from, c := range clients {
				n++
				topic, payload := fmt.Sprintf("t/%d/%s", n, from), bytes.Repeat([]byte{byte(n)}, size)
				settled(t, "publish", c.Publish(topic, qos, false, payload))
				for to, ch := range got {
					if m := receive(t, "message", ch); m.Topic() != topic || m.Qos() != qos || !bytes.Equal(m.Payload(), payload) {
						t.Fatalf("%s to %s: got %s, QoS %d, %d bytes", topic, to, m.Topic(), m.Qos(), len(m.Payload()))
					}
				}
			}
		}
	}
}

// TestTLSStalledClient has a client that reads nothing: the others do not
// notice, what it misses is counted, and it can be ended.
func TestTLSStalledClient(t *testing.T) {
	tlsListener := withTLS(t)
	b := start(t, func(c *appliance.Config) {
		tlsListener(c)
		c.Limits.MaxOutboundBytes = 64 * appliance.KiB
	})
	addr := "tls:" + b.Addr("tls")
	stalled := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "stalled"))
	stalled.Subscribe(0, "t")
	other := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "other")).AutoAck()
	other.Subscribe(1, "t")
	payload := strings.Repeat("x", 100_000)
	for i := 0; b.Stats().Dropped.Total == 0; i++ {
		if i == 1000 {
			t.Fatal("100 MB sent, and nothing dropped")
		}
		other.Publish("t", payload, 1, false)
		other.ExpectMessage("t", payload)
	}
	if d := mustClient(t, b, "stalled").Dropped; d == 0 {
		t.Error("the drop is not the stalled client's")
	}
	ends := b.watch(events.Disconnection)
	b.Kick("stalled")
	ends.await(t, 1)
}

// TestTLSStop hears in MQTT's words why the connection ends.
func TestTLSStop(t *testing.T) {
	b := start(t, withTLS(t))
	c := brokertest.Dial(t, "tls:"+b.Addr("tls"), brokertest.Clean(wire.V5, "c"))
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(within(t)) }()
	if r := c.ExpectDisconnect(); r != wire.ServerShuttingDown {
		t.Errorf("got %v", r)
	}
	if err := receive(t, "the stop", stopped); err != nil {
		t.Error(err)
	}
}

// TestTLSRotation replaces the broker's certificate again and again while 200
// clients exchange messages, one in ten of them without a pause: none is cut
// off, nothing is lost, and each new connection sees the certificate that is new.
func TestTLSRotation(t *testing.T) {
	const clients, rounds = 200, 5
	p := newPKI(t)
	b := start(t, func(c *appliance.Config) { c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS)) })
	addr := b.Addr("tls")
	ends := b.watch(events.Disconnection)
	var rotated atomic.Int64
	var changed [rounds]chan struct{} // closed after each rotation
	for i := range changed {
		changed[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, clients)
	for i := range clients {
		c := brokertest.Dial(t, "tls:"+addr, brokertest.Clean(wire.V311, fmt.Sprint("c", i)))
		topic := fmt.Sprint("t/", i)
		c.Subscribe(1, topic)
		wg.Go(func() { // may not fail the test
			conn := c.Conn()
			frame := wire.AppendPublish(nil, &wire.Out{Version: wire.V311, Topic: []byte(topic), Payload: make([]byte, 200)}, 0)
			back := make([]byte, len(frame))
			for n := int64(0); n <= rounds; { // at least one round trip after each rotation
				if i%10 != 0 && n > 0 {
					select {
					case <-changed[n-1]:
					case <-ctx.Done():
						return
					}
				}
				seen := rotated.Load()
				_ = conn.SetDeadline(time.Now().Add(brokertest.Patience)) // a deadline that cannot be set shows below
				if _, err := conn.Write(frame); err != nil {
					failed <- err
					return
				}
				if _, err := io.ReadFull(conn, back); err != nil || !bytes.Equal(back, frame) {
					failed <- fmt.Errorf("client %d: %w", i, errors.Join(err, errors.New("another message than sent")))
					return
				}
				if seen >= n {
					n = seen + 1
				}
			}
		})
	}
	config := p.clientConfig(t, "") // keeps sessions that could be resumed
	for range rounds {
		next := p.issue(t, "server")
		if err := b.ReloadCertificates(); err != nil {
			t.Fatal(err)
		}
		nc, err := brokerdial.Secure(t.Context(), "mqtts://"+addr, patience, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.(*tls.Conn).ConnectionState().PeerCertificates[0]; !got.Equal(next.Certificate) {
			t.Errorf("a new connection sees certificate %x, want %x", got.SerialNumber, next.Certificate.SerialNumber)
		}
		nc.Close()
		close(changed[rotated.Add(1)-1])
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if n := len(ends.all()); n > 0 {
		t.Errorf("%d clients were cut off", n)
	}
}

// TestTLSBrokenFiles writes half a key: the old one stays in use, an event says
// so, and once.
func TestTLSBrokenFiles(t *testing.T) {
	p := newPKI(t)
	b := start(t, func(c *appliance.Config) { c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS)) })
	system := b.watch(events.System)
	key, err := os.ReadFile(p.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.path("server.key"), key[:len(key)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.ReloadCertificates(); err == nil || !strings.Contains(err.Error(), "server.key: PEM block 1 is damaged or cut off") {
		t.Errorf("half a key: %v", err)
	}
	e := system.await(t, 1)[0].Data.(events.SystemData)
	if e.What != "certificate_rejected" || !strings.Contains(e.Detail, "listener tls: ") {
		t.Errorf("%+v", e)
	}
	brokertest.Dial(t, "tls:"+b.Addr("tls"), brokertest.Clean(wire.V5, "c")).Ping()
	states := b.Certificates()
	if len(states) != 1 || states[0].Listener != "tls" || states[0].Role != "certificate" || states[0].NotAfter.Before(time.Now()) {
		t.Errorf("%+v", states)
	}
}

// TestTLSExpiryIsTold has a certificate that ends in a week and one that is
// over: statistics say which is which.
func TestTLSExpiryIsTold(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		life time.Duration
		want string
	}{{365 * 24 * time.Hour, statsd.CertificateOK}, {7 * 24 * time.Hour, statsd.CertificateExpiring}, {time.Nanosecond, statsd.CertificateExpired}} {
		issued, err := p.IssueServer(certs.Request{Lifetime: c.life}, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := issued.Write(p.path("server.crt"), p.path("server.key"), true); err != nil {
			t.Fatal(err)
		}
		b := start(t, func(c *appliance.Config) { c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS)) })
		var got []string
		for _, s := range b.Stats().Certificates {
			got = append(got, s.Listener+" "+s.Role+" "+s.State)
		}
		if want := "tls certificate " + c.want; fmt.Sprint(got) != "["+want+"]" {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// TestTLSClientCertificates revokes a device while it is connected.
func TestTLSClientCertificates(t *testing.T) {
	p := newPKI(t)
	device := p.issue(t, "device")
	b := start(t, func(c *appliance.Config) {
		l := p.listener("tls", appliance.ListenTLS)
		l.ClientCA, l.CRL = p.CertificateFile(), p.CRLFile()
		c.Listeners = append(c.Listeners, l)
	})
	refusals := b.watch(events.Refusal)
	url := "mqtts://" + b.Addr("tls")
	connected := pahoOver(t, url, "first", p.clientConfig(t, "device"))

	connect := func(id string, config *tls.Config) error {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID(id).SetTLSConfig(config).SetAutoReconnect(false).SetConnectRetry(false))
		defer c.Disconnect(0)
		token := c.Connect()
		if !token.WaitTimeout(patience) {
			t.Fatal("no answer")
		}
		return token.Error()
	}
	if err := connect("nobody", p.clientConfig(t, "")); err == nil {
		t.Error("a client without certificate was let in")
	}
	if err := connect("second", p.clientConfig(t, "device")); err != nil {
		t.Error(err)
	}
	if err := p.RevokeCertificate(device.Certificate); err != nil {
		t.Fatal(err)
	}
	if err := b.ReloadCertificates(); err != nil {
		t.Fatal(err)
	}
	if err := connect("third", p.clientConfig(t, "device")); err == nil {
		t.Error("a revoked certificate was let in")
	}
	brokertest.WaitFor(t, "the end of the one that was connected before", func() bool { return !connected.IsConnected() })
	var reasons []string
	for _, e := range refusals.await(t, 2) {
		reasons = append(reasons, e.Data.(events.RefusalData).Reason)
	}
	if !slices.Contains(reasons, "client_certificate") {
		t.Errorf("refused for %q", reasons)
	}
}

// TestTLSMosquitto uses the clients that most people try first.
func TestTLSMosquitto(t *testing.T) {
	sub, pub := program(t, "mosquitto_sub"), program(t, "mosquitto_pub")
	p := newPKI(t)
	p.issue(t, "device")
	b := start(t, func(c *appliance.Config) {
		l := p.listener("tls", appliance.ListenTLS)
		l.ClientCA, l.CRL = p.CertificateFile(), p.CRLFile()
		c.Listeners = append(c.Listeners, l)
	})
	host, port, err := net.SplitHostPort(b.Addr("tls"))
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"-h", host, "-p", port, "--cafile", p.CertificateFile(), "-t", "plant/x"}
	device := append(slices.Clone(base), "--cert", p.path("device.crt"), "--key", p.path("device.key"), "-q", "2")
	for _, args := range [][]string{
		{}, {"--tls-version", "tlsv1.3"}, {"--tls-version", "tlsv1.2"}, {"--tls-alpn", "mqtt"}, {"-V", "5"},
	} {
		ctx := within(t)
		cmd := exec.CommandContext(ctx, sub, append(append(slices.Clone(device), args...), "-C", "1", "-i", "sub")...)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		brokertest.WaitFor(t, "the subscription", func() bool { return b.Stats().Subscriptions.Total == 1 })
		if text, err := exec.CommandContext(ctx, pub, append(append(slices.Clone(device), args...), "-m", "hello")...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, text)
		}
		if err := cmd.Wait(); err != nil || out.String() != "hello\n" {
			t.Errorf("%q: got %q, %v", args, out.String(), err)
		}
		brokertest.WaitFor(t, "the end of the subscription", func() bool { return b.Stats().Subscriptions.Total == 0 })
	}
	for name, args := range map[string][]string{
		"no certificate":    base,
		"another authority": append([]string{"-h", host, "-p", port, "--cafile", newPKI(t).CertificateFile()}, device[6:]...),
	} {
		if text, err := exec.CommandContext(within(t), pub, append(args, "-m", "x")...).CombinedOutput(); err == nil {
			t.Errorf("%s: published\n%s", name, text)
		}
	}
}
