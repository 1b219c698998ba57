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

// Files names the PEM files of one listener.
type Files struct {
	Certificate string // the broker's, then those that lead up to its authority
	Key         string // of the broker's certificate
	ClientCA    string // the authorities whose clients may come in; empty: none is asked for a certificate
	CRL         string // their revocation lists; empty: none
}

// paths are those of the files that there are to be.
func (f Files) paths() []string {
	return slices.DeleteFunc([]string{f.Certificate, f.Key, f.ClientCA, f.CRL}, func(path string) bool { return path == "" })
}

// FileState is what there is to know about one thing in one file that ends
// some day: a certificate, or a revocation list. It is a plain value.
type FileState struct {
	Role      string // certificate, client_ca or crl
	Path      string
	Subject   string    // whose certificate, or list, it is
	NotBefore time.Time // of a list: when it was made
	NotAfter  time.Time // of a list: until when there should be the next; zero: never
	warn      time.Time // from when on to say that the end is near
}

// contents are the bytes of Files.
type contents struct{ cert, key, ca, crl []byte }

func (f Files) read() (c contents, err error) {
	var errs []error
	read := func(path, role string, limit int64) []byte {
		if path == "" {
			return nil
		}
		data, err := readFile(path, role, limit)
		errs = append(errs, err)
		return data
	}
	c.cert = read(f.Certificate, roleCertificate, maxCertificateFile)
	c.key = read(f.Key, roleKey, maxCertificateFile)
	c.ca = read(f.ClientCA, roleClientCA, maxCertificateFile)
	c.crl = read(f.CRL, roleCRL, maxCRLFile)
	return c, errors.Join(errs...)
}

// sum tells contents apart.
func (c contents) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, b := range [][]byte{c.cert, c.key, c.ca, c.crl} {
		fmt.Fprintf(h, "%d\n", len(b))
		h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// material is what a listener works with, checked. It does not change.
type material struct {
	pair   tls.Certificate
	states []FileState
	made   time.Time      // the latest at which something of it was made
	pool   *x509.CertPool // nil: no clients
	lists  map[string]*revoked
}

// revoked are the revoked certificates of one authority.
type revoked struct {
	serials map[string]struct{}
	next    time.Time // zero: the list is good for ever
}

// authorityID tells authorities apart, also those of the same name.
func authorityID(c *x509.Certificate) string {
	return string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo)
}

// check makes material of contents, or says all that is wrong with them. What
// has expired is no error here: see material.expired.
func (f Files) check(c contents) (*material, error) {
	m := &material{lists: map[string]*revoked{}}
	var errs []error
	var err error
	if m.pair, err = parsePair(f.Certificate, c.cert, f.Key, c.key); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, m.checkServer(f))
	}
	if f.ClientCA != "" {
		errs = append(errs, m.checkClients(f, c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *material) checkServer(f Files) error {
	leaf := m.pair.Leaf
	if use := leaf.ExtKeyUsage; len(use)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(use, x509.ExtKeyUsageServerAuth) && !slices.Contains(use, x509.ExtKeyUsageAny) {
		return fileErrorf(roleCertificate, f.Certificate, "the certificate of %s is not meant for a server; use one that is (extended key usage serverAuth)", leaf.Subject)
	}
	for _, der := range m.pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fileErrorf(roleCertificate, f.Certificate, "not a valid certificate: %w", err)
		}
		m.add(roleCertificate, f.Certificate, c.Subject.String(), c.NotBefore, c.NotAfter)
	}
	return nil
}

func (m *material) add(role, path, subject string, from, to time.Time) {
	m.states = append(m.states, FileState{role, path, subject, from, to, warnFrom(from, to)})
	if from.After(m.made) {
		m.made = from
	}
}

// warnFrom is when to say that something ends at to: 30 days before, or when
// two thirds of it are over, if that is later.
func warnFrom(from, to time.Time) time.Time {
	return to.Add(-min(30*24*time.Hour, max(to.Sub(from)/3, 0))) // Sub saturates
}

func (m *material) checkClients(f Files, c contents) error {
	cas, err := parseCertificates(f.ClientCA, roleClientCA, c.ca)
	if err != nil {
		return err
	}
	for i, ca := range cas {
		if !ca.IsCA {
			return fileErrorf(roleClientCA, f.ClientCA, "block %d (%s) is not the certificate of an authority; put that of the issuer of the clients' certificates here", i+1, ca.Subject)
		}
		m.add(roleClientCA, f.ClientCA, ca.Subject.String(), ca.NotBefore, ca.NotAfter)
	}
	if f.CRL != "" {
		crls, err := parseCRLs(f.CRL, c.crl)
		if err != nil {
			return err
		}
		for _, l := range crls {
			if err := m.addList(f, l, cas); err != nil {
				return err
			}
		}
	}
	m.pool = x509.NewCertPool()
	for _, ca := range cas {
		if !m.revokedBy(ca, cas) {
			m.pool.AddCert(ca)
		}
	}
	return nil
}

// addList takes in l, which one of cas must have signed.
func (m *material) addList(f Files, l *x509.RevocationList, cas []*x509.Certificate) error {
	for _, e := range l.Extensions {
		if known := e.Id.String() == "2.5.29.35" || e.Id.String() == "2.5.29.20"; e.Critical && !known {
			return fileErrorf(roleCRL, f.CRL, "the list of %s has the critical extension %s (is it partial, a delta?), which is not supported; use a complete list", l.Issuer, e.Id)
		}
	}
	var refused error
	for _, ca := range cas {
		if !bytes.Equal(ca.RawSubject, l.RawIssuer) {
			continue
		}
		if refused = l.CheckSignatureFrom(ca); refused != nil {
			continue
		}
		r := m.lists[authorityID(ca)]
		if r == nil {
			r = &revoked{serials: map[string]struct{}{}, next: l.NextUpdate}
			m.lists[authorityID(ca)] = r
		} else if !r.next.IsZero() && (l.NextUpdate.IsZero() || l.NextUpdate.After(r.next)) {
			r.next = l.NextUpdate // of several lists the newest counts for age, all for what they say
		}
		for _, e := range l.RevokedCertificateEntries {
			r.serials[string(e.SerialNumber.Bytes())] = struct{}{}
		}
		m.add(roleCRL, f.CRL, l.Issuer.String(), l.ThisUpdate, l.NextUpdate)
		return nil
	}
	if refused != nil {
		return fileErrorf(roleCRL, f.CRL, "the signature of the list of %s is not that of the authority in %s (%w); get the list, or the authority's certificate, anew", l.Issuer, f.ClientCA, refused)
	}
	return fileErrorf(roleCRL, f.CRL, "the list is of %s, whose certificate is not in %s; add it there, or remove the list", l.Issuer, f.ClientCA)
}

// revokedBy tells whether the list of one of cas names c.
func (m *material) revokedBy(c *x509.Certificate, cas []*x509.Certificate) bool {
	for _, ca := range cas {
		if r := m.lists[authorityID(ca)]; r != nil && r.has(c) && bytes.Equal(ca.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}

func (r *revoked) has(c *x509.Certificate) bool {
	_, ok := r.serials[string(c.SerialNumber.Bytes())]
	return ok
}

// clock is the time that certificates are compared with; see the package
// comment.
func (m *material) clock(now time.Time) time.Time {
	switch e := Epoch(); {
	case !now.Before(e):
		return now
	case m.made.After(e):
		return m.made
	default:
		return e
	}
}

// expired lists what is over at the time now, as errors.
func (m *material) expired(now time.Time) error {
	var errs []error
	for _, s := range m.states {
		if s.Expired(m.clock(now)) {
			errs = append(errs, s.expiredError())
		}
	}
	return errors.Join(errs...)
}

// Expired tells whether it is over at the time now.
func (s FileState) Expired(now time.Time) bool { return !s.NotAfter.IsZero() && now.After(s.NotAfter) }

// Expiring tells whether the end is near at the time now, or past: 30 days
// before it or, of a shorter life, in its last third.
func (s FileState) Expiring(now time.Time) bool { return !s.NotAfter.IsZero() && !now.Before(s.warn) }

func (s FileState) expiredError() error {
	day := s.NotAfter.UTC().Format(time.DateOnly)
	switch s.Role {
	case roleCRL:
		return fileErrorf(s.Role, s.Path, "the revocation list of %s has been out of date since %s, so clients with its certificates are refused; get the new list", s.Subject, day)
	case roleClientCA:
		return fileErrorf(s.Role, s.Path, "the certificate of the authority %s expired on %s, so its clients are refused; replace it", s.Subject, day)
	}
	return fileErrorf(s.Role, s.Path, "the certificate of %s expired on %s, so most clients refuse it; renew it", s.Subject, day)
}

// Read reads the files once and tells of everything in them when it ends. The
// error says all that is wrong with them, other than that something is over. It
// keeps nothing.
func (f Files) Read() ([]FileState, error) {
	c, err := f.read()
	if err != nil {
		return nil, err
	}
	m, err := f.check(c)
	if err != nil {
		return nil, err
	}
	return m.states, nil
}

// Check reads the files once and says all that is wrong with them, what has
// expired included. It keeps nothing.
func (f Files) Check() error {
	c, err := f.read()
	if err != nil {
		return err
	}
	m, err := f.check(c)
	if err != nil {
		return err
	}
	return m.expired(time.Now())
}
