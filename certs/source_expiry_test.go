package certs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSourceExpiry moves the clock.
func TestSourceExpiry(t *testing.T) {
	p := newPKI(t, "plant")
	day := 24 * time.Hour
	leaf := p.server("server", Request{Lifetime: 40 * day}, "localhost").Certificate
	device := p.client("device", Request{})
	r := new(reports)
	s := NewSource(Options{Files: p.files(), Clients: ClientsRequired, Report: r.add})
	now := time.Now()
	s.now = func() time.Time { return now }
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  []What
	}{
		{0, nil}, {9 * day, nil}, {11 * day, []What{Expiring}}, {12 * day, nil}, {39 * day, nil}, {41 * day, []What{Expired}}, {42 * day, nil},
		{0, nil},                    // a clock set back says nothing again
		{19*365*day + 300*day, nil}, // no NotAfter of ours is this near
	} {
		now = leaf.NotAfter.Add(step.after - 40*day)
		s.look()
		if got := r.take(); !slices.Equal(got, step.want) {
			t.Errorf("after %v: reported %v, want %v", step.after, got, step.want)
		}
	}
	states := s.States()
	roles := map[string]int{}
	for _, f := range states {
		roles[f.Role]++
		if f.Path == "" || f.Subject == "" || f.NotAfter.IsZero() {
			t.Errorf("%+v", f)
		}
	}
	if roles[roleCertificate] != 1 || roles[roleClientCA] != 1 || roles[roleCRL] != 1 || !states[0].NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("%+v", states)
	}

	t.Run("a list goes out of date while the broker runs", func(t *testing.T) {
		now = time.Now()
		write(t, p.CRLFile(), p.crl(func(*x509.RevocationList) {}), 0o644)
		if _, err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		r.take()
		if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig(as(device), func(c *tls.Config) { c.ServerName = "localhost" })); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Hour)
		if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig(as(device), func(c *tls.Config) { c.ServerName = "localhost" })); err == nil || !strings.Contains(err.Error(), "out of date") {
			t.Errorf("let in with a list that is out of date: %v", err)
		}
		s.look()
		if got := r.take(); !slices.Contains(got, Expired) {
			t.Errorf("reported %v", got)
		}
	})
	t.Run("starts with an expired certificate, and says so", func(t *testing.T) {
		now = leaf.NotAfter.Add(time.Hour)
		r := new(reports)
		late := NewSource(Options{Files: Files{Certificate: p.path("server.crt"), Key: p.path("server.key")}, Report: r.add})
		late.now = s.now
		if err := late.Load(); err != nil {
			t.Fatal(err)
		}
		if got := r.take(); !slices.Equal(got, []What{Expired}) {
			t.Errorf("reported %v", got)
		}
	})
}

// TestSourceIn1970 lets in a client of an authority that does not backdate.
func TestSourceIn1970(t *testing.T) {
	p := newPKI(t, "plant")
	template := *p.client("device", Request{}).Certificate
	key, err := ReadKey(p.path("device.key"))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(from, to time.Time) *Issued {
		c := template
		c.NotBefore, c.NotAfter = from, to
		der, err := x509.CreateCertificate(rand.Reader, &c, p.cert, key.Public(), p.key)
		if err != nil {
			t.Fatal(err)
		}
		keyPEM, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return &Issued{CertPEM: encodeCertificate(der), KeyPEM: keyPEM}
	}
	s := NewSource(Options{Files: p.files(), Clients: ClientsRequired})
	s.now = func() time.Time { return time.Unix(60, 0) }
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	made := s.current.Load().made // of the list, today
	for name, tc := range map[string]struct {
		i    *Issued
		good bool
	}{
		"valid when the list was made": {issue(made.Add(-time.Hour), made.Add(time.Hour)), true},
		"expired before that":          {issue(made.Add(-2*time.Hour), made.Add(-time.Hour)), false},
	} {
		if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig(as(tc.i), func(c *tls.Config) { c.Time = time.Now })); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSourceNotLoaded(t *testing.T) {
	p := newPKI(t, "plant")
	s := NewSource(Options{Files: Files{Certificate: p.path("nothing"), Key: p.path("server.key")}})
	if err := s.Load(); err == nil || len(s.States()) > 0 {
		t.Error(err)
	}
	if _, _, err, _ := shake(t, s.TLSConfig(), p.clientConfig()); !errors.Is(err, errNotLoaded) {
		t.Error(err)
	}
}
