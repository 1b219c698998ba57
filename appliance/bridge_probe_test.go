package appliance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/certtest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// said is the steps of a test, a line each.
func said(done statsd.BridgeTest) string {
	var b strings.Builder
	for _, s := range done.Steps {
		b.WriteString(s.Name + " " + s.Result + ": " + s.What + " -> " + s.Mend + "\n")
	}
	return b.String()
}

func probeOf(t testing.TB, b appliance.BridgeConfig, own bool) statsd.BridgeTest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	return config(t).TestBridge(ctx, b, own)
}

// A test goes beside the uplink that runs, which does not notice; or in its
// place, and it comes back.
func TestBridgeTestBesideTheUplink(t *testing.T) {
	brokertest.NoLeaks(t)
	far := launch(t, config(t))
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(address(far), appliance.BridgeTopic{Filter: "out/#", QoS: 2},
		appliance.BridgeTopic{Filter: "in/#", QoS: 1, Direction: appliance.BridgeIn})}
	cfg.Bridges[0].Canary = appliance.BridgeCanary{Topic: "gateway/canary"}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	control := statsd.Dial(cfg.Control.Socket)
	for _, own := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
		done, err := control.TestBridge(ctx, "up", own)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		text := said(done)
		for _, want := range []string{"connect ok", "login ok: as client gateway", "QoS up to 2", `subscribe ok: "in/#" with QoS 1`, "publish ok", "ping ok"} {
			if !strings.Contains(text, want) {
				t.Errorf("own %v: %q is not in\n%s", own, want, text)
			}
		}
		if !done.OK || strings.Contains(text, "gateway-test") == own {
			t.Errorf("own %v:\n%s", own, text)
		}
		st := is(t, near, bridge.Up)
		if !own && st.Connects != 1 {
			t.Errorf("the uplink has connected %d times", st.Connects)
		}
	}
	client(t, near, "pub").Publish("out/a", "x", 1, false)
	relayed(t, near)
}

// What is wrong is said, with what mends it.
func TestBridgeTestSaysWhatIsWrong(t *testing.T) {
	connack := func(c wire.Connack) func(int, wire.Frame) []byte {
		return func(_ int, f wire.Frame) []byte {
			if f.Type == wire.CONNECT {
				return wire.AppendConnack(nil, wire.V5, &c)
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		answer func(int, wire.Frame) []byte
		change func(*appliance.BridgeConfig)
		want   []string
		ok     bool
	}{
		"nothing listens":   {change: func(b *appliance.BridgeConfig) { b.Address = "mqtt://127.0.0.1:1" }, want: []string{"connect failed", "nothing listens there"}},
		"no such name":      {change: func(b *appliance.BridgeConfig) { b.Address = "mqtt://nowhere.invalid:1883" }, want: []string{"resolve failed", "-> "}},
		"no TLS":            {change: func(b *appliance.BridgeConfig) { b.Address = strings.Replace(b.Address, "mqtt", "mqtts", 1) }, want: []string{"tls failed"}},
		"no password":       {change: func(b *appliance.BridgeConfig) { b.Username, b.Password = "u", "file:/nowhere/x" }, want: []string{"password failed", "/nowhere/x"}},
		"hangs up":          {answer: func(int, wire.Frame) []byte { return hangUp }, want: []string{"login failed", "--own-id"}},
		"only 3.1.1":        {answer: connack(wire.Connack{Reason: wire.UnsupportedProtocolVersion}), want: []string{"login failed", `set version: "3.1.1"`}},
		"only 3.1.1, short": {answer: func(int, wire.Frame) []byte { return []byte{0x20, 2, 0, 1} }, want: []string{"login failed", `set version: "3.1.1"`}},
		"not authorized":    {answer: connack(wire.Connack{Reason: wire.NotAuthorized, ReasonString: "who?"}), want: []string{"login failed", `"who?"`, "certificate"}},
		"takes little": {answer: connack(wire.Connack{HasMaximumQoS: true, MaximumQoS: 1, RetainUnavailable: true, MaximumPacketSize: 1000, ReceiveMaximum: 7}), ok: true,
			want: []string{"packets of 1000 bytes, 7 messages at once", `qos note: rule "#" asks for QoS 2`, "retain note", "publish ok"}},
		"subscription refused": {change: func(b *appliance.BridgeConfig) { b.Topics[0].Direction = appliance.BridgeBoth },
			answer: func(_ int, f wire.Frame) []byte {
				if f.Type == wire.SUBSCRIBE {
					return wire.AppendSuback(nil, wire.V5, 1, []wire.Reason{wire.NotAuthorized})
				}
				return nil
			}, want: []string{`subscribe failed: "#" is refused: not authorized`}},
		"hangs up at the canary": {answer: func(_ int, f wire.Frame) []byte {
			if f.Type == wire.PUBLISH {
				return hangUp
			}
			return nil
		}, want: []string{"publish failed", "set canary.topic"}},
	} {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		far.answer = tt.answer
		b := uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 2})
		b.Canary = appliance.BridgeCanary{}
		if tt.change != nil {
			tt.change(&b)
		}
		done := probeOf(t, b, false)
		for _, want := range tt.want {
			if !strings.Contains(said(done), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, said(done))
			}
		}
		if done.OK != tt.ok {
			t.Errorf("%s: ok is %v:\n%s", name, done.OK, said(done))
		}
	}
}

// certificate writes one, and its key.
func certificate(t testing.TB, host string, from, to time.Time) (certFile, keyFile string) {
	t.Helper()
	template := x509.Certificate{Subject: pkix.Name{CommonName: "far"}, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	return certtest.Write(t, certtest.Make(t, template), t.TempDir(), "far")
}

// What is wrong with a certificate is said with its dates and names.
func TestBridgeTestCertificates(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		host     string
		from, to time.Time
		trust    bool
		want     string
	}{
		"fine":     {"127.0.0.1", now.Add(-time.Hour), now.AddDate(1, 0, 0), true, "tls ok: TLS 1.3"},
		"soon":     {"127.0.0.1", now.Add(-time.Hour), now.AddDate(0, 0, 3), true, "it is over in 71 hours"},
		"expired":  {"127.0.0.1", now.AddDate(0, -2, 0), now.AddDate(0, -1, 0), true, "renew the certificate there"},
		"name":     {"other.example", now.Add(-time.Hour), now.AddDate(1, 0, 0), true, "its certificate is for another name"},
		"stranger": {"127.0.0.1", now.Add(-time.Hour), now.AddDate(1, 0, 0), false, "name the authority"},
	} {
		certFile, keyFile := certificate(t, tt.host, tt.from, tt.to)
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		far := newFarSideAt(t, func(l net.Listener) net.Listener {
			return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
		})
		b := uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 1})
		b.Address = "mqtts://" + far.l.Addr().String()
		if tt.trust {
			b.CA = certFile
		}
		done := probeOf(t, b, false)
		if !strings.Contains(said(done), tt.want) {
			t.Errorf("%s: %q is not in\n%s", name, tt.want, said(done))
		}
		if name == "expired" {
			b.Certificate, b.PrivateKey = certFile, keyFile
			if text := said(probeOf(t, b, false)); !strings.HasPrefix(text, "certificate failed: ours is of CN=far, from ") {
				t.Errorf("got\n%s", text)
			}
		}
	}
}

// To NATS the stream, what it takes and what the user may do are looked at.
func TestBridgeTestNATS(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.Users = []*server.User{{Username: "gw", Password: "pw", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"a.>", "$JS.API.>", "$SYS.REQ.USER.INFO"}}}}}
	s := natsServer(t, o)
	_, js := natsClient(t, s, nats.UserInfo("gw", "pw"))
	b := uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "a/#", QoS: 1}, appliance.BridgeTopic{Filter: "b/#", QoS: 1})
	if text := said(probeOf(t, b, false)); !strings.Contains(text, "login failed: the far side refuses") {
		t.Errorf("without a name:\n%s", text)
	}
	pw := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(pw, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Username, b.Password = "gw", appliance.SecretRef("file:"+pw)
	if done := probeOf(t, b, false); done.OK || !strings.Contains(said(done), `stream failed: "S": `) {
		t.Errorf("without a stream:\n%s", said(done))
	}
	makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"a.>"}})
	done := probeOf(t, b, false)
	for _, want := range []string{"login ok: server ", "account ok: account $G, user gw", "rights note: this user may not publish to all of b.>", "subjects note: the stream does not take all of b", `stream ok: "S" takes a.>`, "ping ok"} {
		if !done.OK || !strings.Contains(said(done), want) {
			t.Errorf("%q is not in\n%s", want, said(done))
		}
	}
}
