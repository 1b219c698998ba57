package listen

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"testing"

	"github.com/synthetism/edgebroker/internal/certtest"
)

// testCert is a self-signed certificate for 127.0.0.1 that is also good for a
// client called "device".
func testCert(t testing.TB) tls.Certificate {
	t.Helper()
	return certtest.Make(t, x509.Certificate{Subject: pkix.Name{CommonName: "device"}, IPAddresses: []net.IP{{127, 0, 0, 1}}, BasicConstraintsValid: true, IsCA: true})
}

// tlsConfigs are those of a server and of its clients.
func (r *rig) tlsConfigs() (server, client *tls.Config) {
	r.Helper()
	if r.cert.Leaf == nil {
		r.cert = testCert(r.TB)
	}
	pool := x509.NewCertPool()
	pool.AddCert(r.cert.Leaf)
	return &tls.Config{Certificates: []tls.Certificate{r.cert}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven},
		&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// dialTLS connects with what change makes of the usual configuration.
func (r *rig) dialTLS(l *Listener, change func(*tls.Config)) *client {
	r.Helper()
	nc, err := net.Dial("tcp", l.Address())
	if err != nil {
		r.Fatal(err)
	}
	_, config := r.tlsConfigs()
	if change != nil {
		change(config)
	}
	return newClient(r.TB, tls.Client(nc, config))
}

// tcpOf is the TCP connection below nc.
func tcpOf(nc net.Conn) *net.TCPConn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	return nc.(*net.TCPConn)
}

// over runs a test with listeners of several types.
func over(t *testing.T, test func(t *testing.T, kind string), kinds ...string) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}
