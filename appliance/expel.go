package appliance

import (
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
)

// What auth calls its sources, and the keys of the configuration.
const (
	sourceCertificate = "certificate"
	sourceToken       = "jwt"
	sourcePassword    = "password"
	sourceHTTP        = "http"
)

// lost is why a user of the password file has to sign in again.
var lost = map[auth.Difference]string{
	auth.UserGone:        "its user is gone",
	auth.PasswordChanged: "its password has changed",
	auth.GroupsChanged:   "its groups have changed",
}

// expels says why a client that is there would not be let in by c, "" if it
// would, or if that cannot be known without its password.
func (c *change) expels(m hooks.Member) string {
	if c.endpoints.closing()[m.Subject.Listener] {
		return "listener " + m.Subject.Listener + " is gone, or is another one now"
	}
	access := c.cfg.Access
	switch m.Identity.Source {
	case "":
		if m.Identity.Name == "" && !c.rules.Anonymous[m.Subject.Listener] {
			return "listener " + m.Subject.Listener + " lets nobody in any more who does not say who they are"
		}
	case sourceCertificate:
		if access.Certificates == "" || access.Certificates != c.before.Access.Certificates {
			return "access.certificates has changed"
		}
	case sourceToken:
		if access.Tokens.KeyFile == "" {
			return "access.tokens is gone"
		}
	case sourceHTTP:
		if access.HTTP.URL == "" {
			return "access.http is gone"
		}
	case sourcePassword:
		if why := lost[c.was.users.Compare(c.files.users, m.Identity.Name)]; why != "" {
			return why
		}
	}
	if err := c.endpoints.disowned(m.Subject.Listener, m.Certificates); err != nil {
		return "its certificate is not good any more: " + err.Error()
	}
	return ""
}
