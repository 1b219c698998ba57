package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The files of an authority, in its folder. Who has the key can let anybody
// in: keep it off the gateway if somebody else makes the certificates.
const (
	AuthorityCertificate = "ca.crt"
	AuthorityKey         = "ca.key"
	AuthorityCRL         = "ca.crl"
)

// How long what an authority issues is valid, unless said otherwise. Devices
// in the field are not visited every year; a lost one is revoked.
const (
	AuthorityLifetime = 20 * 365 * 24 * time.Hour
	DefaultLifetime   = 10 * 365 * 24 * time.Hour
)

// Authority is a certificate authority with its files in one folder. It may be
// used by one goroutine at a time, and by one process at a time to revoke.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// CreateAuthority makes an authority called name with a new key, and its files
// in dir, which is created if need be. If one of its files is there already,
// nothing is changed and the error wraps fs.ErrExist.
func CreateAuthority(dir, name string) (*Authority, error) {
	return createAuthority(dir, name, time.Now)
}

func createAuthority(dir, name string, now func() time.Time) (*Authority, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	for _, f := range []string{AuthorityKey, AuthorityCertificate, AuthorityCRL} {
		if err := absent(filepath.Join(dir, f)); err != nil {
			return nil, fmt.Errorf("create authority: %w", err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create authority: make key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: always(), NotAfter: start(now()).Add(AuthorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create authority: sign certificate: %w", err)
	}
	a := &Authority{dir: dir, key: key, now: now}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	if err := writeFile(a.file(AuthorityKey), keyPEM, keyMode, false); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	if err := writeFile(a.file(AuthorityCertificate), encodeCertificate(der), certMode, false); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	if err := a.writeCRL(nil, big.NewInt(1)); err != nil { // so that listeners can name it from the first day
		return nil, fmt.Errorf("create authority: %w", err)
	}
	return a, nil
}

// OpenAuthority opens the authority whose files are in dir.
func OpenAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir, now: time.Now}
	pair, err := readPair(a.file(AuthorityCertificate), a.file(AuthorityKey))
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	a.cert = pair.Leaf
	if !a.cert.IsCA {
		return nil, fmt.Errorf("open authority: %s is not the certificate of an authority; name the folder of one that was created here", a.file(AuthorityCertificate))
	}
	a.key = pair.PrivateKey.(crypto.Signer) // readPair takes no other
	return a, nil
}

// CertificateFile is where the authority's own certificate is, for client_ca
// of a listener and for the devices.
func (a *Authority) CertificateFile() string { return a.file(AuthorityCertificate) }

// CRLFile is where the authority's list of revoked certificates is.
func (a *Authority) CRLFile() string { return a.file(AuthorityCRL) }

func (a *Authority) file(name string) string { return filepath.Join(a.dir, name) }

// start is the time from which lifetimes are counted.
func start(now time.Time) time.Time {
	if now.Before(Epoch()) {
		return Epoch()
	}
	return now.UTC().Truncate(time.Second)
}

// newSerial is a serial number that nobody has had: positive, of 127 random
// bits, so that no record of those given away is needed.
func newSerial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7F
	b[15] |= 1 // not zero
	return new(big.Int).SetBytes(b[:])
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPKCS8, Bytes: der}), nil
}

// checkName checks the common name of a certificate.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of a certificate cannot be empty; give one")
	case len(name) > 64: // ub-common-name of RFC 5280
		return fmt.Errorf("name %q has %d bytes, a certificate's has 64 at most; shorten it", name, len(name))
	}
	for _, r := range name {
		if r < ' ' || r == 0x7F || r == '\uFFFD' {
			return fmt.Errorf("name %q holds what cannot be printed; use letters and digits", name)
		}
	}
	return nil
}
