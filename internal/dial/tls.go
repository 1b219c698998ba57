package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// TLS says how a broker is known over TLS, and how it knows us. The zero value
// trusts the authorities of the system.
type TLS struct {
	CAFile   string // PEM file of the authorities to trust, instead of the system's
	CertFile string // PEM files of our certificate and its key; none: empty
	KeyFile  string
	Insecure bool // take any certificate, so anybody can pose as the broker
}

// Config reads the files. The result may be used for many connections.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: t.Insecure, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if t.CAFile != "" {
		data, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate of the authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate; it must be a PEM file", t.CAFile)
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "" || t.KeyFile == "":
		return nil, errors.New("a certificate and its key are needed, one alone is of no use")
	default:
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read own certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Secured reports whether the broker at address is reached over TLS.
func Secured(address string) bool {
	return strings.HasPrefix(address, "mqtts://") || strings.HasPrefix(address, "wss://")
}

// configFor is config for a host, with the protocol to agree on.
func configFor(config *tls.Config, host, protocol string) *tls.Config {
	if config == nil {
		config = new(tls.Config)
	}
	config = config.Clone()
	config.NextProtos = []string{protocol}
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

// dialTLS connects to where, "host:port". ctx bounds the handshake too.
func dialTLS(ctx context.Context, dialer Dialer, where string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(where)
	if err != nil {
		return nil, err
	}
	below, err := dialer.DialContext(ctx, "tcp", where)
	if err != nil {
		return nil, err
	}
	nc := tls.Client(below, configFor(config, host, "mqtt"))
	if err := nc.HandshakeContext(ctx); err != nil {
		_ = below.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return nc, nil
}
