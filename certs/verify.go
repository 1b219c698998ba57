package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ClientMode says what is asked of clients besides the handshake.
type ClientMode string

// What clients may be asked for.
const (
	ClientsNone     ClientMode = "none"     // nothing; also when empty
	ClientsOptional ClientMode = "optional" // a certificate, if they have one; it must be good
	ClientsRequired ClientMode = "required" // a good certificate
)

// config is the tls.Config of a handshake with m.
func (s *Source) config(m *material) *tls.Config {
	c := s.base()
	c.Certificates = []tls.Certificate{m.pair}
	c.Time = func() time.Time { return m.clock(s.now()) }
	c.WrapSession, c.UnwrapSession = s.sessions(m)
	switch s.opts.Clients {
	case ClientsOptional:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case ClientsRequired:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return c
	}
	c.ClientCAs = m.pool
	if c.ClientCAs == nil {
		c.ClientCAs = x509.NewCertPool() // nil would mean those of the system
	}
	c.VerifyConnection = func(state tls.ConnectionState) error { return m.verify(state, c.Time()) }
	return c
}

// sessions are the ways to seal and open what a client needs to resume its
// session. One from before the broker's own certificate changed is not resumed,
// so that the client sees the new one.
func (s *Source) sessions(m *material) (func(tls.ConnectionState, *tls.SessionState) ([]byte, error), func([]byte, tls.ConnectionState) (*tls.SessionState, error)) {
	tag := sha256.Sum256(m.pair.Certificate[0])
	wrap := func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, tag[:])
		return s.server.EncryptTicket(cs, ss)
	}
	unwrap := func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := s.server.DecryptTicket(identity, cs)
		if err != nil || ss == nil || !slices.ContainsFunc(ss.Extra, func(b []byte) bool { return bytes.Equal(b, tag[:]) }) {
			return nil, err
		}
		return ss, nil
	}
	return wrap, unwrap
}

// base is what all configurations of the source have in common.
func (s *Source) base() *tls.Config {
	return &tls.Config{
		MinVersion: max(s.opts.MinVersion, tls.VersionTLS12),
		NextProtos: s.opts.Protocols,
		// TLS 1.3 has sane ones only, and cannot be told.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Whole records at once: a client can use nothing of a packet before it
		// has all of it, and each record costs a system call.
		DynamicRecordSizingDisabled: true,
	}
}

// verify asks the revocation lists about the client's certificate, in every
// handshake. That its authority is still trusted has been checked by then, also
// where a session is resumed.
func (m *material) verify(state tls.ConnectionState, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		return nil // those who must have one did not get here
	}
	err := errors.New("no verified chain")
	for _, chain := range state.VerifiedChains {
		if err = m.verifyChain(chain, now); err == nil {
			return nil
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
}

// verifyChain asks the lists about every certificate of a chain. A client's
// own must be covered by a list, if there are lists at all.
func (m *material) verifyChain(chain []*x509.Certificate, now time.Time) error {
	if len(m.lists) == 0 {
		return nil
	}
	for i, c := range chain {
		if i+1 == len(chain) {
			if i == 0 {
				return fmt.Errorf("certificate of %s is that of an authority", c.Subject)
			}
			return nil
		}
		list := m.lists[authorityID(chain[i+1])]
		switch {
		case list == nil && i == 0:
			return fmt.Errorf("there is no revocation list of %s, which issued the certificate of %s", chain[i+1].Subject, c.Subject)
		case list == nil:
		case list.has(c):
			return fmt.Errorf("certificate of %s (serial %x) is revoked", c.Subject, c.SerialNumber)
		case !list.next.IsZero() && now.After(list.next):
			return fmt.Errorf("the revocation list of %s is out of date", chain[i+1].Subject)
		}
	}
	return nil
}
