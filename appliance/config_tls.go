package appliance

import (
	"cmp"
	"errors"
	"strings"

	"github.com/synthetism/edgebroker/certs"
)

// ClientCertificates says whether clients must show a certificate.
type ClientCertificates string

// The ways to ask for client certificates.
const (
	ClientCertificatesNone     ClientCertificates = "none"
	ClientCertificatesOptional ClientCertificates = "optional" // those who have one; it must be good
	ClientCertificatesRequired ClientCertificates = "required"
)

// TLSVersion is a version of TLS, "1.2" or "1.3". Empty is 1.2.
type TLSVersion string

// UnmarshalText takes the version as text or as a number.
func (v *TLSVersion) UnmarshalText(text []byte) error {
	*v = TLSVersion(text)
	return nil
}

// Secure tells whether the listener speaks TLS.
func (l ListenerConfig) Secure() bool { return l.Type == ListenTLS || l.Type == ListenWebSocketTLS }

// AsksFor is what clients of a Secure listener are asked for:
// ClientCertificates or, when that is empty, a certificate if there is a
// ClientCA to compare it with.
func (l ListenerConfig) AsksFor() ClientCertificates {
	switch {
	case l.ClientCertificates != "":
		return l.ClientCertificates
	case l.ClientCA != "":
		return ClientCertificatesRequired
	}
	return ClientCertificatesNone
}

// CertificateFiles are the files that a Secure listener works with. Where the
// credential that is to be its key is not here, the error says so and wraps
// ErrNoCredentials, and the path of the key is as in the configuration.
func (l ListenerConfig) CertificateFiles() (certs.Files, error) {
	f := certs.Files{Certificate: l.Certificate, Key: l.PrivateKey, ClientCA: l.ClientCA, CRL: l.CRL}
	key, err := ResolvePath(l.PrivateKey)
	if err == nil {
		f.Key = key
	}
	return f, err
}

// tlsFindings checks what a listener says about TLS, without looking at files.
// path is that of one of its keys.
func tlsFindings(path func(key string) string, l ListenerConfig) []finding {
	var out []finding
	for _, f := range []struct{ key, path string }{
		{"certificate", l.Certificate}, {"key", l.PrivateKey}, {"client_ca", l.ClientCA}, {"crl", l.CRL},
		{"client_certificates", string(l.ClientCertificates)}, {"min_version", string(l.MinVersion)},
	} {
		isFile := f.key != "client_certificates" && f.key != "min_version"
		at := path(f.key)
		switch {
		case !l.Secure() && f.path != "":
			out = append(out, finding{path: at, what: "a " + cmp.Or(l.Type, ListenTCP) + " listener does not speak TLS", mend: "set type: tls (or wss for browsers), or remove it"})
		case !l.Secure():
		case f.path == "" && (f.key == "certificate" || f.key == "key"):
			out = append(out, finding{path: at, what: "a " + l.Type + " listener needs one", mend: "set the path of a PEM file"})
		case f.key == "key":
			out = append(out, credentialPathFindings(at, f.path)...)
		case isFile:
			out = append(out, fileFindings(at, f.path)...)
		}
	}
	if !l.Secure() {
		return out
	}
	if l.ClientCertificates != "" {
		out = append(out, oneOf(path("client_certificates"), l.ClientCertificates, ClientCertificatesNone, ClientCertificatesOptional, ClientCertificatesRequired)...)
	}
	if l.MinVersion != "" {
		out = append(out, oneOf(path("min_version"), l.MinVersion, "1.2", "1.3")...)
	}
	switch asks := l.AsksFor(); {
	case (asks == ClientCertificatesOptional || asks == ClientCertificatesRequired) && l.ClientCA == "":
		out = append(out, finding{path: path("client_certificates"), what: "there is no client_ca to compare certificates with", mend: "set it to the certificate of the authority that issues those of the clients"})
	case asks == ClientCertificatesNone && l.ClientCA != "":
		out = append(out, finding{path: path("client_ca"), what: "clients are not asked for certificates", mend: "remove it, or set client_certificates: required"})
	}
	if l.CRL != "" && l.ClientCA == "" {
		out = append(out, finding{path: path("crl"), what: "there is no client_ca whose certificates could be revoked", mend: "remove it, or set client_ca"})
	}
	return out
}

// certificateFindings checks the files of certificates that listeners name.
func (c Config) certificateFindings() []finding {
	var out []finding
	for i, l := range c.Listeners {
		files, err := l.CertificateFiles()
		if !l.Secure() || err != nil { // CheckFiles warns of that
			continue
		}
		out = append(out, fileContentFindings(func(key string) string { return listenerPath(i, key) }, files)...)
	}
	if l := c.HTTP.Listener(); l.Secure() {
		if files, err := l.CertificateFiles(); err == nil {
			out = append(out, fileContentFindings(httpTLSPath, files)...)
		}
	}
	return out
}

// fileContentFindings checks the files of certificates of one listener.
func fileContentFindings(path func(key string) string, files certs.Files) []finding {
	var out []finding
	for _, err := range unjoin(files.Check()) {
		role, text := "certificate", err.Error()
		if f := (*certs.FileError)(nil); errors.As(err, &f) {
			role = f.Role
		}
		what, mend, found := cutLast(text, "; ")
		if !found {
			mend = "correct the file or the path"
		}
		out = append(out, finding{path: path(role), what: what, mend: mend})
	}
	return out
}

// unjoin is the list of which errors.Join has made err.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, unjoin(e)...)
	}
	return list
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// CheckConfig is [LoadConfig] that says all that is wrong with the files of
// certificates, too, that the config file names.
func CheckConfig(path string) (Config, error) {
	src, err := readConfig(path)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(path, src, Config.certificateFindings)
}
