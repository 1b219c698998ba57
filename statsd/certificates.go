package statsd

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The words of Certificate.State.
const (
	CertificateOK       = "ok"
	CertificateExpiring = "expiring" // within 30 days, or in the last third of a shorter life
	CertificateExpired  = "expired"
)

// Certificate is something that a listener relies on and that ends some day: a
// certificate, or a list of revoked ones.
type Certificate struct {
	Listener string    `json:"listener"`
	Role     string    `json:"role"` // "certificate", "client_ca" or "crl", as the configuration calls the file
	Subject  string    `json:"subject"`
	Path     string    `json:"path"`
	NotAfter time.Time `json:"notAfter,omitzero"` // of a list: when there should be the next; absent: never
	State    string    `json:"state"`             // CertificateOK or another of the words above
}

// expiryMetric tells when certificates end. One that never does is left out;
// of several with the same labels, such as an authority's old and new one, the
// first that ends is shown.
func expiryMetric() metric {
	return metric{describe("certificate_expiry_timestamp_seconds", "When a certificate or revocation list in use ends, as Unix time.", "listener", "role", "subject"), prometheus.GaugeValue,
		func(s *Snapshot, emit func(float64, ...string)) {
			first := make(map[[3]string]time.Time)
			for _, c := range s.Certificates {
				labels := [3]string{SafeText(c.Listener, maxText), SafeText(c.Role, maxText), SafeText(c.Subject, 0)}
				if at, known := first[labels]; !c.NotAfter.IsZero() && (!known || c.NotAfter.Before(at)) {
					first[labels] = c.NotAfter
				}
			}
			for labels, at := range first {
				emit(float64(at.Unix()), labels[:]...)
			}
		}}
}

// certificateGroup lists what ends soon or is over, the first to end first. It
// has no rows where nothing does.
func (s Snapshot) certificateGroup() group {
	g := group{title: "certificates"}
	list := slices.DeleteFunc(slices.Clone(s.Certificates), func(c Certificate) bool {
		return c.State != CertificateExpiring && c.State != CertificateExpired
	})
	slices.SortStableFunc(list, func(a, b Certificate) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Path, b.Path))
	})
	now := s.StartedAt.Add(seconds(s.Uptime))
	for _, c := range list {
		when := "expires in " + span(c.NotAfter.Sub(now))
		if c.State == CertificateExpired {
			when = "expired " + span(now.Sub(c.NotAfter)) + " ago"
		}
		g.rows = append(g.rows, [2]string{SafeText(c.Listener, labelWidth),
			fmt.Sprintf("%s %s: %s in %s", SafeText(c.Role, maxText), when, SafeText(c.Subject, 0), SafeText(c.Path, 0))})
	}
	return g
}
