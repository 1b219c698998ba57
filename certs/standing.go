package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Disowned says why a client that was let in with chain, its own certificate
// first, may not stay: its certificate has been revoked since, its authority is
// trusted no longer, or a certificate is asked for now and it has shown none.
// That time has passed is no reason, neither for the certificate nor for the
// revocation list: it would end all connections of a plant at once. Nil if the
// client may stay.
func (s *Source) Disowned(chain []*x509.Certificate) error {
	m := s.current.Load()
	switch {
	case m == nil:
		return errNotLoaded
	case m.config.ClientAuth == tls.NoClientCert:
		return nil
	case len(chain) == 0 && m.config.ClientAuth == tls.RequireAndVerifyClientCert:
		return errors.New("no certificate was shown")
	case len(chain) == 0:
		return nil
	}
	above := x509.NewCertPool()
	for _, c := range chain[1:] {
		above.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{Roots: m.config.ClientCAs, Intermediates: above, CurrentTime: chain[0].NotBefore,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return err
	}
	return m.verify(tls.ConnectionState{PeerCertificates: chain, VerifiedChains: chains}, time.Time{})
}
