package certs

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Revoke puts certificates of this authority on its list of those that are no
// longer good, by serial number ([x509.Certificate].SerialNumber), and writes
// the list. Brokers that watch the file refuse them from then on, at the next
// handshake: kick a client that is connected. Revoking again changes nothing.
//
// The list is valid as long as the authority itself: it is this folder that
// says who is revoked, and a list that nobody renews must not lock everybody
// out.
func (a *Authority) Revoke(serials ...*big.Int) error {
	old, err := a.readCRL()
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	entries, known := old.RevokedCertificateEntries, map[string]bool{}
	for _, e := range entries {
		known[e.SerialNumber.String()] = true
	}
	added := false
	for _, s := range serials {
		if s == nil || s.Sign() <= 0 {
			return errors.New("revoke: a serial number is positive; take it from the certificate")
		}
		if s.Cmp(a.cert.SerialNumber) == 0 {
			return fmt.Errorf("revoke: %x is the authority's own certificate; remove it from client_ca instead", s)
		}
		if known[s.String()] {
			continue
		}
		known[s.String()], added = true, true
		entries = append(entries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: start(a.now())})
	}
	if !added {
		return nil
	}
	if err := a.writeCRL(entries, new(big.Int).Add(old.Number, big.NewInt(1))); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

// RevokeCertificate revokes c, which must be of this authority.
func (a *Authority) RevokeCertificate(c *x509.Certificate) error {
	if err := c.CheckSignatureFrom(a.cert); err != nil {
		return fmt.Errorf("revoke certificate of %q: it was not issued by %q; revoke it where it was", c.Subject.CommonName, a.cert.Subject.CommonName)
	}
	return a.Revoke(c.SerialNumber)
}

// Revoked returns the serial numbers that are on the list.
func (a *Authority) Revoked() ([]*big.Int, error) {
	crl, err := a.readCRL()
	if err != nil {
		return nil, err
	}
	list := make([]*big.Int, len(crl.RevokedCertificateEntries))
	for i, e := range crl.RevokedCertificateEntries {
		list[i] = e.SerialNumber
	}
	return list, nil
}

// readCRL reads the list. That it is gone is an error: to begin a new one would
// let everybody in again who was revoked.
func (a *Authority) readCRL() (*x509.RevocationList, error) {
	lists, err := readCRLs(a.CRLFile())
	if err != nil {
		return nil, err
	}
	if len(lists) != 1 {
		return nil, fmt.Errorf("%s holds %d lists instead of one; restore it from a backup", a.CRLFile(), len(lists))
	}
	if err := lists[0].CheckSignatureFrom(a.cert); err != nil {
		return nil, fmt.Errorf("%s was not signed by %s; restore it from a backup", a.CRLFile(), a.CertificateFile())
	}
	if lists[0].Number == nil {
		lists[0].Number = new(big.Int)
	}
	return lists[0], nil
}

func (a *Authority) writeCRL(entries []x509.RevocationListEntry, number *big.Int) error {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: number, RevokedCertificateEntries: entries,
		ThisUpdate: start(a.now()), NextUpdate: a.cert.NotAfter,
	}, a.cert, a.key)
	if err != nil {
		return fmt.Errorf("sign revocation list: %w", err)
	}
	return writeFile(a.CRLFile(), pem.EncodeToMemory(&pem.Block{Type: blockCRL, Bytes: der}), certMode, number.Cmp(big.NewInt(1)) > 0)
}
