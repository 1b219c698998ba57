package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pki is an authority with a server certificate and one of a device.
type pki struct {
	testing.TB
	*Authority
	dir string
}

func newPKI(t testing.TB, name string) *pki {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := CreateAuthority(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{t, a, dir}
	p.server("server", Request{}, "localhost", "127.0.0.1")
	return p
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) server(name string, r Request, hosts ...string) *Issued {
	p.Helper()
	i, err := p.IssueServer(r, hosts...)
	if err != nil {
		p.Fatal(err)
	}
	p.write(name, i)
	return i
}

func (p *pki) client(name string, r Request) *Issued {
	p.Helper()
	r.Name = name
	i, err := p.IssueClient(r)
	if err != nil {
		p.Fatal(err)
	}
	p.write(name, i)
	return i
}

func (p *pki) write(name string, i *Issued) {
	p.Helper()
	if err := i.Write(p.path(name+".crt"), p.path(name+".key"), true); err != nil {
		p.Fatal(err)
	}
}

func (p *pki) files() Files {
	return Files{Certificate: p.path("server.crt"), Key: p.path("server.key"), ClientCA: p.CertificateFile(), CRL: p.CRLFile()}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestAuthority(t *testing.T) {
	p := newPKI(t, "plant")
	for name, mode := range map[string]fs.FileMode{AuthorityKey: 0o600, "server.key": 0o600, AuthorityCertificate: 0o644, AuthorityCRL: 0o644, "server.crt": 0o644} {
		if info, err := os.Stat(p.path(name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if list, _ := filepath.Glob(p.path(".*")); len(list) > 0 {
		t.Errorf("left behind: %q", list)
	}
	if err := p.files().Check(); err != nil {
		t.Errorf("what was made is not good: %v", err)
	}
	ca := p.cert
	if ca.NotBefore.Unix() != 0 || time.Until(ca.NotAfter) < 10*365*24*time.Hour || ca.NotAfter.Year() > 2049 {
		t.Errorf("valid from %v to %v", ca.NotBefore, ca.NotAfter)
	}

	t.Run("is not overwritten", func(t *testing.T) {
		before := read(t, p.path(AuthorityKey))
		if _, err := CreateAuthority(p.dir, "other"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("created again: %v", err)
		}
		for _, name := range []string{AuthorityCertificate, AuthorityCRL} { // one of them is enough
			dir := t.TempDir()
			write(t, filepath.Join(dir, name), "x", 0o644)
			if _, err := CreateAuthority(dir, "other"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("created beside %s: %v", name, err)
			}
			if _, err := os.Stat(filepath.Join(dir, AuthorityKey)); err == nil {
				t.Errorf("a key was left beside %s", name)
			}
		}
		if read(t, p.path(AuthorityKey)) != before {
			t.Error("the key has changed")
		}
	})
	t.Run("is opened again", func(t *testing.T) {
		a, err := OpenAuthority(p.dir)
		if err != nil || !a.cert.Equal(ca) {
			t.Fatal(err)
		}
		i, err := a.IssueClient(Request{Name: "d"})
		if err != nil || i.Certificate.CheckSignatureFrom(ca) != nil {
			t.Error(err)
		}
	})
	t.Run("is not opened if it is none", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, AuthorityCertificate), read(t, p.path("server.crt")), 0o644)
		write(t, filepath.Join(dir, AuthorityKey), read(t, p.path("server.key")), 0o600)
		if _, err := OpenAuthority(dir); err == nil || !strings.Contains(err.Error(), "not the certificate of an authority") {
			t.Error(err)
		}
		if _, err := OpenAuthority(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestIssue(t *testing.T) {
	p := newPKI(t, "plant")
	roots := x509.NewCertPool()
	roots.AddCert(p.cert)
	serials := map[string]bool{}
	t.Run("server", func(t *testing.T) {
		i, err := p.IssueServer(Request{}, "gateway.local", "*.plant.example", "192.168.8.1", "[fe80::1%eth0]", "::1")
		if err != nil {
			t.Fatal(err)
		}
		for host, good := range map[string]bool{"gateway.local": true, "a.plant.example": true, "plant.example": false, "192.168.8.1": true, "[::1]": true, "fe80::1": true, "10.0.0.1": false, "other": false} {
			_, err := i.Certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: "[" + strings.Trim(host, "[]") + "]"})
			if !strings.ContainsAny(host, ":") && !strings.HasPrefix(host, "1") {
				_, err = i.Certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
			}
			if (err == nil) != good {
				t.Errorf("%s: %v", host, err)
			}
		}
		if i.Certificate.Subject.CommonName != "gateway.local" {
			t.Error(i.Certificate.Subject)
		}
	})
	t.Run("client", func(t *testing.T) {
		for n := range 50 {
			i, err := p.IssueClient(Request{Name: fmt.Sprint("dévice ", n), Lifetime: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			c := i.Certificate
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Verify(x509.VerifyOptions{Roots: roots}); err == nil {
				t.Fatal("a device's certificate is good for a server")
			}
			if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 127 || serials[c.SerialNumber.String()] {
				t.Fatalf("serial number %x", c.SerialNumber)
			}
			serials[c.SerialNumber.String()] = true
			if c.Subject.CommonName != fmt.Sprint("dévice ", n) || time.Until(c.NotAfter) > time.Hour {
				t.Fatalf("%v until %v", c.Subject, c.NotAfter)
			}
		}
	})
	t.Run("renewed for the same key", func(t *testing.T) {
		key, err := ReadKey(p.path("server.key"))
		if err != nil {
			t.Fatal(err)
		}
		i, err := p.IssueServer(Request{Key: key}, "renewed")
		if err != nil {
			t.Fatal(err)
		}
		if err := i.WriteRenewed(p.path("server.crt")); err != nil {
			t.Fatal(err)
		}
		if err := p.files().Check(); err != nil {
			t.Error(err)
		}
	})
	t.Run("no longer than the authority", func(t *testing.T) {
		i, err := p.IssueClient(Request{Name: "d", Lifetime: 1 << 62})
		if err != nil || !i.Certificate.NotAfter.Equal(p.cert.NotAfter) {
			t.Error(err, i)
		}
	})
	t.Run("a clock of 1970", func(t *testing.T) {
		then := func() time.Time { return time.Unix(100, 0) }
		a, err := createAuthority(filepath.Join(t.TempDir(), "x"), "old", then)
		if err != nil {
			t.Fatal(err)
		}
		i, err := a.IssueClient(Request{Name: "d"})
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		for _, now := range []time.Time{then(), time.Now(), Epoch().Add(9 * 365 * 24 * time.Hour)} {
			if _, err := i.Certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Errorf("at %v: %v", now, err)
			}
		}
	})
	t.Run("what cannot be", func(t *testing.T) {
		if _, err := p.IssueServer(Request{}); err == nil {
			t.Error("no host")
		}
		for _, h := range []string{"", "a b", "-a", "a..b", "*", "*.", "a.*.b", "http://x", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "b", "ü.example"} {
			if _, err := p.IssueServer(Request{}, h); err == nil {
				t.Errorf("host %q", h)
			}
		}
		for _, n := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 65)} {
			if _, err := p.IssueClient(Request{Name: n}); err == nil {
				t.Errorf("name %q", n)
			}
		}
		if _, err := p.IssueClient(Request{Name: "d", Lifetime: -1}); err == nil {
			t.Error("a negative lifetime")
		}
	})
	t.Run("writes nothing over", func(t *testing.T) {
		i := p.client("once", Request{})
		for _, name := range []string{"once.crt", "once.key"} { // whichever of the two is there
			dir := t.TempDir()
			write(t, filepath.Join(dir, name), "precious", 0o600)
			if err := i.Write(filepath.Join(dir, "once.crt"), filepath.Join(dir, "once.key"), false); !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: %v", name, err)
			}
			if list, _ := os.ReadDir(dir); len(list) != 1 || read(t, filepath.Join(dir, name)) != "precious" {
				t.Errorf("%s: changed", name)
			}
		}
	})
}

// TestWriteKeepsGroup replaces files that a group may read.
func TestWriteKeepsGroup(t *testing.T) {
	p := newPKI(t, "plant")
	for mode, want := range map[fs.FileMode]fs.FileMode{0o640: 0o640, 0o600: 0o600, 0o660: 0o660, 0o644: 0o640} {
		if err := os.Chmod(p.path("server.key"), mode); err != nil {
			t.Fatal(err)
		}
		p.server("server", Request{}, "localhost")
		if info, err := os.Stat(p.path("server.key")); err != nil || info.Mode() != want {
			t.Errorf("%o became %o, want %o; %v", mode, info.Mode(), want, err)
		}
	}
}

func TestLocalHosts(t *testing.T) {
	hosts, err := LocalHosts()
	if err != nil || !slices.Contains(hosts, "127.0.0.1") || !slices.Contains(hosts, "localhost") {
		t.Fatal(hosts, err)
	}
	if _, err := newPKI(t, "x").IssueServer(Request{}, hosts...); err != nil {
		t.Errorf("%q: %v", hosts, err)
	}
}

func TestRevoke(t *testing.T) {
	p := newPKI(t, "plant")
	first, second := p.client("first", Request{}), p.client("second", Request{})
	for range 2 { // the second time changes nothing
		if err := p.RevokeCertificate(first.Certificate); err != nil {
			t.Fatal(err)
		}
	}
	after := read(t, p.CRLFile())
	if err := p.Revoke(first.Certificate.SerialNumber); err != nil || read(t, p.CRLFile()) != after {
		t.Error("revoking again has changed the list", err)
	}
	a, err := OpenAuthority(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(second.Certificate.SerialNumber, big.NewInt(7)); err != nil {
		t.Fatal(err)
	}
	got, err := p.Revoked()
	want := []*big.Int{first.Certificate.SerialNumber, second.Certificate.SerialNumber, big.NewInt(7)}
	if err != nil || !slices.EqualFunc(got, want, func(a, b *big.Int) bool { return a.Cmp(b) == 0 }) {
		t.Errorf("%v, %v", got, err)
	}
	lists, err := readCRLs(p.CRLFile())
	if err != nil || lists[0].Number.Int64() != 3 || !lists[0].NextUpdate.Equal(p.cert.NotAfter) {
		t.Errorf("%+v, %v", lists, err)
	}

	other := newPKI(t, "other").client("d", Request{})
	for what, err := range map[string]error{
		"another authority's certificate": p.RevokeCertificate(other.Certificate),
		"the authority's own":             p.Revoke(p.cert.SerialNumber),
		"a negative number":               p.Revoke(big.NewInt(-1)),
		"no number":                       p.Revoke(nil),
	} {
		if err == nil {
			t.Errorf("%s was revoked", what)
		}
	}
	for what, text := range map[string]string{"gone": "", "forged": read(t, newPKI(t, "plant").CRLFile())} {
		if text == "" {
			_ = os.Remove(p.CRLFile())
		} else {
			write(t, p.CRLFile(), text, 0o644)
		}
		if err := p.Revoke(big.NewInt(8)); err == nil {
			t.Errorf("the list is %s, and a new one was begun", what)
		}
	}
}

// TestCheck has files that do not fit.
func TestCheck(t *testing.T) {
	p := newPKI(t, "plant")
	other := newPKI(t, "other")
	device := p.client("device", Request{})
	key, crt := read(t, p.path("server.key")), read(t, p.path("server.crt"))
	ca, crl := read(t, p.CertificateFile()), read(t, p.CRLFile())
	expired := p.server("expired", Request{Lifetime: time.Nanosecond}, "localhost")
	for _, tc := range []struct {
		name, role, text string
		want             string // "": good
	}{
		{"chain", roleCertificate, crt + ca, ""},
		{"text around", roleCertificate, "Certificate:\n" + crt + "\nthe end\n", ""},
		{"windows lines", roleKey, strings.ReplaceAll(key, "\n", "\r\n"), ""},
		{"no file", roleCertificate, "", "there is no such file"},
		{"blank", roleCertificate, " \n", "empty; write it anew"},
		{"not PEM", roleCertificate, "hello", "not a PEM file"},
		{"half a file", roleCertificate, crt[:len(crt)/2], "block 1 is damaged or cut off"},
		{"half a key", roleKey, key[:len(key)-10], "block 1 is damaged or cut off"},
		{"half a chain", roleCertificate, crt + ca[:len(ca)/2], "block 2 is damaged or cut off"},
		{"swapped", roleCertificate, key, "is a private key, not a certificate; put the key into a file of its own; are certificate and key swapped?"},
		{"swapped, the other", roleKey, crt, "is a certificate, not a private key"},
		{"wrong order", roleCertificate, ca + crt, "this key does not belong to the certificate"},
		{"foreign chain", roleCertificate, crt + read(t, other.CertificateFile()), "certificate 2 (CN=other) did not sign certificate 1 (CN=localhost); put the broker's own first"},
		{"another key", roleKey, read(t, p.path("device.key")), "does not belong to the certificate"},
		{"two keys", roleKey, key + key, "more than one private key"},
		{"locked key", roleKey, strings.ReplaceAll(key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "passphrase"},
		{"damaged key", roleKey, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a valid private key"},
		{"damaged certificate", roleCertificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a valid certificate"},
		{"for a client", roleCertificate, string(device.CertPEM), "does not belong"},
		{"expired", roleCertificate, string(expired.CertPEM), "does not belong"},
		{"device as authority", roleClientCA, string(device.CertPEM), "not the certificate of an authority"},
		{"two authorities", roleClientCA, ca + read(t, other.CertificateFile()), ""},
		{"foreign authority", roleClientCA, read(t, other.CertificateFile()), "the list is of CN=plant, whose certificate is not in"},
		{"CRL as authority", roleClientCA, crl, "is a revocation list, not a certificate"},
		{"authority as CRL", roleCRL, ca, "is a certificate, not a revocation list"},
		{"forged CRL", roleCRL, read(t, newPKI(t, "plant").CRLFile()), "the signature of the list of CN=plant is not that of the authority"},
		{"two CRLs", roleCRL, crl + crl, ""},
		{"damaged CRL", roleCRL, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "not a valid revocation list"},
		{"a CRL and a half", roleCRL, crl + crl[:40], "cut off"},
	} {
		t.Run(tc.role+" "+tc.name, func(t *testing.T) {
			f := p.files()
			path := filepath.Join(t.TempDir(), "f")
			if tc.text != "" {
				write(t, path, tc.text, 0o600)
			}
			*map[string]*string{roleCertificate: &f.Certificate, roleKey: &f.Key, roleClientCA: &f.ClientCA, roleCRL: &f.CRL}[tc.role] = path
			err := f.Check()
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), f.CRL) {
				t.Fatalf("got  %v\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), strings.Split(key, "\n")[1]) {
				t.Error("the key is in the error")
			}
		})
	}
	t.Run("key for everybody", func(t *testing.T) {
		for mode, good := range map[fs.FileMode]bool{0o600: true, 0o640: true, 0o400: true, 0o644: false, 0o602: false} {
			f := p.files()
			f.Key = filepath.Join(t.TempDir(), "k")
			write(t, f.Key, key, mode)
			if err := f.Check(); (err == nil) != good {
				t.Errorf("%o: %v", mode, err)
			}
		}
	})
	t.Run("not a file", func(t *testing.T) {
		f := p.files()
		f.Certificate = t.TempDir()
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Error(err)
		}
	})
	t.Run("everything at once", func(t *testing.T) {
		dir := t.TempDir()
		err := Files{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d")}.Check()
		for _, f := range []string{"a", "b", "c", "d"} {
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, f)+": there is no such file") {
				t.Error(err)
			}
		}
	})
	t.Run("expired", func(t *testing.T) {
		f := p.files()
		f.Certificate, f.Key = p.path("expired.crt"), p.path("expired.key")
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Error(err)
		}
	})
	t.Run("of a device", func(t *testing.T) {
		f := p.files()
		f.Certificate, f.Key = p.path("device.crt"), p.path("device.key")
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), "not meant for a server") {
			t.Error(err)
		}
	})
}

// A device is in the groups that its certificate says, and a renewed one is in
// the same, with the same key.
func TestIssueClientGroups(t *testing.T) {
	a, err := CreateAuthority(t.TempDir(), "groups")
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.IssueClient(Request{Name: "pump-7", Groups: []string{"devices", "panels"}})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")
	if err := first.Write(cert, key, false); err != nil {
		t.Fatal(err)
	}
	signer, err := ReadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.IssueClient(Request{Name: "pump-7", Groups: read.Subject.OrganizationalUnit, Key: signer})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*x509.Certificate{read, second.Certificate} {
		got := slices.Sorted(slices.Values(c.Subject.OrganizationalUnit))
		if !slices.Equal(got, []string{"devices", "panels"}) || c.Subject.CommonName != "pump-7" {
			t.Errorf("%v", c.Subject)
		}
	}
	if !signer.Public().(*ecdsa.PublicKey).Equal(second.Certificate.PublicKey) || read.SerialNumber.Cmp(second.Certificate.SerialNumber) == 0 {
		t.Error("the renewed certificate is for another key, or has the same number")
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 65)} {
		if _, err := a.IssueClient(Request{Name: "pump-7", Groups: []string{bad}}); err == nil {
			t.Errorf("group %q was taken", bad)
		}
	}
}

// Who can write these files can let anybody in, or lock anybody out.
func TestFilesThatEverybodyMayWrite(t *testing.T) {
	p := newPKI(t, "open")
	f := p.files()
	for role, path := range map[string]string{"certificate": f.Certificate, "client_ca": f.ClientCA, "crl": f.CRL} {
		if err := os.Chmod(path, 0o646); err != nil {
			t.Fatal(err)
		}
		err := f.Check()
		if bad := (*FileError)(nil); !errors.As(err, &bad) || bad.Role != role || !strings.Contains(err.Error(), path+": every user can change it (mode 0646)") {
			t.Errorf("%s: %v", role, err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Check(); err != nil {
		t.Error(err)
	}
}
