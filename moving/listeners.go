package moving

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/appliance"
)

// listener is one of mosquitto's, as its lines have it.
type listener struct {
	fallback bool // what settings before any listener are for
	line     *setting
	settings []*setting
	security security
	name     string

	port       int64
	host, path string
	bound      bool // port or bind_address were given, or this is no fallback

	websockets                 bool
	cert, key, ca, capath, crl *setting
	require, identity, subject *setting
	nameAsID                   bool
	anonymous                  *setting // listener_allow_anonymous
	minVersion                 string
	versions                   []string
	origins                    []string
	connections                int64
	family                     string
	why                        string // why it is left out; empty if it is not
	nobody                     bool   // with why: nobody misses it
}

func listenerOptions() map[string]option {
	return map[string]option{
		"port":                            {listener: (*conversion).port},
		"bind_address":                    {listener: (*conversion).bindAddress},
		"bind_interface":                  {listener: leavesOut("listeners are bound to addresses, not to interfaces; write the interface's address into listener")},
		"socket_domain":                   {listener: (*conversion).socketDomain},
		"protocol":                        {listener: (*conversion).protocol},
		"mount_point":                     {listener: leavesOut("topics are the same on all listeners; put the prefix into the topics of these clients, and into rules with listener=")},
		"max_connections":                 {listener: (*conversion).listenerConnections},
		"max_qos":                         {listener: (*conversion).maxQoS},
		"maximum_qos":                     {listener: (*conversion).maxQoS},
		"max_topic_alias":                 {listener: (*conversion).topicAliases},
		"http_dir":                        impossible("edgebroker serves no files; use a web server"),
		"accept_protocol_versions":        {listener: (*conversion).protocolVersions},
		"websockets_origin":               {listener: (*conversion).origin},
		"use_username_as_clientid":        {listener: (*conversion).usernameAsClientID},
		"enable_proxy_protocol":           {listener: leavesOut("the proxies have to be named, else everybody could say where they come from; add the listener with proxy_protocol")},
		"proxy_protocol_v2_require_tls":   {listener: leavesOut("what a proxy says of a client's TLS is not trusted here, see docs/SECURITY.md")},
		"cafile":                          {listener: keep(func(l *listener) **setting { return &l.ca })},
		"capath":                          {listener: keep(func(l *listener) **setting { return &l.capath })},
		"certfile":                        {listener: keep(func(l *listener) **setting { return &l.cert })},
		"keyfile":                         {listener: keep(func(l *listener) **setting { return &l.key })},
		"crlfile":                         {listener: keep(func(l *listener) **setting { return &l.crl })},
		"require_certificate":             {listener: keepTruth(func(l *listener) **setting { return &l.require })},
		"use_identity_as_username":        {listener: keepTruth(func(l *listener) **setting { return &l.identity })},
		"use_subject_as_username":         {listener: keepTruth(func(l *listener) **setting { return &l.subject })},
		"tls_version":                     {listener: (*conversion).tlsVersion},
		"ciphers":                         {verdict: Changed, note: "the ciphers are fixed: in TLS 1.2 those with ECDHE and AES-GCM or ChaCha20-Poly1305"},
		"ciphers_tls1.3":                  {verdict: Changed, note: "those of TLS 1.3 are fixed"},
		"dhparamfile":                     needless("keys are exchanged on elliptic curves"),
		"tls_engine":                      {listener: leavesOut("keys are in files, there are no engines; use a key in a PEM file")},
		"tls_engine_kpass_sha1":           {listener: leavesOut("keys are in files without passphrase, there are no engines")},
		"tls_keyform":                     {listener: (*conversion).keyForm},
		"psk_hint":                        {listener: leavesOut("there are no pre-shared keys; give the devices certificates (edgebroker device add --cert), or passwords over TLS")},
		"disable_client_cert_date_checks": {listener: (*conversion).dateChecks},
	}
}

func keep(field func(*listener) **setting) func(*conversion, *listener, *setting) {
	return func(_ *conversion, l *listener, s *setting) {
		if f := field(l); *f != nil {
			l.leave(s, "is there twice; mosquitto does not start with it")
		} else {
			*f = s
		}
	}
}

// keepTruth keeps the line if it says true.
func keepTruth(field func(*listener) **setting) func(*conversion, *listener, *setting) {
	return func(_ *conversion, l *listener, s *setting) {
		v, ok := truth(s)
		if !ok {
			l.why = cmp.Or(l.why, s.entry.Note)
			return
		}
		*field(l) = nil
		s.says(NotNeeded, "", "it is not so without it either")
		if v {
			*field(l) = s
		}
	}
}

// leave has the listener left out because of what a line says.
func (l *listener) leave(s *setting, why string) {
	s.lost(why)
	l.why = cmp.Or(l.why, fmt.Sprintf("line %d: %s", s.Number, why))
}

// leavesOut is for settings without which a listener would be more open.
func leavesOut(why string) func(*conversion, *listener, *setting) {
	return func(_ *conversion, l *listener, s *setting) { l.leave(s, why) }
}

func (c *conversion) newListener(s *setting) *listener {
	l := &listener{line: s, bound: true}
	c.listen = append(c.listen, l)
	words := s.Words()
	if len(words) > 1 && words[1][0] == '#' {
		words = words[:1]
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	l.port = int64(n)
	switch {
	case err != nil:
		l.leave(s, "has no port")
	case n == 0 && len(words) < 2:
		l.leave(s, "has neither port nor the path of a socket")
	case n == 0:
		l.path = words[1]
	case len(words) > 1:
		l.host = words[1]
	}
	return l
}

func (c *conversion) port(_ *listener, s *setting) {
	l := c.listen[0]
	l.bound = true
	if n, ok := number(s, 1, math.MaxUint16); ok {
		l.port = n
		s.says(Converted, "listeners", "")
	} else {
		l.leave(s, s.entry.Note)
	}
}

func (c *conversion) bindAddress(_ *listener, s *setting) {
	l := c.listen[0]
	l.bound = true
	l.host = s.Value
	s.says(Converted, "listeners", "")
}

func (c *conversion) socketDomain(l *listener, s *setting) {
	switch l.family = s.Word(); l.family {
	case "ipv4":
		s.says(Converted, "listeners", "")
	case "ipv6":
		if l.host == "" {
			l.leave(s, "an address for every interface is one for IPv4, too; name the IPv6 address in listener")
			return
		}
		s.says(Converted, "listeners", "")
	default:
		l.leave(s, "is neither ipv4 nor ipv6; mosquitto does not start with it")
	}
}

func (c *conversion) protocol(l *listener, s *setting) {
	switch s.Word() {
	case "mqtt":
		l.websockets = false
		s.says(Converted, "listeners", "")
	case "websockets":
		l.websockets = true
		s.says(Changed, "listeners", "pages connect to the path /mqtt, and only from this host and port unless allowed_origins names others")
	default:
		l.leave(s, "is neither mqtt nor websockets; other protocols are not spoken")
	}
}

func (c *conversion) listenerConnections(l *listener, s *setting) {
	n, ok := number(s, math.MinInt32, math.MaxInt32)
	switch {
	case !ok:
	case n <= 0:
		l.connections = 0
		s.says(NotNeeded, "", "limits.max_connections bounds all listeners together")
	default:
		l.connections = n
		s.says(Converted, "listeners", "")
	}
}

func (c *conversion) maxQoS(l *listener, s *setting) {
	n, ok := number(s, 0, 2)
	switch {
	case !ok:
	case n == 2:
		s.says(NotNeeded, "", "clients may use every QoS")
	default:
		s.says(Impossible, "", "clients may use every QoS; set it in the clients")
	}
}

func (c *conversion) topicAliases(l *listener, s *setting) {
	n, ok := number(s, 0, math.MaxUint16)
	if !ok {
		return
	}
	s.says(Converted, "limits.max_topic_alias", "")
	if c.bounds.aliasesSet && int(n) != c.bounds.aliases {
		s.says(Changed, "limits.max_topic_alias", "one number is for all listeners, the highest")
	}
	c.bounds.aliases, c.bounds.aliasesSet = max(c.bounds.aliases, int(n)), true
}

func (c *conversion) protocolVersions(l *listener, s *setting) {
	names := map[string]string{"3": "3.1", "4": "3.1.1", "5": "5"}
	l.versions = nil
	for _, w := range strings.FieldsFunc(s.Value, func(r rune) bool { return strings.ContainsRune(", \t", r) }) {
		if v := names[w]; v != "" && !slices.Contains(l.versions, v) {
			l.versions = append(l.versions, v)
		}
	}
	if l.versions == nil {
		l.leave(s, "names no version, so that nobody could connect")
		return
	}
	s.says(Converted, "listeners", "")
}

func (c *conversion) origin(l *listener, s *setting) {
	u, err := url.Parse(s.Value)
	if err != nil || u.Host == "" || u.Scheme == "" || u.Scheme+"://"+u.Host != s.Value {
		s.says(Impossible, "", "is not scheme://host:port")
		return
	}
	l.origins = append(l.origins, s.Value)
	s.says(Converted, "listeners", "")
}

func (c *conversion) usernameAsClientID(l *listener, s *setting) {
	v, ok := truth(s)
	switch {
	case !ok:
		l.why = cmp.Or(l.why, s.entry.Note)
	case v:
		l.nameAsID = true
		s.says(Changed, RulesName, "client identifiers stay, but sessions belong to their user, nobody comes in without a name, and %c in patterns is %u")
	default:
		l.nameAsID = false
		s.says(NotNeeded, "", "identifiers are the clients' own")
	}
}

func (c *conversion) tlsVersion(l *listener, s *setting) {
	switch s.Value {
	case "tlsv1.3":
		l.minVersion = "1.3"
		s.says(Converted, "listeners", "")
	case "tlsv1.2":
		s.says(Converted, "listeners", "")
	case "tlsv1.1", "tlsv1":
		s.says(Changed, "listeners", "TLS 1.2 is the oldest")
	default:
		l.leave(s, "is no version of TLS that is known here")
	}
}

func (c *conversion) keyForm(l *listener, s *setting) {
	if s.Value == "engine" {
		l.leave(s, "keys are in files, there are no engines; use a key in a PEM file")
		return
	}
	s.says(NotNeeded, "", "keys are PEM")
}

func (c *conversion) dateChecks(l *listener, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "", "dates of certificates are looked at; see docs/TLS.md for devices without a clock")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}

// fallbackExists reports whether mosquitto opens the listener that settings before any
// other are for.
func (c *conversion) fallbackExists() bool {
	l := c.listen[0]
	return l.bound || len(c.listen) == 1 || len(l.settings) > 0 || l.security.passwords != nil || l.security.psk != nil || len(l.security.plugins) > 0
}

// address is where the listener listens.
func (l *listener) address() (string, error) {
	if l.path != "" {
		if !filepath.IsAbs(l.path) {
			return "", fmt.Errorf("the path of a socket is relative; write it from / on")
		}
		return l.path, nil
	}
	host := l.host
	switch {
	case !l.bound:
		host = "127.0.0.1"
	case host == "" && l.family == "ipv4":
		host = "0.0.0.0"
	}
	if ip, err := netip.ParseAddr(host); err == nil && l.family != "" && ip.Is4() != (l.family == "ipv4") {
		return "", fmt.Errorf("the address is not one of %s", l.family)
	}
	return net.JoinHostPort(host, fmt.Sprint(cmp.Or(l.port, 1883))), nil
}

// kind is the type of the listener.
func (l *listener) kind() string {
	switch {
	case l.path != "":
		return appliance.ListenUnix
	case l.websockets && l.cert != nil:
		return appliance.ListenWebSocketTLS
	case l.websockets:
		return appliance.ListenWebSocket
	case l.cert != nil:
		return appliance.ListenTLS
	}
	return appliance.ListenTCP
}
