package moving

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/wire"
)

// uplink is a bridge of mosquitto's, as its lines have it.
type uplink struct {
	line     *setting
	settings []*setting

	addresses, version           *setting
	clientID, username, password *setting
	ca, capath, cert, key        *setting
	topics                       []*setting
	retain                       bool
	why                          string // why it is left out; empty if it is not
}

func uplinkOptions() map[string]option {
	const psk = "there are no pre-shared keys; have the far side take certificates, or passwords over TLS"
	all := map[string]option{
		"address":                        {uplink: keepLine(func(u *uplink) **setting { return &u.addresses })},
		"bridge_cafile":                  {uplink: keepLine(func(u *uplink) **setting { return &u.ca })},
		"bridge_capath":                  {uplink: keepLine(func(u *uplink) **setting { return &u.capath })},
		"bridge_certfile":                {uplink: keepLine(func(u *uplink) **setting { return &u.cert })},
		"bridge_keyfile":                 {uplink: keepLine(func(u *uplink) **setting { return &u.key })},
		"bridge_protocol_version":        {uplink: keepLine(func(u *uplink) **setting { return &u.version })},
		"remote_clientid":                {uplink: keepLine(func(u *uplink) **setting { return &u.clientID })},
		"remote_username":                {uplink: keepLine(func(u *uplink) **setting { return &u.username })},
		"remote_password":                {uplink: keepLine(func(u *uplink) **setting { return &u.password })},
		"topic":                          {uplink: func(_ *conversion, u *uplink, s *setting) { u.topics = append(u.topics, s) }},
		"bridge_identity":                {uplink: omits(psk)},
		"bridge_psk":                     {uplink: omits(psk)},
		"bridge_require_ocsp":            {uplink: (*conversion).ocsp},
		"bridge_insecure":                {uplink: (*conversion).insecure},
		"bridge_outgoing_retain":         {uplink: (*conversion).outgoingRetain},
		"bridge_tls_version":             {uplink: (*conversion).bridgeTLSVersion},
		"bridge_ciphers":                 {verdict: Changed, note: "the ciphers are fixed: in TLS 1.2 those with ECDHE and AES-GCM or ChaCha20-Poly1305"},
		"bridge_ciphers_tls1.3":          {verdict: Changed, note: "those of TLS 1.3 are fixed"},
		"bridge_alpn":                    impossible("uplinks name no protocol in TLS; use a port of the far side that needs none"),
		"bridge_bind_address":            impossible("the system chooses the address that uplinks come from; a route does, too"),
		"bridge_max_packet_size":         impossible("what is too large for the far side becomes a dead letter there; see edgebroker bridges dead-letters"),
		"bridge_attempt_unsubscribe":     needless("what is not in topics any more is unsubscribed"),
		"bridge_max_topic_alias":         needless("uplinks need no aliases"),
		"bridge_receive_maximum":         needless("the far side is told what this one takes"),
		"bridge_reload_type":             needless("edgebroker reload changes an uplink at once, and loses nothing"),
		"bridge_session_expiry_interval": {uplink: (*conversion).sessionExpiry},
		"bridge_tcp_keepalive":           needless("keep_alive finds a dead line"),
		"bridge_tcp_user_timeout":        needless("ack_timeout and keep_alive find a dead line"),
		"cleansession":                   {uplink: (*conversion).cleanSession},
		"local_cleansession":             {uplink: (*conversion).localCleanSession},
		"keepalive_interval":             {uplink: (*conversion).bridgeKeepAlive},
		"restart_timeout":                {uplink: (*conversion).restartTimeout},
		"start_type":                     {uplink: (*conversion).startType},
		"idle_timeout":                   needless("uplinks stay connected"),
		"threshold":                      needless("uplinks stay connected"),
		"round_robin":                    needless("an uplink has one address; a name that leads to several is tried at each"),
		"try_private":                    needless("a property names the brokers that a message has passed (loop_guard)"),
		"notifications":                  {uplink: (*conversion).notifications},
		"notifications_local_only":       needless("uplinks are told of here alone, on $SYS/broker/connection/CLIENT_ID/state"),
		"notification_topic":             impossible("uplinks are told of on $SYS/broker/connection/CLIENT_ID/state; edgebroker events --type bridge tells it, too"),
		"local_clientid":                 needless("an uplink is no client here"),
		"local_username":                 needless("rules are not for uplinks, as ACLs are not for mosquitto's bridges"),
		"local_password":                 needless("rules are not for uplinks, as ACLs are not for mosquitto's bridges"),
	}
	for old, name := range map[string]string{"addresses": "address", "clientid": "remote_clientid", "username": "remote_username", "password": "remote_password"} {
		all[old] = all[name]
	}
	return all
}

func keepLine(field func(*uplink) **setting) func(*conversion, *uplink, *setting) {
	return func(_ *conversion, u *uplink, s *setting) {
		if f := field(u); *f != nil {
			u.omit(s, "is there twice; mosquitto does not start with it")
		} else {
			*f = s
		}
	}
}

// omit has the uplink left out because of what a line says.
func (u *uplink) omit(s *setting, why string) {
	s.lost(why)
	u.why = cmp.Or(u.why, fmt.Sprintf("line %d: %s", s.Number, why))
}

func omits(why string) func(*conversion, *uplink, *setting) {
	return func(_ *conversion, u *uplink, s *setting) { u.omit(s, why) }
}

func (c *conversion) newUplink(s *setting) *uplink {
	u := &uplink{line: s, retain: true}
	c.uplinks = append(c.uplinks, u)
	return u
}

func (c *conversion) ocsp(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		u.omit(s, "nobody is asked here whether the far side's certificate is revoked (OCSP); take the line out if you can do without")
	} else if ok {
		s.says(NotNeeded, "", "it is never asked")
	}
}

func (c *conversion) insecure(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "bridges", "the certificate of the far side must name the host in address")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}

func (c *conversion) outgoingRetain(u *uplink, s *setting) {
	if v, ok := truth(s); ok {
		u.retain = v
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) bridgeTLSVersion(u *uplink, s *setting) {
	switch s.Value {
	case "tlsv1.2":
		s.says(Converted, "", "TLS 1.2 and 1.3 are spoken")
	case "tlsv1.3":
		s.says(Changed, "", "1.2 is spoken as well, if the far side knows nothing newer")
	default:
		s.says(Changed, "", "TLS 1.2 is the oldest")
	}
}

func (c *conversion) sessionExpiry(u *uplink, s *setting) {
	if n, ok := number(s, 0, math.MaxUint32); ok {
		s.says(Converted, "bridges", "")
		if n == 0 {
			s.says(Changed, "bridges", "1s is the least")
		}
	}
}

func (c *conversion) cleanSession(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "bridges", "what waits here is kept; the far side is told to forget after a second")
	} else if ok {
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) localCleanSession(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "", "what waits here is kept; ttl in topics gives up old messages")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}

func (c *conversion) bridgeKeepAlive(u *uplink, s *setting) {
	if _, ok := number(s, math.MinInt32, maxUint16); ok {
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) restartTimeout(u *uplink, s *setting) {
	s.says(Changed, "bridges", "pauses double up to the longest, and are shortened at random")
}

func (c *conversion) startType(u *uplink, s *setting) {
	switch s.Word() {
	case "automatic":
		s.says(Converted, "", "")
	case "lazy", "once":
		s.says(Changed, "", "an uplink is always connected, and connects again; edgebroker bridges pause ends that")
	default:
		s.says(Impossible, "", "is unknown; mosquitto does not start with it")
	}
}

func (c *conversion) notifications(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "", "uplinks are told of here alone, on $SYS/broker/connection/CLIENT_ID/state")
	} else if ok {
		s.says(Impossible, "", "uplinks are told of on $SYS/broker/connection/CLIENT_ID/state; rules say who may read it")
	}
}

// makeUplinks writes the uplinks.
func (c *conversion) makeUplinks() {
	taken := map[string]bool{}
	var list []*doc
	for _, u := range c.uplinks {
		d := &doc{}
		c.uplink(u, d, taken)
		if u.why != "" {
			unused(append(u.settings, u.topics...), "the uplink is left out: "+u.why)
			u.line.lost("the uplink is left out: " + u.why)
			continue
		}
		list = append(list, d)
	}
	if len(list) > 0 {
		c.yml.set("bridges", list)
	}
}

func (c *conversion) uplink(u *uplink, d *doc, taken map[string]bool) {
	secure := cmp.Or(u.ca, u.capath, u.cert, u.key) != nil
	switch {
	case u.why != "":
		return
	case u.addresses == nil:
		u.why = "it has no address; mosquitto does not start with it"
		return
	case len(u.topics) == 0:
		u.why = "it has no topics; mosquitto does not start with it"
		return
	case (u.cert == nil) != (u.key == nil):
		u.omit(cmp.Or(u.cert, u.key), "bridge_certfile and bridge_keyfile need each other")
		return
	case secure && u.ca == nil && u.capath == nil:
		u.omit(u.cert, "bridge_cafile or bridge_capath is needed for TLS")
		return
	case u.capath != nil && u.ca == nil && filepath.Clean(u.capath.Value) != "/etc/ssl/certs":
		u.omit(u.capath, "the authorities of the far side are in one file here; put their certificates into it (cat FOLDER/*.crt > FILE) and name it in bridge_cafile")
		return
	}
	word := u.line.Word()
	name := oneName(taken, word)
	u.line.says(Converted, "bridges", "")
	if name != word {
		u.line.says(Changed, "bridges", "is called "+name)
	}
	d.set("name", name)
	if !u.address(d, secure) {
		return
	}
	if u.clientID != nil {
		u.clientID.says(Converted, "bridges", "")
		d.set("client_id", u.clientID.Value)
	} else {
		d.set("client_id", c.o.Host+"."+word) // as mosquitto makes it
		u.line.entry.Note = also(u.line.entry.Note, "client_id has the name of this machine, as mosquitto's has")
	}
	if id, _ := d.get("client_id").(string); strings.HasPrefix(id, "$") || wire.ValidTopicString(id) != nil {
		u.omit(cmp.Or(u.clientID, u.line), "the client identifier begins with $, or has wildcards or control characters")
		return
	}
	c.credentials(u, d, name)
	if u.ca != nil {
		d.set("ca", c.file(u.ca, "bridges"))
	}
	if u.capath != nil {
		u.capath.says(NotNeeded, "", "those of the system are trusted without ca")
		if u.ca != nil {
			u.capath.says(Impossible, "", "only the authorities in bridge_cafile count")
		}
	}
	if u.cert != nil {
		d.set("certificate", c.file(u.cert, "bridges"))
		d.set("key", c.file(u.key, "bridges"))
	}
	u.times(d)
	c.topics(u, d)
}

// address writes the address of the far side; false if there is none.
func (u *uplink) address(d *doc, secure bool) bool {
	words := u.addresses.Words()
	if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		u.omit(u.addresses, "names no address")
		return false
	}
	host, port := words[0], "1883"
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host, port = host[:i], host[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		u.omit(u.addresses, "is not an address with a port")
		return false
	}
	scheme := "mqtt://"
	if secure {
		scheme = "mqtts://"
	}
	address := scheme + net.JoinHostPort(host, port)
	why := cannotBe(func(c *appliance.Config) {
		c.Bridges = []appliance.BridgeConfig{{Name: "b", Address: address, ClientID: "c", Topics: []appliance.BridgeTopic{{Filter: "a"}}}}
	})
	if why != "" {
		u.omit(u.addresses, why)
		return false
	}
	d.set("address", address)
	u.addresses.says(Converted, "bridges", "")
	if len(words) > 1 {
		u.addresses.says(Changed, "bridges", "an uplink has one address, the first; a name that leads to several is tried at each")
	}
	return true
}

func (c *conversion) credentials(u *uplink, d *doc, name string) {
	if u.username != nil {
		u.username.says(Converted, "bridges", "")
		d.set("username", u.username.Value)
	}
	switch {
	case u.password == nil:
	case u.username == nil:
		u.password.says(NotNeeded, "", "without remote_username mosquitto does not send it")
	default:
		file := "bridge-" + name + ".password"
		c.secrets = append(c.secrets, File{file, []byte(u.password.Value + "\n")})
		d.set("password", "file:"+filepath.Join(c.o.Out, file))
		u.password.says(Converted, file, "")
	}
}

// times writes what an uplink has of times.
func (u *uplink) times(d *doc) {
	for _, s := range u.settings {
		switch w := s.Words(); s.Name {
		case "keepalive_interval":
			if n, ok := number(s, math.MinInt32, maxUint16); ok {
				d.set("keep_alive", time.Duration(max(n, 5))*time.Second)
			}
		case "bridge_session_expiry_interval":
			if n, ok := number(s, 0, math.MaxUint32); ok {
				d.set("session_expiry", time.Duration(max(n, 1))*time.Second)
			}
		case "cleansession":
			if w[0] == "true" || w[0] == "1" {
				d.set("session_expiry", time.Second)
			}
		case "restart_timeout":
			base, err := strconv.ParseUint(w[0], 10, 31)
			longest := base
			if err == nil && len(w) > 1 {
				longest, err = strconv.ParseUint(w[1], 10, 31)
			}
			if err != nil || longest < base {
				s.says(Impossible, "", "is not one number of seconds, or a shortest and a longest one")
				continue
			}
			d.set("retry_min", time.Duration(min(max(base, 1), 3600))*time.Second)
			d.set("retry_max", time.Duration(min(max(longest, 1), 24*3600))*time.Second)
		}
	}
}

// bridged is a line with topic, taken apart.
type bridged struct {
	*setting
	filter, direction, local, remote string
	qos                              int
}

// topics writes what passes, and the version that this needs.
func (c *conversion) topics(u *uplink, d *doc) {
	var list []*bridged
	for _, s := range u.topics {
		b, problem := parseBridged(s)
		if problem != "" {
			s.says(Impossible, "", problem)
			continue
		}
		s.says(Converted, "bridges", "")
		for _, before := range list {
			if before.passes(b) {
				s.says(Changed, "bridges", fmt.Sprintf("a topic passes by the first entry that fits it, which may be that of line %d", before.Number))
				break
			}
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		u.why = "none of its topics can pass"
		return
	}
	d.set("version", literal(`"`+u.speaks(list)+`"`))
	var topics []*doc
	for _, b := range list {
		t := &doc{}
		t.set("filter", b.filter)
		t.set("direction", b.direction)
		t.set("qos", b.qos)
		if b.local != "" {
			t.set("local_prefix", b.local)
		}
		if b.remote != "" {
			t.set("remote_prefix", b.remote)
		}
		if !u.retain && b.direction != "in" {
			t.set("retain", false)
			if b.direction == "both" {
				b.says(Changed, "bridges", "bridge_outgoing_retain counts for what comes in by this line, too")
			}
		}
		topics = append(topics, t)
	}
	d.set("topics", topics)
}

// passes reports whether some topic could pass by b as well as by o, the same
// way. Where that is not plain it says yes.
func (b *bridged) passes(o *bridged) bool {
	same := func(x, y string) bool {
		a, z := strings.Split(x, "/"), strings.Split(y, "/")
		for i := range min(len(a), len(z)) {
			if a[i] == "#" || z[i] == "#" {
				return true
			}
			if a[i] != z[i] && a[i] != "+" && z[i] != "+" {
				return false
			}
		}
		return len(a) == len(z) || len(a) < len(z) && z[len(a)] == "#" || len(z) < len(a) && a[len(z)] == "#"
	}
	out := b.direction != "in" && o.direction != "in" && same(b.local+b.filter, o.local+o.filter)
	in := b.direction != "out" && o.direction != "out" && same(b.remote+b.filter, o.remote+o.filter)
	return out || in
}

// speaks is the version of MQTT for an uplink: mosquitto's, unless the far side
// would send back what it gets, which only MQTT 5 can keep it from.
func (u *uplink) speaks(list []*bridged) string {
	version := "mqttv311"
	if u.version != nil {
		version = u.version.Value
	}
	returns := ""
	for i, b := range list {
		if b.direction == "both" {
			returns = fmt.Sprintf("line %d is for both ways", b.Number)
		}
		for _, o := range list[:i] {
			x, y := *b, *o
			x.direction, y.direction, x.local, y.local = "out", "out", x.remote, y.remote
			if b.direction != o.direction && x.passes(&y) {
				returns = fmt.Sprintf("what goes out by line %d or %d would come in by the other", o.Number, b.Number)
			}
		}
	}
	say := u.version
	if say == nil {
		say = u.line
	}
	note := ""
	switch {
	case version == "mqttv50":
		u.version.says(Converted, "bridges", "")
		return "5"
	case returns != "":
		note = "MQTT 5 is spoken, which the far side must know (mosquitto does since 1.6): " + returns
	case version == "mqttv31":
		note = "MQTT 3.1.1 is spoken"
	case version != "mqttv311":
		note = "is no version that is known here; MQTT 3.1.1 is spoken"
	}
	if note != "" {
		say.says(Changed, "bridges", also(say.entry.Note, note))
	} else if u.version != nil {
		u.version.says(Converted, "bridges", "")
	}
	if returns != "" {
		return "5"
	}
	return "3.1.1"
}

// parseBridged takes apart: topic PATTERN [out|in|both [QOS [LOCAL [REMOTE]]]].
func parseBridged(s *setting) (b *bridged, problem string) {
	w := s.Words()
	b = &bridged{setting: s, filter: w[0], direction: "out"}
	if len(w) > 1 {
		if b.direction = strings.ToLower(w[1]); b.direction != "out" && b.direction != "in" && b.direction != "both" {
			return nil, "has a direction other than out, in or both; mosquitto does not start with it"
		}
	}
	if len(w) > 2 && w[2][0] != '#' {
		qos, err := strconv.ParseUint(w[2], 10, 8)
		if err != nil || qos > 2 {
			return nil, "has no QoS; mosquitto does not start with it"
		}
		b.qos = int(qos)
		for i, at := range []*string{&b.local, &b.remote} {
			if len(w) <= 3+i || w[3+i][0] == '#' {
				break
			}
			if w[3+i] != `""` {
				*at = w[3+i]
			}
		}
	}
	if b.filter == `""` {
		b.filter = ""
		if !b.single() {
			return nil, "renames one topic to another that ends in nothing the same; use topics whose last level is the same"
		}
	}
	for _, prefix := range []string{b.local, b.remote} {
		switch {
		case strings.HasPrefix(prefix+b.filter, "$"):
			return nil, "topics that begin with $ belong to the broker where they are, and pass by no uplink"
		case strings.ContainsAny(prefix, "+#"), wire.ValidFilter(prefix+b.filter) != nil, wire.ValidFilter(b.filter) != nil:
			return nil, "is no topic filter behind its prefix"
		}
	}
	return b, ""
}

// single makes prefixes and a filter of a single topic that is renamed; false if
// it cannot be.
func (b *bridged) single() bool {
	n := 0
	for n < len(b.local) && n < len(b.remote) && b.local[len(b.local)-1-n] == b.remote[len(b.remote)-1-n] {
		n++
	}
	at := len(b.local) - n
	if i := strings.IndexByte(b.local[at:], '/'); at > 0 && i >= 0 && i < n-1 {
		at += i + 1 // from a level's beginning, for readers
	}
	n = len(b.local) - at
	if n == 0 {
		return false
	}
	b.filter, b.local, b.remote = b.local[at:], b.local[:at], b.remote[:len(b.remote)-n]
	return true
}
