package appliance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/rest"
)

// CertificateState tells when something ends on which a listener relies.
type CertificateState struct {
	Listener string // its name; "http" for the HTTP address
	Role     string // certificate, client_ca or crl, as the configuration calls the file
	Path     string
	Subject  string    // whose certificate, or revocation list, it is
	NotAfter time.Time // of a revocation list: when there should be the next; zero: never
	Expiring bool      // the end is near, or past: see docs/TLS.md
}

// newCertificates are the certificates of a listener, nil if it does not speak
// TLS. They are not read yet. What happens to them is told to report.
func newCertificates(l ListenerConfig, r *rest.Rest, hints rest.Hinter, report func(certs.Report)) *certs.Source {
	if l.Type == listen.TypeWebSocketTLS {
		return certificatesFor(l, "http/1.1", r, hints, report)
	}
	return certificatesFor(l, "mqtt", r, hints, report)
}

// certificatesFor is newCertificates for a protocol that is spoken over TLS.
func certificatesFor(l ListenerConfig, protocol string, r *rest.Rest, hints rest.Hinter, report func(certs.Report)) *certs.Source {
	if !l.Secure() {
		return nil
	}
	files, _ := l.CertificateFiles() // loadCertificates reports the error
	opts := certs.Options{Files: files, Clients: certs.ClientMode(l.AsksFor()), Protocols: []string{protocol}, Rest: r, Hints: hints, Report: report}
	if l.MinVersion == "1.3" {
		opts.MinVersion = tls.VersionTLS13
	}
	return certs.NewSource(opts)
}

// ReloadCertificates reads the files of all listeners' certificates now instead
// of when a change is noticed, which takes up to ten seconds. Connections go on;
// new ones see what has changed. Where files are not good, the error says so and
// those before stay in use. Before Start it does nothing.
func (b *Broker) ReloadCertificates() error {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if !b.runs() {
		return nil
	}
	var errs []error
	for _, e := range b.places() {
		errs = append(errs, loadCertificates(e.cfg, e.certs))
	}
	if d := b.httpDoor(); d != nil {
		errs = append(errs, loadCertificates(d.cfg.Listener(), d.certs))
	}
	return errors.Join(errs...)
}

// loadCertificates reads the files of a listener's certificates, of which s may
// be nil: there are none.
func loadCertificates(l ListenerConfig, s *certs.Source) error {
	if s == nil {
		return nil
	}
	if _, err := l.CertificateFiles(); err != nil {
		return fmt.Errorf("listener %q: key: %w", l.Name, err)
	}
	if err := s.Load(); err != nil {
		return fmt.Errorf("listener %q: %w", l.Name, err)
	}
	return nil
}

// Certificates tells of every certificate and revocation list in use when it
// ends. Empty before Start.
func (b *Broker) Certificates() []CertificateState {
	if !b.assembled() {
		return nil
	}
	var list []CertificateState
	add := func(listener string, s *certs.Source) {
		if s == nil {
			return
		}
		for _, f := range s.States() {
			list = append(list, CertificateState{listener, f.Role, f.Path, f.Subject, f.NotAfter, f.Expiring(time.Now())})
		}
	}
	for _, e := range b.places() {
		add(e.cfg.Name, e.certs)
	}
	if d := b.httpDoor(); d != nil {
		add(httpName, d.certs)
	}
	return list
}

// disown ends the connections at a listener of clients whose certificates are
// not good any more.
func (b *Broker) disown(listener string) {
	b.reloading.Lock() // a reload that this comes of judges first, and says so
	defer b.reloading.Unlock()
	list := b.places()
	i := slices.IndexFunc(list, func(e *endpoint) bool { return e.cfg.Name == listener && e.certs != nil })
	if i < 0 {
		return
	}
	for _, m := range b.sessions.Members() {
		if m.Subject.Listener != listener {
			continue
		}
		if err := list[i].certs.Disowned(m.Certificates); err != nil {
			b.log.Warn("client disconnected, its certificate is not good any more", "client", m.ID, "listener", listener, "error", err)
			m.Expel()
		}
	}
}

// certificateReport logs what happened to a listener's certificates, and makes
// an event of it.
func (b *Broker) certificateReport(listener string, r certs.Report) {
	if r.What == certs.Reloaded {
		b.running.Go(func() { b.disown(listener) }) // not here: see certs.Options
	}
	b.certificateNews(listener, "listener "+listener, r)
}

// certificateNews tells of the certificates of a listener, which is called where
// in events.
func (b *Broker) certificateNews(listener, where string, r certs.Report) {
	log := b.log.With("component", "certs", "listener", listener)
	what, detail := events.SystemCertReloaded, where
	switch r.What {
	case certs.Reloaded:
		log.Info("certificates changed, new connections use them")
	case certs.Rejected:
		what = events.SystemCertRejected
		log.Error("changed certificates are not good, those before stay in use", "error", r.Err)
		detail += ": " + r.Err.Error()
	case certs.Expired:
		what = events.SystemCertExpired
		log.Error("certificate has expired", "error", r.Err)
		detail += ": " + r.Err.Error()
	case certs.Expiring:
		what = events.SystemCertExpiring
		day := r.State.NotAfter.UTC().Format(time.DateOnly)
		log.Warn("certificate expires soon, renew it", "file", r.State.Path, "subject", r.State.Subject, "on", day)
		detail += fmt.Sprintf(": %s of %s in %s ends on %s", r.State.Role, r.State.Subject, r.State.Path, day)
	}
	b.system(what, detail)
}
