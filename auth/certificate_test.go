package auth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/internal/certtest"
)

// certificate is what a handshake gives for a template.
func certificate(t testing.TB, template x509.Certificate) *x509.Certificate {
	t.Helper()
	return certtest.Make(t, template).Leaf
}

func TestCertificate(t *testing.T) {
	spiffe, err := url.Parse("spiffe://plant/line1/plc?x=1")
	if err != nil {
		t.Fatal(err)
	}
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	full := x509.Certificate{
		Subject:        pkix.Name{CommonName: "plc-1", OrganizationalUnit: []string{"ops", "line1", "ops"}},
		DNSNames:       []string{"plc-1.plant"},
		EmailAddresses: []string{"plc-1@plant"},
		URIs:           []*url.URL{spiffe},
	}
	for name, c := range map[string]struct {
		field    auth.CertificateField
		template x509.Certificate
		want     string
		name     string
	}{
		"cn":            {auth.CommonName, full, "in", "plc-1"},
		"dns":           {auth.SANDNS, full, "in", "plc-1.plant"},
		"email":         {auth.SANEmail, full, "in", "plc-1@plant"},
		"uri":           {auth.SANURI, full, "in", spiffe.String()},
		"no cn":         {auth.CommonName, x509.Certificate{DNSNames: []string{"a"}}, "stale", ""},
		"no dns":        {auth.SANDNS, x509.Certificate{Subject: pkix.Name{CommonName: "a"}}, "stale", ""},
		"no uri":        {auth.SANURI, x509.Certificate{DNSNames: []string{"a"}}, "stale", ""},
		"two dns":       {auth.SANDNS, x509.Certificate{DNSNames: []string{"a", "b"}}, "stale", ""},
		"two cn":        {auth.CommonName, x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: "a"}, {Type: cn, Value: "b"}}}}, "stale", ""},
		"empty cn":      {auth.CommonName, x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: ""}}}}, "stale", ""},
		"cn with break": {auth.CommonName, x509.Certificate{Subject: pkix.Name{CommonName: "a\nb"}}, "stale", ""},
		"expired":       {auth.CommonName, x509.Certificate{Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now().Add(-time.Minute)}, "stale", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := auth.NewCertificateSource(c.field, true)
			if err != nil {
				t.Fatal(err)
			}
			leaf := certificate(t, c.template)
			a := login("somebody else", "x")
			a.Certificates = []*x509.Certificate{leaf}
			id, err := s.Authenticate(t.Context(), a)
			want(t, "outcome", outcome(err), c.want)
			want(t, "name", id.Name, c.name)
			if err == nil && (!id.NotAfter.Equal(leaf.NotAfter) || id.Source != "certificate" || !slices.Equal(id.Groups, []string{"ops", "line1"})) {
				t.Errorf("identity is %+v", id)
			}
		})
	}
	s, err := auth.NewCertificateSource(auth.CommonName, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Authenticate(t.Context(), login("ann", "x"))
	want(t, "without a certificate", outcome(err), "pass")

	// The end is that of the first in the chain to end.
	issuer := certificate(t, x509.Certificate{NotAfter: time.Now().Add(time.Minute)})
	a := &auth.Attempt{Certificates: []*x509.Certificate{certificate(t, full), issuer}}
	id, err := s.Authenticate(t.Context(), a)
	if err != nil || !id.NotAfter.Equal(issuer.NotAfter) || id.Groups != nil {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := auth.NewCertificateSource("serial", false); err == nil {
		t.Error("accepts an unknown field")
	}
}
