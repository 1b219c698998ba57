package e2e_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Who has come as far as CONNECT when the doors change does not slip through:
// what was checked before is checked again. Who may still come loses nothing.
func TestReloadLateConnect(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "good")
	bad, found := p.issue(t, "bad"), p.issue(t, "found")
	secure := func(c *appliance.Config) {
		l := p.listener("door", appliance.ListenTLS)
		l.ClientCA, l.CRL = p.CertificateFile(), p.CRLFile()
		l.ClientCertificates = appliance.ClientCertificatesOptional
		c.Listeners = append(c.Listeners, l)
	}
	for name, tt := range map[string]struct {
		before, change func(c *appliance.Config)
		good, bad      string // whose certificates are shown
		badSpeaks      wire.Version
		automatic      bool // without a reload: the files of certificates are noticed
	}{
		"a version": {
			before: func(c *appliance.Config) {
				c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "door", Address: "127.0.0.1:0"})
			},
			change: func(c *appliance.Config) { c.Listeners[len(c.Listeners)-1].MQTTVersions = []appliance.MQTTVersion{"5"} }, badSpeaks: wire.V311},
		"a certificate that is revoked": {before: secure, good: "good", bad: "bad", badSpeaks: wire.V5,
			change: func(*appliance.Config) {
				if err := p.RevokeCertificate(bad.Certificate); err != nil {
					t.Fatal(err)
				}
			}},
		"no certificate": {before: secure, good: "good", badSpeaks: wire.V5,
			change: func(c *appliance.Config) {
				c.Listeners[len(c.Listeners)-1].ClientCertificates = appliance.ClientCertificatesRequired
			}},
		"a certificate that is found revoked": {before: secure, good: "good", bad: "found", badSpeaks: wire.V5, automatic: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEditable(t, tt.before)
			come := func(device string) net.Conn {
				conn, err := net.Dial("tcp", e.Addr("door"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(brokertest.Patience))
				if tt.badSpeaks == wire.V311 {
					if _, err := conn.Write([]byte{0x10}); err != nil { // a CONNECT begins
						t.Fatal(err)
					}
					return conn
				}
				config := p.clientConfig(t, device)
				config.ServerName, config.MaxVersion = "127.0.0.1", tls.VersionTLS12 // so the broker, too, is through with the handshake
				shaken := tls.Client(conn, config)
				if err := shaken.Handshake(); err != nil {
					t.Fatal(err)
				}
				return shaken
			}
			late := come(tt.bad)
			good := come(tt.good)
			brokertest.WaitFor(t, "two connections", func() bool { return tt.good != "" || e.Stats().Received.Bytes == 2 })
			if tt.automatic {
				if err := p.RevokeCertificate(found.Certificate); err != nil {
					t.Fatal(err)
				}
				if err := e.ReloadCertificates(); err != nil {
					t.Fatal(err)
				}
			} else {
				e.edit(tt.change)
				if _, err := e.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range []struct {
				conn net.Conn
				v    wire.Version
				in   bool
			}{{late, tt.badSpeaks, false}, {good, wire.V5, true}} {
				con := brokertest.Clean(c.v, "c")
				frame := wire.AppendConnect(nil, &con)
				if tt.badSpeaks == wire.V311 {
					frame = frame[1:]
				}
				if _, err := c.conn.Write(frame); err != nil {
					t.Fatal(err)
				}
				f, err := readFrame(c.conn)
				if err != nil || f.Type != wire.CONNACK {
					t.Fatalf("let in %t: got %v, %v", c.in, f, err)
				}
				if in := f.Body[1] == 0; in != c.in {
					t.Errorf("let in: %t, want %t (%x)", in, c.in, f.Raw)
				}
			}
		})
	}
}
