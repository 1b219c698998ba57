package certs

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"
)

// crl is a list of p's, as other software may have made it.
func (p *pki) crl(change func(*x509.RevocationList)) string {
	p.Helper()
	l := &x509.RevocationList{Number: big.NewInt(9), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	change(l)
	der, err := x509.CreateRevocationList(rand.Reader, l, p.cert, p.key)
	if err != nil {
		p.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockCRL, Bytes: der}))
}

func TestSourceCRL(t *testing.T) {
	p, other := newPKI(t, "plant"), newPKI(t, "other")
	good, elsewhere := p.client("good", Request{}), other.client("good", Request{})
	both := p.path("both.crt")
	write(t, both, read(t, p.CertificateFile())+read(t, other.CertificateFile()), 0o644)
	old := func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Hour) }
	same := func(*x509.RevocationList) {}
	for _, tc := range []struct {
		name  string
		crl   string
		here  bool // p's client is let in
		else_ bool
	}{
		{"none", "", true, true},
		{"current", p.crl(same), true, false}, // there is no list of other
		{"for ever", p.crl(func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(50 * 365 * 24 * time.Hour) }), true, false},
		{"of tomorrow", p.crl(func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}), true, false},
		{"out of date", p.crl(old), false, false},
		{"out of date, and the next", p.crl(old) + p.crl(same), true, false},
		{"both", p.crl(same) + other.crl(same), true, true},
		{"both, one out of date", p.crl(same) + other.crl(old), true, false},
		{"revoked in the older one", p.crl(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: good.Certificate.SerialNumber, RevocationTime: time.Now()}}
		}) + p.crl(same), false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := p.files()
			f.ClientCA, f.CRL = both, ""
			if tc.crl != "" {
				f.CRL = filepath.Join(t.TempDir(), "crl")
				write(t, f.CRL, tc.crl, 0o644)
			}
			s, _ := newSource(t, Options{Files: f, Clients: ClientsOptional})
			for who, want := range map[*Issued]bool{good: tc.here, elsewhere: tc.else_} {
				if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig(as(who))); (err == nil) != want {
					t.Errorf("%s: %v", who.Certificate.Issuer, err)
				}
			}
			if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig()); err != nil {
				t.Errorf("a client without certificate: %v", err)
			}
		})
	}
}

// TestSourceRevokedAuthority has an authority below another one, in one file
// with it, and revokes it.
func TestSourceRevokedAuthority(t *testing.T) {
	p := newPKI(t, "root")
	below := newPKI(t, "below")
	c := *below.cert
	c.SerialNumber, c.MaxPathLenZero = big.NewInt(77), true
	der, err := x509.CreateCertificate(rand.Reader, &c, unbounded(p.cert), below.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	if below.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	device := below.client("device", Request{})
	f := p.files()
	f.ClientCA = p.path("both.crt")
	write(t, f.ClientCA, string(encodeCertificate(below.cert.Raw))+read(t, p.CertificateFile()), 0o644)
	f.CRL = p.path("both.crl")
	for _, revoke := range []bool{false, true} {
		if revoke {
			if err := p.Revoke(big.NewInt(77)); err != nil {
				t.Fatal(err)
			}
		}
		write(t, f.CRL, read(t, p.CRLFile())+below.crl(func(*x509.RevocationList) {}), 0o644)
		s, _ := newSource(t, Options{Files: f, Clients: ClientsRequired})
		if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig(as(device))); (err == nil) == revoke {
			t.Errorf("revoked %v: %v", revoke, err)
		}
	}
}

// unbounded is c without a limit on authorities below it, which ours have.
func unbounded(c *x509.Certificate) *x509.Certificate {
	u := *c
	u.MaxPathLen, u.MaxPathLenZero = -1, false
	return &u
}
