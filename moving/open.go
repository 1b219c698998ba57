package moving

import (
	"cmp"
	"errors"
	"net"
	"slices"

	"github.com/synthetism/edgebroker/appliance"
)

// cannotBe says why a config with a change could not be; empty if it could.
func cannotBe(change func(*appliance.Config)) string {
	c := appliance.DefaultConfig()
	change(&c)
	bad := (*appliance.ConfigError)(nil)
	if errors.As(c.Validate(), &bad) {
		return bad.Problems[0].Message
	}
	return ""
}

// keepListeners decides which listeners there will be, and names them. One that
// would be more open than mosquitto's is left out.
func (c *conversion) keepListeners() {
	taken, ports := map[string]bool{}, map[string][]string{}
	order := c.listen[1:]
	if c.fallbackExists() {
		order = append(slices.Clone(order), c.listen[0]) // the others are meant more
	} else {
		f := &c.listen[0].security
		for _, s := range []*setting{f.passwords, f.acl, f.psk, f.anonymous} {
			if s != nil {
				s.lost("stands before any listener, so that it counts for none, with per_listener_settings; put it behind the listener that it is for")
			}
		}
		c.listen = order
	}
	for _, l := range order {
		if l.fallback && c.o.Version == V1 {
			l.bound = true
		}
		l.checkTLS()
		address, err := l.address()
		switch {
		case l.why != "":
		case err != nil:
			l.why = err.Error()
		default:
			l.why = cannotBe(func(c *appliance.Config) {
				anybody := true
				c.Listeners = []appliance.ListenerConfig{{Name: "l", Type: appliance.ListenTCP, Address: address, AllowAnonymous: &anybody}}
				if l.path != "" {
					c.Listeners[0].Type = appliance.ListenUnix
				}
			})
		}
		if l.why == "" {
			what, host, port := l.kind(), l.path, "unix"
			if l.path == "" {
				host, port, _ = net.SplitHostPort(address)
				what += "-" + port
			}
			if clashes(host, ports[port]) {
				l.why = address + " is taken by another listener"
				continue
			}
			ports[port] = append(ports[port], host)
			l.name = oneName(taken, what)
		}
	}
}

// clashes reports whether one of others is the same host, or one of them is
// every host.
func clashes(host string, others []string) bool {
	every := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	local := func(h string) bool { return h == "localhost" || h == "127.0.0.1" || h == "::1" }
	return slices.ContainsFunc(others, func(o string) bool {
		return o == host || every(o) || every(host) || local(o) && local(host) && (o == "localhost" || host == "localhost")
	})
}

// checkTLS has a listener left out whose clients could not be told apart, or
// kept out, as mosquitto does.
func (l *listener) checkTLS() {
	any := cmp.Or(l.cert, l.key, l.ca, l.capath, l.crl)
	identity := cmp.Or(l.identity, l.subject)
	switch {
	case l.why != "":
	case l.subject != nil && l.identity == nil:
		l.leave(l.subject, "the subject as a whole is no name here; use_identity_as_username takes its common name, for which users in rules are to be renamed")
	case any == nil && cmp.Or(l.require, identity) != nil:
		l.leave(cmp.Or(l.require, identity), "there is no certfile, so no TLS")
	case any == nil:
	case l.path != "":
		l.leave(any, "a unix socket has no TLS here")
	case l.cert == nil || l.key == nil:
		l.leave(any, "TLS needs certfile and keyfile")
	case identity != nil && l.require == nil:
		l.leave(identity, "without require_certificate no client shows one, so that mosquitto lets nobody in")
	case l.require != nil && l.ca == nil:
		l.leave(cmp.Or(l.capath, l.require), "the authorities of clients are in one file here; put their certificates into it (cat FOLDER/*.pem > FILE) and name it in cafile")
	}
}

// makeListeners writes the listeners.
func (c *conversion) makeListeners() {
	identities := c.identities(c.kept())
	passwords := c.yml.get("access.passwords") != nil
	var list []*doc
	for _, l := range c.listen {
		if l.why != "" {
			unused(l.settings, "the listener is left out: "+l.why)
			if l.line != nil && l.nobody {
				l.line.says(NotNeeded, "", "the listener is left out: "+l.why)
			} else if l.line != nil {
				l.line.lost("the listener is left out: " + l.why)
			}
			continue
		}
		d := &doc{}
		d.set("name", l.name)
		d.set("type", l.kind())
		address, _ := l.address() // it has been looked at
		d.set("address", address)
		c.listenerTLS(l, d)
		switch {
		case l.identity != nil:
			d.set("allow_anonymous", false)
			d.set("sources", []string{"certificates"})
		default:
			d.set("allow_anonymous", c.anonymousAt(l))
			if identities && passwords {
				d.set("sources", []string{"passwords"})
			}
		}
		if l.versions != nil {
			d.set("mqtt_versions", l.versions)
		}
		if kind := l.kind(); l.origins != nil && (kind == appliance.ListenWebSocket || kind == appliance.ListenWebSocketTLS) {
			d.set("allowed_origins", l.origins)
		} else if l.origins != nil {
			unused(slices.DeleteFunc(slices.Clone(l.settings), func(s *setting) bool { return s.Name != "websockets_origin" }), "the listener is not one for websockets")
		}
		if l.connections > 0 {
			d.set("max_connections", int(l.connections))
			most, _ := c.yml.get("limits.max_connections").(int)
			if int(l.connections) > cmp.Or(most, appliance.DefaultConfig().Limits.MaxConnections) {
				c.yml.set("limits.max_connections", int(l.connections))
			}
		}
		c.tellListener(l)
		list = append(list, d)
	}
	if len(list) == 0 {
		d := &doc{}
		d.set("name", "nobody")
		d.set("address", "127.0.0.1:1883")
		d.set("allow_anonymous", false)
		list = append(list, d)
	}
	if identities {
		c.yml.set("access.certificates", "cn")
	}
	c.yml.set("listeners", list)
	if len(c.kept()) == 0 {
		c.yml.note("listeners", "No listener of mosquitto's could be converted. This one lets nobody in; without it there would be one for everybody on this machine.")
	}
}

// kept are the listeners that are not left out.
func (c *conversion) kept() (list []*listener) {
	for _, l := range c.listen {
		if l.why == "" {
			list = append(list, l)
		}
	}
	return list
}

// tellListener says on a listener's lines what has become of them.
func (c *conversion) tellListener(l *listener) {
	s := c.securityOf(l)
	if l.line != nil {
		l.line.says(Converted, "listeners", "")
		switch {
		case l.path != "":
			l.line.says(Changed, "listeners", "the socket is for its owner and group, unless mode says otherwise")
		case s.anonymous == nil && l.anonymous == nil && l.identity == nil && s.passwords == nil && c.o.Version == Unknown:
			l.line.entry.Note = "nobody gets in, as with mosquitto 2; if this was for mosquitto 1, say so with --mosquitto"
		}
	} else if !l.bound {
		for _, o := range l.settings {
			if o.entry.Note == "" {
				o.says(Changed, "listeners", "mosquitto opens port 1883 to the network for this; here it is for this machine. Put the line behind a listener")
			}
		}
	}
	if a := cmp.Or(l.anonymous, s.anonymous); a != nil && s.passwords == nil && c.anonymousAt(l) && s.acl != nil {
		a.says(Changed, "listeners", "user names that nobody has proven count for nothing; for lines of users in the acl_file there must be passwords")
	}
}

// listenerTLS writes what a listener says of TLS.
func (c *conversion) listenerTLS(l *listener, d *doc) {
	if l.cert == nil {
		return
	}
	d.set("certificate", c.file(l.cert, "listeners"))
	l.cert.entry.Note = also(l.cert.entry.Note, "certificates of authorities between it and the root must stand in this file")
	d.set("key", c.file(l.key, "listeners"))
	if l.require == nil {
		for _, s := range []*setting{l.ca, l.capath, l.crl} {
			if s != nil {
				s.says(NotNeeded, "", "clients are not asked for certificates")
			}
		}
	} else {
		l.require.says(Converted, "listeners", "")
		d.set("client_ca", c.file(l.ca, "listeners"))
		d.set("client_certificates", "required")
		if l.capath != nil {
			l.capath.says(Impossible, "", "only the authorities in cafile count")
		}
		if l.crl != nil {
			d.set("crl", c.file(l.crl, "listeners"))
			l.crl.entry.Note = also(l.crl.entry.Note, "each authority in cafile needs a list in it, and one that is out of date locks its clients out")
		}
		if l.identity != nil {
			l.identity.says(Converted, "access.certificates", "")
			if l.subject != nil {
				l.subject.says(NotNeeded, "", "use_identity_as_username goes first")
			}
		}
	}
	if l.minVersion != "" {
		d.set("min_version", literal(`"`+l.minVersion+`"`))
	}
}
