package appliance

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

// MQTTVersion is a version of MQTT: "3.1", "3.1.1" or "5".
type MQTTVersion string

// UnmarshalText takes the version as text or as a number.
func (v *MQTTVersion) UnmarshalText(text []byte) error {
	*v = MQTTVersion(text)
	return nil
}

// ProxyUnix stands in ProxyProtocol for whoever connects to a unix socket.
const ProxyUnix = "unix"

var mqttVersions = []wire.Version{wire.V31, wire.V311, wire.V5}

// allows reports whether v may be spoken where a listener names these versions.
func allows(named []MQTTVersion, v wire.Version) bool {
	return len(named) == 0 || slices.Contains(named, MQTTVersion(v.String()))
}

// policy is what l asks of its clients besides who they are. All of it can
// change while the listener is open. l must be valid.
func (l ListenerConfig) policy() listen.Policy {
	p := listen.Policy{
		Origins:        l.AllowedOrigins,
		MaxConnections: l.MaxConnections, MaxPerAddress: l.MaxPerAddress, ConnectRate: l.ConnectRate,
		ConnectTimeout: l.ConnectTimeout, MaxPacketSize: int(l.MaxPacketSize),
	}
	for _, s := range l.ProxyProtocol {
		if s == ProxyUnix {
			p.ProxyUnix = true
		} else if trusted, err := parseProxy(s); err == nil {
			p.Proxies = append(p.Proxies, trusted)
		}
	}
	for _, v := range mqttVersions {
		if slices.Contains(l.MQTTVersions, MQTTVersion(v.String())) {
			p.Versions = append(p.Versions, v)
		}
	}
	return p
}

// parseProxy reads the address of a proxy, or of a network of proxies.
func parseProxy(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		if ip.Zone() != "" {
			return netip.Prefix{}, errors.New("has a zone; write it without")
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, errors.New("is neither an IP address nor a network; write it like 192.168.8.2 or 192.168.8.0/24")
	case p.Addr().Is4In6():
		return p, errors.New("is a network of IPv4 in IPv6; write it like 192.168.8.0/24")
	case p.Bits() == 0:
		return p, errors.New("is everybody, so that any client could say that it comes from anywhere; name the proxies")
	case p != p.Masked():
		return p, fmt.Errorf("is not the beginning of a network; write %v, or the address alone", p.Masked())
	}
	return p, nil
}

// policyFindings checks what listener i asks of its clients.
func (c Config) policyFindings(i int) []finding {
	l := c.Listeners[i]
	var out []finding
	for k, s := range l.ProxyProtocol {
		item := fmt.Sprintf("%s[%d]", listenerPath(i, "proxy_protocol"), k)
		switch {
		case l.Type == ListenUnix && s != ProxyUnix:
			out = append(out, finding{path: item, what: quoteShort(s) + " cannot connect to a unix socket", mend: "write unix if the program that does is a proxy, or remove it"})
		case l.Type == ListenUnix:
		case s == ProxyUnix:
			out = append(out, finding{path: item, what: "nobody connects from a unix socket to a " + cmp.Or(l.Type, ListenTCP) + " listener", mend: "write the proxy's address, such as 127.0.0.1"})
		default:
			if _, err := parseProxy(s); err != nil {
				what, mend, _ := cutLast(err.Error(), "; ")
				out = append(out, finding{path: item, what: quoteShort(s) + " " + what, mend: mend})
			}
		}
	}
	for k, v := range l.MQTTVersions {
		if !slices.ContainsFunc(mqttVersions, func(known wire.Version) bool { return v == MQTTVersion(known.String()) }) {
			out = append(out, finding{path: fmt.Sprintf("%s[%d]", listenerPath(i, "mqtt_versions"), k),
				what: quoteShort(string(v)) + " is not a version of MQTT", mend: "use 3.1, 3.1.1 or 5"})
		}
	}
	out = append(out, c.sourceFindings(i)...)
	return append(out, c.listenerLimitFindings(i)...)
}

// sourceFindings checks who is asked about the clients of listener i.
func (c Config) sourceFindings(i int) []finding {
	l := c.Listeners[i]
	var out []finding
	for k, s := range l.Sources {
		item := fmt.Sprintf("%s[%d]", listenerPath(i, "sources"), k)
		if !slices.Contains(accessSources, s) {
			out = append(out, oneOf(item, s, accessSources...)...)
			continue
		}
		if !c.Access.has(s) {
			out = append(out, finding{path: item, what: quoteShort(string(s)) + " is not set in the access section", mend: fmt.Sprintf("set %s, or remove it here", accessKeys[s])})
			continue
		}
		if s == AccessCertificates && (!l.Secure() || l.AsksFor() == ClientCertificatesNone) {
			out = append(out, finding{path: item, what: "the listener asks nobody for a certificate", mend: "set client_ca on a listener of type tls or wss, or remove it here"})
		}
	}
	return out
}

// listenerLimitFindings checks the limits of listener i, where it has its own.
func (c Config) listenerLimitFindings(i int) []finding {
	l := c.Listeners[i]
	var out []finding
	for _, n := range []struct {
		key      string
		own, all int
	}{
		{"max_connections", l.MaxConnections, c.Limits.MaxConnections},
		{"max_connections_per_address", l.MaxPerAddress, c.Limits.MaxPerAddress},
		{"connect_rate", l.ConnectRate, c.Limits.ConnectRate},
	} {
		path := listenerPath(i, n.key)
		switch {
		case n.own == 0:
		case n.own < 0:
			out = append(out, within[int]{path, n.own, 1, math.MaxInt32, false}.findings()...)
		case n.all > 0 && n.own > n.all:
			out = append(out, finding{path: path, what: fmt.Sprintf("%d can never be reached, all listeners together have the %d of", n.own, n.all),
				other: "limits." + n.key, mend: "lower this or raise that"})
		}
	}
	if l.ConnectTimeout != 0 {
		out = append(out, within[time.Duration]{listenerPath(i, "connect_timeout"), l.ConnectTimeout, minConnectTimeout, maxConnectTimeout, false}.findings()...)
	}
	if l.MaxPacketSize != 0 {
		path := listenerPath(i, "max_packet_size")
		outside := within[ByteSize]{path, l.MaxPacketSize, minPacketSize, maxFrame, false}.findings()
		if out = append(out, outside...); len(outside) == 0 {
			out = append(out, c.packetFindings(path, l.MaxPacketSize)...)
		}
	}
	return out
}

// packetFindings reports the first queue that could never hold a message as
// large as path, of a listener, allows.
func (c Config) packetFindings(path string, size ByteSize) []finding {
	queue, other := c.Sessions.MaxQueuedBytes, "sessions.max_queued_bytes"
	for i, k := range c.Sessions.Classes {
		if k.MaxQueuedBytes > 0 && k.MaxQueuedBytes < queue {
			queue, other = k.MaxQueuedBytes, classItem(i)+".max_queued_bytes"
		}
	}
	if size <= queue {
		return nil
	}
	return []finding{{path: path, what: fmt.Sprintf("a message of %v could never wait in a session, which holds the %v of", size, queue),
		other: other, mend: "lower this or raise that"}}
}
