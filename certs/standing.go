package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Admits says why a client that has shown chain, its own certificate first,
// would not be let in now. chain is what it was let in with, perhaps long ago:
// since then it may have been revoked, or its authority been removed. Nil if it
// would be let in.
func (s *Source) Admits(chain []*x509.Certificate) error {
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
	now := m.config.Time()
	above := x509.NewCertPool()
	for _, c := range chain[1:] {
		above.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{Roots: m.config.ClientCAs, Intermediates: above, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return err
	}
	return m.verify(tls.ConnectionState{PeerCertificates: chain, VerifiedChains: chains}, now)
}
