package appliance

import (
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/listen"
)

// Network is what package net calls that on which the listener listens: "tcp"
// or "unix".
func (l ListenerConfig) Network() string {
	switch l.Type {
	case "", ListenWebSocket, ListenTLS, ListenWebSocketTLS:
		return "tcp"
	}
	return l.Type
}

// ForClients makes of the address that the listener has bound the one that
// clients are given: a URL for ws, wss and tls, else bound itself. With TLS, a
// host in it stands for one that the certificate names.
func (l ListenerConfig) ForClients(bound string) string {
	switch l.Type {
	case ListenWebSocket, ListenWebSocketTLS:
		return l.Type + "://" + bound + listen.WebSocketPath
	case ListenTLS:
		return "mqtts://" + bound
	}
	return bound
}

// SocketMode is the mode that a unix socket gets.
func (l ListenerConfig) SocketMode() fs.FileMode {
	if l.Mode == 0 {
		return DefaultSocketMode
	}
	return l.Mode
}

// Anonymous tells whether clients come in at l that do not say who they are: as
// AllowAnonymous says or, when that is nil, if there is no way to sign in and l
// is Local, or each client has shown a certificate.
func (c Config) Anonymous(l ListenerConfig) bool { return c.anonymous(l, false) }

// anonymous is Anonymous of a broker to which its program may have given a way
// to sign in.
func (c Config) anonymous(l ListenerConfig, sources bool) bool {
	if l.AllowAnonymous == nil {
		return !sources && !c.Access.authenticates() && (l.Local() || l.certified())
	}
	return *l.AllowAnonymous
}

// certified tells whether nobody comes in without a certificate.
func (l ListenerConfig) certified() bool {
	return l.Secure() && l.AsksFor() == ClientCertificatesRequired
}

// Local tells whether only programs on this machine can reach the listener.
// A host name other than localhost counts as reachable from elsewhere, since
// what it stands for may change; so does what a proxy passes on.
func (l ListenerConfig) Local() bool {
	if len(l.ProxyProtocol) > 0 {
		return false
	}
	if l.Network() == ListenUnix {
		return true
	}
	host, _, err := net.SplitHostPort(l.Address)
	return err == nil && isLoopback(host)
}

// isLoopback reports whether host is this machine, whatever its network is.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// maxListEntries bounds every list of the configuration. It is more than a
// gateway has addresses.
const maxListEntries = 256

func listenerItem(i int) string { return fmt.Sprintf("listeners[%d]", i) }

func listenerPath(i int, key string) string { return listenerItem(i) + "." + key }

func (c Config) listenerFindings() []finding {
	listeners := c.Listeners
	if len(listeners) == 0 {
		return []finding{{path: "listeners", what: "the list is empty, so no client could connect", mend: "add a listener, or remove the key for the default one"}}
	}
	if n := len(listeners); n > maxListEntries {
		return []finding{{path: "listeners", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)}}
	}
	var out []finding
	for i, l := range listeners {
		out = append(out, nameFindings(i, listeners)...)
		switch l.Type {
		case ListenTCP, ListenWebSocket, ListenTLS, ListenWebSocketTLS, "":
			out = append(out, tcpFindings(i, l)...)
			out = append(out, c.openFindings(i)...)
		case ListenUnix:
			out = append(out, unixFindings(i, l)...)
			out = append(out, c.openFindings(i)...)
		default:
			out = append(out, oneOf(listenerPath(i, "type"), l.Type, ListenTCP, ListenWebSocket, ListenTLS, ListenWebSocketTLS, ListenUnix)...)
			continue
		}
		out = append(out, originFindings(i, l)...)
		out = append(out, c.policyFindings(i)...)
		out = append(out, tlsFindings(func(key string) string { return listenerPath(i, key) }, l)...)
		if l.AllowAnonymous != nil && !*l.AllowAnonymous && !c.Access.authenticates() {
			out = append(out, finding{
				path: listenerPath(i, "allow_anonymous"),
				what: "false would refuse every client, because there is no way to sign in",
				mend: "name a file of users in access.passwords, set this to true, or remove the listener",

				noMethods: true,
			})
		}
		out = append(out, takenFindings(i, listeners)...)
	}
	return out
}

func nameFindings(i int, listeners []ListenerConfig) []finding {
	name, path := listeners[i].Name, listenerPath(i, "name")
	if name == "" {
		return []finding{{path: path, what: "no name", mend: "set one that logs and statistics shall show, such as lan"}}
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`).MatchString(name) {
		return []finding{{path: path, what: quoteShort(name) + " is not a name", mend: "use up to 63 letters, digits, dots, dashes and underscores, a letter or digit first"}}
	}
	for j := range i {
		if listeners[j].Name == name {
			return []finding{{path: path, what: fmt.Sprintf("name %q is taken by", name), other: listenerItem(j), mend: "pick another"}}
		}
	}
	return nil
}

// passed is the name of the socket that the service manager is to have bound
// for l; ok is false if l is to bind its own.
func (l ListenerConfig) passed() (name string, ok bool) {
	return strings.CutPrefix(l.Address, "systemd:")
}

// passedFindings checks an address that names a socket of the service manager.
func passedFindings(i int, name string, mode bool) []finding {
	if name == "" {
		return []finding{{path: listenerPath(i, "address"), what: "no name after systemd:", mend: "write the FileDescriptorName of the socket unit, such as systemd:lan"}}
	}
	if mode {
		return []finding{{path: listenerPath(i, "mode"), what: "systemd makes the socket, not the broker", mend: "remove it, and set SocketMode in the socket unit"}}
	}
	return nil
}

func tcpFindings(i int, l ListenerConfig) []finding {
	path := listenerPath(i, "address")
	if name, ok := l.passed(); ok {
		return passedFindings(i, name, l.Mode != 0)
	}
	if l.Address == "" {
		return []finding{{path: path, what: "no address", mend: "set one, such as 127.0.0.1:1883"}}
	}
	if strings.HasPrefix(l.Address, "/") {
		return []finding{{path: path, what: quoteShort(l.Address) + " is a path, the listener is of type " + cmp.Or(l.Type, ListenTCP), mend: "add type: unix, or set host:port"}}
	}
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return []finding{{path: path, what: quoteShort(l.Address) + " is not host:port", mend: "write it like 127.0.0.1:1883 or \"[::1]:1883\""}}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return []finding{{path: path, what: fmt.Sprintf("port %s is not a number up to 65535", quoteShort(port)), mend: "MQTT's is 1883"}}
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !isHostName(host) {
		return []finding{{path: path, what: quoteShort(host) + " is neither an IP address nor a host name", mend: "write it like 127.0.0.1:1883 or \"[::1]:1883\""}}
	}
	if l.Mode != 0 {
		return []finding{{path: listenerPath(i, "mode"), what: "a " + cmp.Or(l.Type, ListenTCP) + " listener has no file mode", mend: "remove it"}}
	}
	return nil
}

// openFindings checks that nobody lets the network in by accident.
func (c Config) openFindings(i int) []finding {
	l := c.Listeners[i]
	if l.AllowAnonymous != nil || c.Anonymous(l) || c.Access.authenticates() {
		return nil
	}
	if _, _, err := net.SplitHostPort(l.Address); err != nil && l.Type != ListenUnix {
		return nil
	}
	if len(l.ProxyProtocol) > 0 {
		return []finding{{
			path: listenerPath(i, "proxy_protocol"),
			what: "other machines can reach the listener through a proxy, and there is no way to sign in",
			mend: "name a file of users in access.passwords, or let everybody in with allow_anonymous: true",

			noMethods: true,
		}}
	}
	return []finding{{
		path: listenerPath(i, "address"),
		what: l.Address + " can be reached from other machines, and there is no way to sign in",
		mend: "name a file of users in access.passwords, listen on 127.0.0.1, or let everybody in with allow_anonymous: true",

		noMethods: true,
	}}
}

// originFindings checks that every origin is one as browsers write it, so that
// it can match.
func originFindings(i int, l ListenerConfig) []finding {
	key := listenerPath(i, "allowed_origins")
	if len(l.AllowedOrigins) > 0 && l.Type != ListenWebSocket && l.Type != ListenWebSocketTLS {
		return []finding{{path: key, what: "only browsers have an origin, and they speak ws or wss", mend: "remove it, or set type: ws"}}
	}
	var out []finding
	for k, o := range l.AllowedOrigins {
		if o == "*" || o == "null" || isOrigin(o) {
			continue
		}
		out = append(out, finding{
			path: fmt.Sprintf("%s[%d]", key, k),
			what: quoteShort(o) + " is not an origin",
			mend: "write scheme, host and, unless it is the usual one, port of the page, such as https://example.org:8443; or \"*\" for any page",
		})
	}
	return out
}

func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || s != u.Scheme+"://"+u.Host || strings.ContainsAny(s, "*, ") {
		return false
	}
	usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	return u.Port() == "" && !strings.HasSuffix(s, ":") || u.Port() != "" && u.Port() != usual
}

func isHostName(s string) bool {
	return len(s) <= 253 && regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`).MatchString(s) &&
		regexp.MustCompile(`[A-Za-z]`).MatchString(s)
}

func unixFindings(i int, l ListenerConfig) []finding {
	path := listenerPath(i, "address")
	if name, ok := l.passed(); ok {
		return passedFindings(i, name, l.Mode != 0)
	}
	if l.Address == "" {
		return []finding{{path: path, what: "no address", mend: "set the path of the socket, such as /run/edgebroker/mqtt.sock"}}
	}
	return append(socketFindings(path, l.Address), modeFindings(listenerPath(i, "mode"), l.Mode)...)
}

// takenFindings reports the first earlier listener that leaves no room for
// listener i.
func takenFindings(i int, listeners []ListenerConfig) []finding {
	for j := range i {
		if what := taken(listeners[i], listeners[j]); what != "" {
			return []finding{{path: listenerPath(i, "address"), what: what + " is taken by", other: listenerItem(j), mend: "pick another"}}
		}
	}
	return nil
}

// taken names what b holds already of the address of a, or is empty.
func taken(a, b ListenerConfig) string {
	if name, ok := a.passed(); ok && name != "" && a.Address == b.Address {
		return "socket " + quoteShort(a.Address)
	}
	if a.Network() != b.Network() || a.Address == "" || b.Address == "" {
		return ""
	}
	if a.Network() == ListenUnix {
		if filepath.Clean(a.Address) == filepath.Clean(b.Address) {
			return "socket " + quoteShort(a.Address)
		}
		return ""
	}
	hostA, portA, errA := splitTCP(a.Address)
	hostB, portB, errB := splitTCP(b.Address)
	if errA != nil || errB != nil || portA != portB || portA == 0 || !overlap(hostA, hostB) {
		return ""
	}
	return fmt.Sprintf("port %d", portA)
}

// splitTCP splits host:port and brings hosts that mean the same to one form.
func splitTCP(address string) (host string, port uint64, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.ParseUint(p, 10, 16)
	host = strings.ToLower(host)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if host == "::" { // the kernel takes IPv4 too
		host = ""
	}
	return host, port, err
}

// overlap tells whether a port cannot be bound on both hosts.
func overlap(a, b string) bool {
	const any4 = "0.0.0.0"
	is6 := func(host string) bool { return strings.Contains(host, ":") }
	return a == b || a == "" || b == "" || a == any4 && !is6(b) || b == any4 && !is6(a)
}
