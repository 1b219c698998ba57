package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Request is what a certificate is to say. The zero Lifetime is
// DefaultLifetime; none outlives its authority.
type Request struct {
	Name     string        // common name: the device's name, or the broker's
	Groups   []string      // organizational units: the groups that a device is in, for a broker that takes them from there
	Lifetime time.Duration // from now on
	Key      crypto.Signer // the key that it is for, when a certificate is renewed; nil: a new one
}

// Issued is a certificate with its key, not yet written anywhere.
type Issued struct {
	Certificate *x509.Certificate
	CertPEM     []byte
	KeyPEM      []byte // secret
}

// IssueServer makes a certificate for a broker that clients reach under hosts:
// names, of which the first label may be "*", and addresses. See [LocalHosts].
func (a *Authority) IssueServer(r Request, hosts ...string) (*Issued, error) {
	if len(hosts) == 0 {
		return nil, errors.New("issue server certificate: no host; name each name and address that clients use")
	}
	t := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
			t.IPAddresses = append(t.IPAddresses, net.IP(ip.Unmap().WithZone("").AsSlice()))
		} else if err := checkHost(h); err != nil {
			return nil, fmt.Errorf("issue server certificate: %w", err)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	if r.Name == "" {
		r.Name = hosts[0]
		r.Name = r.Name[:min(len(r.Name), 64)]
	}
	return a.issue(r, t)
}

// IssueClient makes a certificate with which a device shows that it is r.Name.
func (a *Authority) IssueClient(r Request) (*Issued, error) {
	return a.issue(r, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (a *Authority) issue(r Request, t *x509.Certificate) (*Issued, error) {
	if err := checkName(r.Name); err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	for _, g := range r.Groups {
		if err := checkName(g); err != nil {
			return nil, fmt.Errorf("issue certificate for %q: group: %w", r.Name, err)
		}
	}
	if r.Lifetime < 0 {
		return nil, fmt.Errorf("issue certificate for %q: a lifetime of %v is over already; give a positive one", r.Name, r.Lifetime)
	}
	if r.Lifetime == 0 {
		r.Lifetime = DefaultLifetime
	}
	key := r.Key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, fmt.Errorf("issue certificate for %q: make key: %w", r.Name, err)
		}
	}
	t.SerialNumber, t.Subject = newSerial(), pkix.Name{CommonName: r.Name, OrganizationalUnit: r.Groups}
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	t.NotBefore, t.NotAfter = always(), start(a.now()).Add(r.Lifetime)
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	i := &Issued{CertPEM: encodeCertificate(der)}
	if i.Certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	if i.KeyPEM, err = encodeKey(key); err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	return i, nil
}

// Write writes certificate and key, the key for its owner's eyes only. Unless
// overwrite is set nothing is changed if one of the two is there already; the
// error wraps fs.ErrExist. With overwrite, a power cut may leave the new key
// beside the old certificate, unless the key is the same: see WriteRenewed.
func (i *Issued) Write(certFile, keyFile string, overwrite bool) error {
	if !overwrite {
		if err := absent(certFile); err != nil {
			return err
		}
	}
	if err := writeFile(keyFile, i.KeyPEM, keyMode, overwrite); err != nil {
		return err
	}
	return writeFile(certFile, i.CertPEM, certMode, overwrite)
}

// WriteRenewed replaces a certificate by this one, which is for the same key.
func (i *Issued) WriteRenewed(certFile string) error {
	return writeFile(certFile, i.CertPEM, certMode, true)
}

// ReadKey reads the private key in a PEM file, for Request.Key.
func ReadKey(path string) (crypto.Signer, error) {
	data, err := readFile(path, roleKey, maxCertificateFile)
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

// ReadCertificate reads the first certificate in a PEM file.
func ReadCertificate(path string) (*x509.Certificate, error) {
	data, err := readFile(path, roleCertificate, maxCertificateFile)
	if err != nil {
		return nil, err
	}
	list, err := parseCertificates(path, roleCertificate, data)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// LocalHosts are the names and addresses under which this machine is likely to
// be reached: its host name, also with ".local", "localhost", and the
// addresses of its interfaces. Addresses may change: clients had better use a
// name.
func LocalHosts() ([]string, error) {
	hosts := []string{}
	if name, err := os.Hostname(); err == nil && checkHost(name) == nil && !strings.EqualFold(name, "localhost") {
		hosts = append(hosts, name)
		if !strings.Contains(name, ".") {
			hosts = append(hosts, name+".local")
		}
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("find this machine's addresses: %w", err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if ok && n.IP.IsGlobalUnicast() && !slices.Contains(hosts, n.IP.String()) {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts, nil
}

// checkHost checks a name that clients compare with the one they dial.
func checkHost(h string) error {
	bad := func() error {
		return fmt.Errorf("%q is neither a host name nor an address; write it like gateway.local or 192.168.8.1", h)
	}
	name := strings.TrimPrefix(h, "*.")
	if name == "" || len(h) > 253 {
		return bad()
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return bad()
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return bad()
			}
		}
	}
	return nil
}
