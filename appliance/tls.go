package appliance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/listen"
)

// source is where a listener's certificates come from.
type source struct {
	listener string
	*certs.Source
}

// CertificateState tells when something ends on which a listener relies.
type CertificateState struct {
	Listener string
	Role     string // certificate, client_ca or crl, as the configuration calls the file
	Path     string
	Subject  string    // whose certificate, or revocation list, it is
	NotAfter time.Time // of a revocation list: when there should be the next; zero: never
	Expiring bool      // the end is near, or past: see docs/TLS.md
}

// tlsConfig is the TLS side of a listener, nil if it has none. Its certificates
// are read by loadCertificates.
func (b *Broker) tlsConfig(l ListenerConfig) *tls.Config {
	if !l.Secure() {
		return nil
	}
	files, _ := l.CertificateFiles() // loadCertificates reports the error
	opts := certs.Options{Files: files, Clients: certs.ClientMode(l.AsksFor()), Protocols: []string{"mqtt"},
		Report: func(r certs.Report) { b.certificateReport(l.Name, r) }}
	if l.Type == listen.TypeWebSocketTLS {
		opts.Protocols = []string{"http/1.1"}
	}
	if l.MinVersion == "1.3" {
		opts.MinVersion = tls.VersionTLS13
	}
	s := source{l.Name, certs.NewSource(opts)}
	b.sources = append(b.sources, s)
	return s.TLSConfig()
}

// loadCertificates reads the certificates of all listeners.
func (b *Broker) loadCertificates() error {
	var errs []error
	for _, l := range b.cfg.Listeners {
		if _, err := l.CertificateFiles(); err != nil {
			return fmt.Errorf("listener %q: key: %w", l.Name, err)
		}
	}
	for _, s := range b.sources {
		if err := s.Load(); err != nil {
			errs = append(errs, fmt.Errorf("listener %q: %w", s.listener, err))
		}
	}
	return errors.Join(errs...)
}

// ReloadCertificates reads the files of all listeners' certificates now instead
// of when a change is noticed, which takes up to ten seconds. Connections go on;
// new ones see what has changed. Where files are not good, the error says so and
// those before stay in use. Before Start it does nothing.
func (b *Broker) ReloadCertificates() error {
	b.mu.Lock()
	running := b.state == started
	b.mu.Unlock()
	if !running {
		return nil
	}
	var errs []error
	for _, s := range b.sources {
		if _, err := s.Reload(); err != nil {
			errs = append(errs, fmt.Errorf("listener %q: %w", s.listener, err))
		}
	}
	return errors.Join(errs...)
}

// Certificates tells of every certificate and revocation list in use when it
// ends. Empty before Start.
func (b *Broker) Certificates() []CertificateState {
	if !b.assembled() {
		return nil
	}
	var list []CertificateState
	for _, s := range b.sources {
		for _, f := range s.States() {
			list = append(list, CertificateState{s.listener, f.Role, f.Path, f.Subject, f.NotAfter, f.Expiring(time.Now())})
		}
	}
	return list
}

// certificateReport logs what happened to a listener's certificates, and makes
// an event of it.
func (b *Broker) certificateReport(listener string, r certs.Report) {
	log := b.log.With("component", "certs", "listener", listener)
	detail := fmt.Sprintf("listener %s", listener)
	switch r.What {
	case certs.Reloaded:
		log.Info("certificates changed, new connections use them")
	case certs.Rejected:
		log.Error("changed certificates are not good, those before stay in use", "error", r.Err)
		detail += ": " + r.Err.Error()
	case certs.Expired:
		log.Error("certificate has expired", "error", r.Err)
		detail += ": " + r.Err.Error()
	case certs.Expiring:
		day := r.State.NotAfter.UTC().Format(time.DateOnly)
		log.Warn("certificate expires soon, renew it", "file", r.State.Path, "subject", r.State.Subject, "on", day)
		detail += fmt.Sprintf(": %s of %s in %s ends on %s", r.State.Role, r.State.Subject, r.State.Path, day)
	}
	b.system("certificate_"+string(r.What), detail)
}
