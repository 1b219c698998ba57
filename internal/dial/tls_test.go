package dial

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/certtest"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	pair := certtest.Make(t, x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{{127, 0, 0, 1}}, IsCA: true, BasicConstraintsValid: true})
	return certtest.Write(t, pair, t.TempDir(), name)
}

// echoTLS echoes over TLS to clients with a certificate, which it names first.
func echoTLS(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"mqtt"}, ClientAuth: tls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c := nc.(*tls.Conn)
				if c.Handshake() == nil {
					who := c.ConnectionState().NegotiatedProtocol
					for _, x := range c.ConnectionState().PeerCertificates {
						who += " " + x.Subject.CommonName
					}
					_, _ = io.WriteString(c, who+"\n")
				}
				echo(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestSecure(t *testing.T) {
	crt, key := selfSigned(t, "broker")
	deviceCrt, deviceKey := selfSigned(t, "device")
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	addr := echoTLS(t, pair)
	_, port, _ := net.SplitHostPort(addr)
	site := httptest.NewUnstartedServer(nil)
	site.Config.Handler = webHandler()
	site.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	site.StartTLS()
	t.Cleanup(site.Close)
	web := "wss" + strings.TrimPrefix(site.URL, "https")

	for _, tc := range []struct {
		name, address string
		with          TLS
		hears         string
		untrusted     bool
	}{
		{"known", "mqtts://" + addr, TLS{CAFile: crt}, "mqtt\n", false},
		{"with a certificate", "mqtts://" + addr, TLS{CAFile: crt, CertFile: deviceCrt, KeyFile: deviceKey}, "mqtt device\n", false},
		{"insecure", "mqtts://" + addr, TLS{Insecure: true}, "mqtt\n", false},
		{"unknown authority", "mqtts://" + addr, TLS{}, "", true},
		{"another authority", "mqtts://" + addr, TLS{CAFile: deviceCrt}, "", true},
		{"another host", "mqtts://localhost:" + port, TLS{CAFile: crt}, "", true},
		{"WebSocket", web + "/mqtt", TLS{CAFile: crt}, "ping", false},
		{"WebSocket, unknown authority", web + "/mqtt", TLS{}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config, err := tc.with.Config()
			if err != nil {
				t.Fatal(err)
			}
			nc, err := Secure(t.Context(), tc.address, patience, config)
			if tc.untrusted {
				var e *tls.CertificateVerificationError
				if !errors.As(err, &e) {
					t.Fatalf("connected, or %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(nc, "ping"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(tc.hears))
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != tc.hears {
				t.Errorf("heard %q, %v", got, err)
			}
			if len(config.NextProtos) > 0 || config.ServerName != "" {
				t.Error("the configuration was changed")
			}
		})
	}
}

// TestSecureWaits connects to what never answers the handshake.
func TestSecureWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := Broker(t.Context(), "mqtts://"+l.Addr().String(), 50*time.Millisecond)
	if err == nil {
		nc.Close()
		t.Fatal("connected")
	}
	if !strings.Contains(err.Error(), "TLS handshake: ") {
		t.Error(err)
	}
}

func TestTLSConfig(t *testing.T) {
	crt, key := selfSigned(t, "x")
	_, other := selfSigned(t, "y")
	for name, tc := range map[string]struct {
		t    TLS
		want string
	}{
		"no file":        {TLS{CAFile: crt + "x"}, "no such file"},
		"key as CA":      {TLS{CAFile: key}, "holds no certificate"},
		"only a key":     {TLS{KeyFile: key}, "a certificate and its key are needed"},
		"only a cert":    {TLS{CertFile: crt}, "a certificate and its key are needed"},
		"another's key":  {TLS{CertFile: crt, KeyFile: other}, "does not match"},
		"cert instead":   {TLS{CertFile: crt, KeyFile: crt}, "read own certificate"},
		"nothing at all": {TLS{}, ""},
	} {
		_, err := tc.t.Config()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, want := range map[string]bool{"mqtts://h:1": true, "wss://h": true, "mqtt://h:1": false, "ws://h": false, "h:1": false, "unix:/wss://": false} {
		if Secured(address) != want {
			t.Error(address)
		}
	}
}
