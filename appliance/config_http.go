package appliance

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/synthetism/edgebroker/auth"
)

// HTTPConfig is the address where browsers and programs elsewhere ask the broker
// what they can ask on the control socket. See docs/API.md.
type HTTPConfig struct {
	Address string `yaml:"address"` // host:port (port 0: any free port; no host: every interface); empty: none
	// Users is the file of users who may come in: an absolute path, or
	// "credential:NAME", see [ResolvePath]. Group admin may do everything, group
	// viewer and those in no group may look.
	Users     string        `yaml:"users"`
	TLS       HTTPTLSConfig `yaml:"tls"`
	Plain     bool          `yaml:"plain"` // passwords may cross a network as they are
	Hosts     []string      `yaml:"hosts"` // names by which browsers ask, besides those that are known anyway
	Dashboard Dashboard     `yaml:"dashboard"`
}

// HTTPTLSConfig is TLS as a [ListenerConfig] has it. No Certificate: no TLS.
type HTTPTLSConfig struct {
	Certificate        string             `yaml:"certificate"`
	PrivateKey         string             `yaml:"key"`
	ClientCA           string             `yaml:"client_ca"` // besides, clients must show a certificate
	CRL                string             `yaml:"crl"`
	ClientCertificates ClientCertificates `yaml:"client_certificates"`
	MinVersion         TLSVersion         `yaml:"min_version"`
}

// Dashboard says whether there is a page for browsers at the HTTP address. Empty
// is DashboardAuto.
type Dashboard string

// The values of Dashboard.
const (
	DashboardAuto Dashboard = "auto" // if only this machine can reach the address
	DashboardOn   Dashboard = "on"
	DashboardOff  Dashboard = "off"
)

// Local tells whether only programs on this machine can reach the address.
func (c HTTPConfig) Local() bool { return ListenerConfig{Address: c.Address}.Local() }

// HasDashboard tells whether there is a page for browsers.
func (c HTTPConfig) HasDashboard() bool {
	return c.Address != "" && (c.Dashboard == DashboardOn || c.Dashboard != DashboardOff && c.Local())
}

// Listener is the address as if it were a listener for MQTT clients, with what
// the two have in common.
func (c HTTPConfig) Listener() ListenerConfig {
	l := ListenerConfig{Name: httpName, Type: ListenTCP, Address: c.Address}
	if t := c.TLS; c.Address != "" && t != (HTTPTLSConfig{}) {
		l.Type, l.Certificate, l.PrivateKey, l.ClientCA, l.CRL = ListenTLS, t.Certificate, t.PrivateKey, t.ClientCA, t.CRL
		l.ClientCertificates, l.MinVersion = t.ClientCertificates, t.MinVersion
	}
	return l
}

// httpName stands for the HTTP address where there are names of listeners.
const httpName = "http"

func httpTLSPath(key string) string { return "http.tls." + key }

// loadUsers reads the file of those who may come in; nil if there is none.
func (c HTTPConfig) loadUsers(v *auth.Verifier) (*auth.PasswordFile, error) {
	if c.Address == "" || c.Users == "" {
		return nil, nil
	}
	f, err := loadPasswords(c.Users, v)
	if err != nil {
		return nil, fmt.Errorf("%w: http.users: %w", ErrAccess, err)
	}
	return f, nil
}

func (c Config) httpFindings() []finding {
	h := c.HTTP
	var out []finding
	if h.Dashboard != "" {
		out = oneOf("http.dashboard", h.Dashboard, DashboardAuto, DashboardOn, DashboardOff)
	}
	out = append(out, credentialPathFindings("http.users", h.Users)...)
	out = append(out, h.hostFindings()...)
	if h.Address == "" {
		return out
	}
	l := h.Listener()
	out = append(out, h.addressFindings()...)
	if l.Secure() {
		out = append(out, tlsFindings(httpTLSPath, l)...)
	}
	if h.Users == "" {
		out = append(out, finding{path: "http.users", what: "nobody could log in, because there is no file of users",
			mend: "name one here, such as /etc/edgebroker/http-users, and make it with `edgebroker users add --file FILE --group admin NAME`"})
	}
	for i, other := range c.Listeners {
		if what := taken(l, other); what != "" {
			return append(out, finding{path: "http.address", what: what + " is taken by", other: listenerItem(i), mend: "pick another"})
		}
	}
	return out
}

func (c HTTPConfig) addressFindings() []finding {
	const path = "http.address"
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return []finding{{path: path, what: quoteShort(c.Address) + " is not host:port", mend: "write it like 127.0.0.1:8080 or \"[::1]:8080\""}}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return []finding{{path: path, what: fmt.Sprintf("port %s is not a number up to 65535", quoteShort(port)), mend: "use one that is free, such as 8080, or 8443 with TLS"}}
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !isHostName(host) {
		return []finding{{path: path, what: quoteShort(host) + " is neither an IP address nor a host name", mend: "write it like 127.0.0.1:8080 or \"[::1]:8080\""}}
	}
	if !c.Local() && !c.Listener().Secure() && !c.Plain {
		return []finding{{path: path, what: c.Address + " can be reached from other machines, and passwords would cross the network as they are",
			mend: "set http.tls.certificate and key, listen on 127.0.0.1, or accept that with http.plain: true"}}
	}
	return nil
}

// hostFindings checks the further names.
func (c HTTPConfig) hostFindings() []finding {
	if n := len(c.Hosts); n > maxListEntries {
		return []finding{{path: "http.hosts", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)}}
	}
	var out []finding
	for i, h := range c.Hosts {
		if !isHostName(h) {
			out = append(out, finding{path: fmt.Sprintf("http.hosts[%d]", i), what: quoteShort(h) + " is not a host name",
				mend: "write the name alone, without scheme and port, such as gateway.example; IP addresses are known anyway"})
		}
	}
	return out
}

// hosts are the names by which browsers may ask for the broker.
func (c HTTPConfig) hosts() []string {
	list := slices.Clone(c.Hosts)
	if host, _, err := net.SplitHostPort(c.Address); err == nil && host != "" {
		list = append(list, host)
	}
	return list
}
