package appliance

import (
	"crypto/tls"

	"github.com/synthetism/edgebroker/internal/dial"
)

// clientTLS reads how a server is known over TLS, and how it knows us, from files
// that keys of the configuration name. What is empty is not needed: ca for the
// authorities of the system, the others where the server asks for no certificate.
func clientTLS(ca, certificate, key string) (*tls.Config, error) {
	files := dial.TLS{}
	for _, f := range []struct {
		path string
		to   *string
	}{{ca, &files.CAFile}, {certificate, &files.CertFile}, {key, &files.KeyFile}} {
		if f.path == "" {
			continue
		}
		path, err := ResolvePath(f.path)
		if err != nil {
			return nil, err
		}
		*f.to = path
	}
	return files.Config()
}
