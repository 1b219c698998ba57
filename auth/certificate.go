package auth

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"
)

// CertificateField is where in a certificate the client's name is.
type CertificateField string

// The fields that can be a name.
const (
	CommonName CertificateField = "cn" // of the subject

	// Subject alternative names.
	SANDNS   CertificateField = "dns"
	SANEmail CertificateField = "email"
	SANURI   CertificateField = "uri"
)

// CertificateSource names clients by the certificate that the TLS handshake
// has verified; user name and password do not count. It passes when there is no
// certificate. The field must occur exactly once: a certificate that has it not,
// or twice, is refused, because nobody could say who that is.
type CertificateSource struct {
	field  CertificateField
	groups bool
}

// NewCertificateSource returns a source that takes names from field and, with
// groups, groups from the subject's organizational units.
func NewCertificateSource(field CertificateField, groups bool) (*CertificateSource, error) {
	switch field {
	case CommonName, SANDNS, SANEmail, SANURI:
		return &CertificateSource{field, groups}, nil
	}
	return nil, fmt.Errorf("certificate field %q is not known; use cn, dns, email or uri", field)
}

// Authenticate implements [Source].
func (s *CertificateSource) Authenticate(_ context.Context, a *Attempt) (Identity, error) {
	const source = "certificate"
	if len(a.Certificates) == 0 {
		return Identity{}, ErrPass
	}
	leaf := a.Certificates[0]
	names := s.names(leaf)
	if len(names) != 1 {
		return Identity{}, refuse(ErrStale, source, "has %d names of kind %q, needs exactly one", len(names), s.field)
	}
	id := Identity{Name: names[0], Source: source, NotAfter: leaf.NotAfter}
	for _, c := range a.Certificates[1:] {
		if c.NotAfter.Before(id.NotAfter) {
			id.NotAfter = c.NotAfter
		}
	}
	if s.groups {
		id.Groups = unique(leaf.Subject.OrganizationalUnit)
	}
	if err := id.check(); err != nil {
		return Identity{}, refuse(ErrStale, source, "%v", err)
	}
	if time.Now().After(id.NotAfter) {
		return Identity{}, refuse(ErrStale, source, "has expired at %v", id.NotAfter.UTC().Format(time.RFC3339))
	}
	return id, nil
}

func (s *CertificateSource) names(c *x509.Certificate) (names []string) {
	switch s.field {
	case SANDNS:
		return c.DNSNames
	case SANEmail:
		return c.EmailAddresses
	case SANURI:
		for _, u := range c.URIs {
			names = append(names, u.String())
		}
	default:
		commonName := asn1.ObjectIdentifier{2, 5, 4, 3}
		for _, n := range c.Subject.Names {
			if value, ok := n.Value.(string); ok && n.Type.Equal(commonName) {
				names = append(names, value)
			}
		}
	}
	return names
}
