package appliance

import (
	"fmt"
	"slices"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
)

// identitySources are what auth calls the sources of the access section.
var identitySources = map[string]AccessSource{
	"certificate": AccessCertificates, "jwt": AccessTokens, "password": AccessPasswords, "http": AccessHTTP,
}

// lost is why a user of the password file has to sign in again.
var lost = map[auth.Difference]string{
	auth.UserGone:        "its user is gone",
	auth.PasswordChanged: "its password has changed",
	auth.GroupsChanged:   "its groups have changed",
}

// expels says why a client that is there would not be let in by c, "" if it
// would, or if that cannot be known without what it has shown.
func (c *change) expels(m hooks.Member) string {
	name := m.Subject.Listener
	if c.endpoints.closing[name] {
		return "listener " + name + " is gone, or is another one now"
	}
	i := slices.IndexFunc(c.cfg.Listeners, func(l ListenerConfig) bool { return l.Name == name })
	if i < 0 {
		return "" // it came through a listener that has gone by now, and is about to end
	}
	l, source := c.cfg.Listeners[i], identitySources[m.Identity.Source]
	if !c.before.Access.has(source) {
		source = "" // of the program, under the same name
	}
	if why := c.cfg.shutsOut(m, l, source, c.rules.Anonymous[name]); why != "" {
		return why
	}
	switch {
	case source == AccessCertificates && c.cfg.Access.Certificates != c.before.Access.Certificates:
		return "access.certificates has changed"
	case source == AccessCertificates && c.cfg.Access.CertificateGroups != c.before.Access.CertificateGroups:
		return "access.certificate_groups has changed"
	case source == AccessPasswords:
		if why := lost[c.was.users.Compare(c.files.users, m.Identity.Name)]; why != "" {
			return why
		}
	}
	if err := c.endpoints.disowned(name, m.Certificates); err != nil {
		return "its certificate is not good any more: " + err.Error()
	}
	return ""
}

// shutsOut says why a client that has come by l would not be let in by c in the
// same way, "" if it might. source is who has known it, "" if that is none of the
// access section; anonymous, whether l lets in who does not say who they are.
func (c Config) shutsOut(m hooks.Member, l ListenerConfig, source AccessSource, anonymous bool) string {
	switch {
	case !allows(l.MQTTVersions, m.Version):
		return fmt.Sprintf("listener %s does not allow MQTT %v any more", l.Name, m.Version)
	case m.Identity.Name == "" && m.Identity.Source == "" && !anonymous:
		return "listener " + l.Name + " lets nobody in any more who does not say who they are"
	case source != "" && !c.Access.has(source):
		return accessKeys[source] + " is gone"
	case source != "" && len(l.Sources) > 0 && !slices.Contains(l.Sources, source):
		return fmt.Sprintf("listener %s does not ask %s any more", l.Name, source)
	}
	return ""
}
